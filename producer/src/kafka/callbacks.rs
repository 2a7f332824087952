//! What librdkafka's callbacks do in every client of ours.

use std::error::Error;
use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::client::{Client, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use redline_connections::{Keys, refused_login};

use super::brokers::Brokers;
use super::oauth::{self, NoToken, OauthSettings};
use super::settings::KafkaSettings;

/// What went wrong last with a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Noted {
    /// A broker refuses the login, in its words.
    Login(String),
    /// TLS did not come about.
    Tls(String),
    /// There is no token.
    Token(NoToken),
    /// A broker did not answer.
    Silent(String),
    /// None does.
    AllSilent(String),
}

/// Takes log lines and errors to our log, and fetches tokens. Contexts delegate to it.
#[derive(Debug)]
pub struct Callbacks {
    place: String,
    keys: Keys,
    oauth: Option<OauthSettings>,
    brokers: Brokers,
    noted: Mutex<Option<Noted>>,
    /// Nothing goes to the log: who asks tells it.
    is_quiet: bool,
}

impl Callbacks {
    /// For clients that are made of these settings.
    pub fn new(settings: &KafkaSettings) -> Self {
        Self {
            place: settings.bootstrap_servers.clone(),
            keys: settings.keys(),
            oauth: settings.oauth.token_url.is_some().then(|| settings.oauth.clone()),
            brokers: Brokers::new(&settings.bootstrap_servers),
            noted: Mutex::new(None),
            is_quiet: false,
        }
    }

    pub(super) fn quiet(settings: &KafkaSettings) -> Self {
        Self {
            is_quiet: true,
            ..Self::new(settings)
        }
    }

    /// See [`ClientContext::log`].
    pub fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        use RDKafkaLogLevel as Level;
        match level {
            _ if self.is_quiet => tracing::debug!(facility, "{line}"),
            // Properties of consumers and producers stand in one section, so each ignores some.
            _ if facility == "CONFWARN" => tracing::debug!(facility, "{line}"),
            // Errors are told by `error`, once.
            _ if facility == "FAIL" || facility == "ERROR" => tracing::debug!(facility, "{line}"),
            Level::Emerg | Level::Alert | Level::Critical | Level::Error | Level::Warning => {
                tracing::warn!(facility, "{line}");
            }
            Level::Notice | Level::Info | Level::Debug => tracing::debug!(facility, "{line}"),
        }
    }

    /// See [`ClientContext::error`].
    pub fn error(&self, error: &KafkaError, reason: &str) {
        use RDKafkaErrorCode as Code;
        let whom = format!("Kafka at {}", self.place);
        let (noted, told) = match error.rdkafka_error_code() {
            Some(Code::Authentication | Code::SaslAuthenticationFailed) => {
                // A token that could not be fetched is told by itself.
                let is_token = matches!(self.noted(), Some(Noted::Token(_)));
                if is_token {
                    return;
                }
                let told = refused_login(whom, reason, self.keys);
                (Noted::Login(reason.to_owned()), told)
            }
            Some(Code::SSL) => {
                let told = format!("{whom} cannot be spoken to over TLS ({reason}); look at kafka.ca_file");
                (Noted::Tls(reason.to_owned()), told)
            }
            Some(Code::AllBrokersDown) => {
                self.brokers.lost();
                (Noted::AllSilent(reason.to_owned()), format!("{whom}: {reason}"))
            }
            _ => (Noted::Silent(reason.to_owned()), format!("{whom}: {reason}")),
        };
        if !self.is_quiet {
            tracing::warn!("{told}");
        }
        self.note(noted);
    }

    /// See [`ClientContext::generate_oauth_token`]. After an error librdkafka asks again ten seconds later.
    ///
    /// # Errors
    /// A sentence without any secret.
    pub fn token(&self) -> Result<OAuthToken, Box<dyn Error>> {
        let settings = self.oauth.as_ref().ok_or("kafka.oauth.token_url is not set")?;
        let fetched = oauth::fetch(settings);
        match &fetched {
            Ok(_) => *self.noted.lock().unwrap_or_else(PoisonError::into_inner) = None,
            Err(error) => {
                if !self.is_quiet {
                    tracing::warn!("{error}; it is tried again");
                }
                self.note(Noted::Token(error.clone()));
            }
        }
        // librdkafka takes the text as a C string.
        fetched.map_err(|error| error.to_string().replace('\0', " ").into())
    }

    /// Whoever polls a client calls this now and then, at least once a second: a client that lost all of its brokers may
    /// need to be told again where they are. Then it takes some 200 ms, now and then.
    pub fn find_brokers<C: ClientContext>(&self, client: &Client<C>) {
        self.brokers.find(client);
    }

    pub(super) fn noted(&self) -> Option<Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What needs a person is not overwritten by the silence that comes of it.
    fn note(&self, noted: Noted) {
        let mut last = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let is_silence = matches!(noted, Noted::Silent(_) | Noted::AllSilent(_));
        if is_silence && matches!(*last, Some(Noted::Login(_) | Noted::Tls(_) | Noted::Token(_))) {
            return;
        }
        *last = Some(noted);
    }
}

/// A context that delegates to [`Callbacks`].
pub trait Called {
    /// What it delegates to.
    fn callbacks(&self) -> &Callbacks;
}

/// The context of a client that only asks.
#[derive(Debug)]
pub struct Asking(pub Callbacks);

impl Called for Asking {
    fn callbacks(&self) -> &Callbacks {
        &self.0
    }
}

impl ClientContext for Asking {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.0.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(&error, reason);
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.0.token()
    }
}

impl ConsumerContext for Asking {}

/// It publishes nothing; as a producer it is served by a thread of its own.
impl ProducerContext for Asking {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}
