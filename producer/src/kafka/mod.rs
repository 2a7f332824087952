//! How to reach Kafka: the settings, the clients that are made of them, and what is wrong when it cannot be reached.

mod admin;
mod brokers;
mod callbacks;
mod oauth;
mod reach;
mod served;
mod settings;

use std::time::Duration;

use rdkafka::client::Client;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::metadata::MetadataTopic;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientConfig, ClientContext};

pub use self::admin::{Admin, admin};
pub use self::callbacks::{Asking, Callbacks, Called};
pub use self::oauth::OauthSettings;
pub use self::reach::{Unreached, reach};
pub use self::served::Served;
pub use self::settings::KafkaSettings;

/// Makes a client; every client of ours is made here (clippy.toml forbids other ways). One whose context fetches no
/// tokens does not compile: over OAUTHBEARER it would wait for ever, and nobody would see it in tests without.
///
/// # Errors
/// When a property is wrong.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn create<C: ClientContext, T: FromClientConfigAndContext<C>>(
    config: &ClientConfig,
    context: C,
) -> KafkaResult<T> {
    const {
        assert!(
            C::ENABLE_REFRESH_OAUTH_TOKEN,
            "delegate to `Callbacks`, with ENABLE_REFRESH_OAUTH_TOKEN"
        );
    }
    config.create_with_context(context).map_err(|error| match error {
        // Of a property that is misspelt nobody knows whether its value is a secret.
        KafkaError::ClientConfig(result, reason, name, _) => {
            KafkaError::ClientConfig(result, reason, name, "(its value is not shown)".to_owned())
        }
        error => error,
    })
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
    let is_unknown = |error| error == RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    if let Some(error) = found
        .and_then(MetadataTopic::error)
        .filter(|error| !is_unknown(*error))
    {
        return Err(KafkaError::MetadataFetch(error.into()));
    }
    let count = found.map_or(0, |found| found.partitions().len());
    Ok(i32::try_from(count).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_a_property_that_does_not_exist_is_not_told() {
        let settings = KafkaSettings {
            client: [("sasl.pasword".to_owned(), "hunter2".to_owned())].into(),
            ..KafkaSettings::default()
        };
        let context = Asking(Callbacks::new(&settings));
        let made = create::<_, rdkafka::producer::BaseProducer<Asking>>(&settings.client_config(), context);
        let error = made.err().unwrap().to_string();
        assert!(
            error.contains("sasl.pasword") && !error.contains("hunter2"),
            "{error}"
        );
    }
}
