//! Tokens for SASL OAUTHBEARER, by OAuth's grant of client credentials.
//!
//! librdkafka has a way of its own (`sasl.oauthbearer.method=oidc`), for which it needs curl; this replaces it.

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::client::OAuthToken;
use redline_connections::tls::TlsTrouble;
use redline_connections::{Keys, refused_login, secret, tls};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

/// How long the token's issuer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a token's issuer means that does not say for how long a token is good.
const USUAL_LIFETIME: Duration = Duration::from_secs(300);

const KEYS: Keys = Keys {
    address: "kafka.oauth.token_url",
    authority: "kafka.oauth.ca_file",
    certificate: None,
    login: "kafka.oauth.client_id and kafka.oauth.client_secret",
};

/// The section `[kafka.oauth]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OauthSettings {
    /// Where tokens are fetched; then clients log in with OAUTHBEARER over `SASL_SSL`. Default: none.
    pub token_url: Option<String>,
    /// Who asks for them.
    pub client_id: Option<String>,
    /// And with what.
    pub client_secret: Option<SecretString>,
    /// A file with the secret instead.
    pub client_secret_file: Option<PathBuf>,
    /// What the tokens are to be good for. Default: what the issuer thinks.
    pub scope: Option<String>,
    /// The certificate of the only authority that is trusted there. Default: whom the system trusts.
    pub ca_file: Option<PathBuf>,
}

impl OauthSettings {
    pub(super) fn read_secrets(&mut self) -> Result<(), String> {
        secret::settle(
            &mut self.client_secret,
            self.client_secret_file.as_deref(),
            ("kafka.oauth.client_secret", "kafka.oauth.client_secret_file"),
        )
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let Some(url) = &self.token_url else {
            let others = [
                self.client_id.is_some(),
                self.client_secret.is_some(),
                self.scope.is_some(),
            ];
            if others.contains(&true) {
                return Err("kafka.oauth.token_url is not set, and other keys of kafka.oauth are".to_owned());
            }
            return Ok(());
        };
        if !reqwest::Url::parse(url).is_ok_and(|url| ["http", "https"].contains(&url.scheme())) {
            return Err("kafka.oauth.token_url is not of the form https://host/path".to_owned());
        }
        for (key, is_set) in [
            ("client_id", self.client_id.is_some()),
            ("client_secret", self.client_secret.is_some()),
        ] {
            if !is_set {
                return Err(format!(
                    "kafka.oauth.token_url is set and kafka.oauth.{key} is not"
                ));
            }
        }
        if let Some(file) = &self.ca_file {
            tls::authorities(file, KEYS.authority)?;
        }
        Ok(())
    }
}

/// Why there is no token. Never holds the secret.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoToken {
    /// The issuer does not answer. Class: try again.
    #[error("no token for Kafka: {0}")]
    Away(String),
    /// The issuer refuses, or cannot be trusted. Class: stop.
    #[error("no token for Kafka: {0}")]
    Unusable(String),
}

/// What the issuer answers.
#[derive(Deserialize)]
struct Issued {
    access_token: SecretString,
    expires_in: Option<u64>,
}

/// Why the issuer refuses, by RFC 6749.
#[derive(Deserialize)]
struct Refusal {
    error: String,
    error_description: Option<String>,
}

/// Fetches a token. Blocks its thread, which must be none of the runtime's own.
pub(super) fn fetch(settings: &OauthSettings) -> Result<OAuthToken, NoToken> {
    // librdkafka asks on a thread of its own, a few times an hour.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| NoToken::Away(error.to_string()))?
        .block_on(ask(settings))
}

async fn ask(settings: &OauthSettings) -> Result<OAuthToken, NoToken> {
    let url = settings.token_url.as_deref().unwrap_or_default();
    let whom = format!("the issuer of tokens at {}", shown(url));
    let client = client(settings).map_err(NoToken::Unusable)?;
    let mut form = vec![("grant_type", "client_credentials")];
    form.extend(settings.scope.as_deref().map(|scope| ("scope", scope)));
    let secret = settings.client_secret.as_ref().map(SecretString::expose_secret);
    let answered = client
        .post(url)
        .basic_auth(settings.client_id.as_deref().unwrap_or_default(), secret)
        .form(&form)
        .send()
        .await
        .map_err(|error| unanswered(&whom, error))?;
    let status = answered.status();
    if status.is_client_error() {
        let words = match answered.json::<Refusal>().await {
            Ok(Refusal {
                error,
                error_description: Some(description),
            }) => format!("{error}: {description}"),
            Ok(Refusal { error, .. }) => error,
            Err(_) => status.to_string(),
        };
        return Err(NoToken::Unusable(refused_login(whom, words, KEYS)));
    }
    if !status.is_success() {
        return Err(NoToken::Away(format!("{whom} answers {status}")));
    }
    // The error of a broken answer may quote it, and with it the token.
    let issued: Issued = answered
        .json()
        .await
        .map_err(|_| NoToken::Away(format!("{whom} answers without an access_token")))?;
    let token = issued.access_token.expose_secret();
    let lifetime = issued.expires_in.map_or(USUAL_LIFETIME, Duration::from_secs);
    let until = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .saturating_add(lifetime);
    Ok(OAuthToken {
        token: token.to_owned(),
        // Only our own side shows it; the broker reads the token.
        principal_name: settings.client_id.clone().unwrap_or_default(),
        lifetime_ms: i64::try_from(until.as_millis()).unwrap_or(i64::MAX),
    })
}

fn client(settings: &OauthSettings) -> Result<reqwest::Client, String> {
    tls::choose_cryptography();
    let mut builder = reqwest::Client::builder().timeout(PATIENCE).no_proxy();
    if let Some(file) = &settings.ca_file {
        let text = tls::authorities(file, KEYS.authority)?;
        let trusted = reqwest::Certificate::from_pem_bundle(&text).map_err(|error| error.to_string())?;
        builder = builder.tls_certs_only(trusted);
    }
    builder.build().map_err(|error| error.to_string())
}

fn unanswered(whom: &str, error: reqwest::Error) -> NoToken {
    match TlsTrouble::of(&error) {
        Some(trouble) => NoToken::Unusable(trouble.told(whom, KEYS)),
        None => {
            // Without the address, which may hold a password.
            let error = error.without_url();
            let mut cause: &dyn Error = &error;
            while let Some(deeper) = cause.source() {
                cause = deeper;
            }
            NoToken::Away(format!(
                "{whom} does not answer ({cause}); look at it, and at {}",
                KEYS.address
            ))
        }
    }
}

/// An address without user, password and query.
fn shown(url: &str) -> String {
    match reqwest::Url::parse(url) {
        Ok(url) => format!("{}{}", url.origin().ascii_serialization(), url.path()),
        Err(_) => "kafka.oauth.token_url".to_owned(),
    }
}
