//! Whether Kafka can be used as it is set, and what is wrong if it cannot.
//!
//! librdkafka tries for ever and tells why in its log. Who starts wants to know at once.

use std::time::{Duration, Instant};

use rdkafka::producer::Producer as _;
use redline_connections::refused_login;
use redline_connections::tls::{self, TlsTrouble};

use super::callbacks::{Asking, Callbacks, Noted};
use super::oauth::NoToken;
use super::served::Served;
use super::settings::KafkaSettings;

/// Between two looks at what went wrong.
const LOOK: Duration = Duration::from_millis(200);
/// How long one broker's trouble is not believed to be that of all.
const OTHERS: Duration = Duration::from_secs(2);
/// How long a broker may take to shake hands with us.
const HANDSHAKE: Duration = Duration::from_secs(3);

/// Why Kafka was not reached.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unreached {
    /// Nobody answers. Class: try again.
    #[error("{0}")]
    Away(String),
    /// Somebody has to act first. Class: stop.
    #[error("{0}")]
    Unusable(String),
}

/// Asks Kafka who it is, which takes a whole login.
///
/// # Errors
/// See [`Unreached`]; a sentence with the setting and the fix.
pub async fn reach(settings: &KafkaSettings, patience: Duration) -> Result<(), Unreached> {
    let settings = settings.clone();
    tokio::task::spawn_blocking(move || reach_now(&settings, patience))
        .await
        .unwrap_or_else(|error| Err(Unreached::Away(error.to_string())))
}

fn reach_now(settings: &KafkaSettings, patience: Duration) -> Result<(), Unreached> {
    let unusable = |error: rdkafka::error::KafkaError| Unreached::Unusable(format!("kafka.client: {error}"));
    let context = Asking(Callbacks::quiet(settings));
    let client = Served::new(&settings.client_config(), context).map_err(unusable)?;
    let producer = client.producer();
    let whom = format!("Kafka at {}", settings.bootstrap_servers);
    // What is wrong with one broker need not be wrong with the others.
    let is_one_of_several = settings.bootstrap_servers.contains(',');
    let began = Instant::now();
    loop {
        if producer.client().fetch_cluster_id(LOOK).is_some() {
            return Ok(());
        }
        let is_over = began.elapsed() >= patience;
        if is_one_of_several && began.elapsed() < OTHERS {
            continue;
        }
        match producer.context().0.noted() {
            Some(Noted::Login(reason)) => {
                return Err(Unreached::Unusable(refused_login(&whom, reason, settings.keys())));
            }
            Some(Noted::Tls(reason)) => return Err(Unreached::Unusable(told(settings, &whom, &reason))),
            Some(Noted::Token(error @ NoToken::Unusable(_))) => {
                return Err(Unreached::Unusable(error.to_string()));
            }
            Some(Noted::Token(error @ NoToken::Away(_))) => return Err(Unreached::Away(error.to_string())),
            Some(Noted::AllSilent(_)) => return Err(silent(settings, &whom)),
            _ if is_over => return Err(silent(settings, &whom)),
            _ => {}
        }
    }
}

/// librdkafka says only that a certificate cannot be verified; a handshake of our own tells why.
fn told(settings: &KafkaSettings, whom: &str, reason: &str) -> String {
    match shaken(settings) {
        Some(trouble) => trouble.told(whom, settings.keys()),
        None => TlsTrouble::Other(format!("{reason}; look at kafka.ca_file and kafka.client"))
            .told(whom, settings.keys()),
    }
}

/// The first trouble that a handshake with one of the addresses meets.
fn shaken(settings: &KafkaSettings) -> Option<TlsTrouble> {
    let authority = settings
        .client_config()
        .get("ssl.ca.location")
        .and_then(|file| std::fs::read(file).ok());
    addresses(settings).find_map(|(host, port)| {
        let shaken = tls::shake_hands(&host, port, authority.as_deref(), HANDSHAKE);
        shaken.ok()?.err()
    })
}

/// Silence has a reason where one side speaks TLS and the other does not.
fn silent(settings: &KafkaSettings, whom: &str) -> Unreached {
    if settings.speaks_tls() {
        if let Some(trouble) = shaken(settings) {
            return Unreached::Unusable(trouble.told(whom, settings.keys()));
        }
    } else if addresses(settings).any(|(host, port)| tls::answers_in_tls(&host, port, HANDSHAKE)) {
        let told = TlsTrouble::OnlyTls.told(whom, settings.keys());
        return Unreached::Unusable(format!(
            "{told}, and at kafka.username, kafka.ca_file or \"security.protocol\" in kafka.client, which turn TLS on"
        ));
    }
    Unreached::Away(format!(
        "{whom} does not answer; look at it, and at {}",
        settings.keys().address
    ))
}

fn addresses(settings: &KafkaSettings) -> impl Iterator<Item = (String, u16)> {
    settings.bootstrap_servers.split(',').filter_map(|address| {
        // An address may begin with the protocol.
        let address = address.trim();
        let address = address.split_once("://").map_or(address, |(_, address)| address);
        let (host, port) = address.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some((host.to_owned(), port.parse().ok()?))
    })
}
