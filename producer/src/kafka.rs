//! How to reach Kafka.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::client::Client;
use rdkafka::error::KafkaResult;
use rdkafka::{ClientConfig, ClientContext};
use serde::Deserialize;

/// The section `[kafka]`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaSettings {
    /// Addresses `host:port`, divided by commas. Default: `127.0.0.1:9092`.
    pub bootstrap_servers: String,
    /// Any further librdkafka property by its own name, such as `security.protocol`. Default: none.
    pub client: BTreeMap<String, String>,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            bootstrap_servers: "127.0.0.1:9092".to_owned(),
            client: BTreeMap::new(),
        }
    }
}

impl KafkaSettings {
    /// What every client of ours starts from. `bootstrap_servers` wins over `client`.
    pub fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in &self.client {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.bootstrap_servers);
        config
    }
}

/// The number of partitions of a topic, 0 when there is no such topic. Blocks its thread.
///
/// # Errors
/// When no broker answered in time.
pub fn partition_count<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> KafkaResult<i32> {
    let metadata = client.fetch_metadata(Some(topic), timeout)?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let count = found.map_or(0, |found| found.partitions().len());
    Ok(i32::try_from(count).unwrap_or(i32::MAX))
}

/// Whether a property's value must never be shown.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "secret", "key.pem", "oauthbearer.config", "token"]
        .iter()
        .any(|word| name.contains(word))
}

impl fmt::Debug for KafkaSettings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: BTreeMap<&str, &str> = self
            .client
            .iter()
            .map(|(name, value)| {
                let value = if is_secret(name) { "(hidden)" } else { value };
                (name.as_str(), value)
            })
            .collect();
        out.debug_struct("KafkaSettings")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("client", &shown)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_printed() {
        let client = [
            ("sasl.username", "redline"),
            ("sasl.password", "hunter2"),
            ("ssl.key.password", "hunter2"),
            ("sasl.oauthbearer.client.secret", "hunter2"),
            ("ssl.key.pem", "hunter2"),
        ];
        let settings = KafkaSettings {
            client: client
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..KafkaSettings::default()
        };
        let shown = format!("{settings:?}");
        assert!(shown.contains("redline") && !shown.contains("hunter2"), "{shown}");
        assert_eq!(
            settings.client_config().get("sasl.password"),
            Some("hunter2"),
            "the client itself must know it"
        );
    }
}
