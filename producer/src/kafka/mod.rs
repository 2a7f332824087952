//! How to reach Kafka: the settings, the clients that are made of them, and what is wrong when it cannot be reached.

mod admin;
mod callbacks;
mod oauth;
mod reach;
mod served;
mod settings;

use std::time::Duration;

use rdkafka::client::Client;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::KafkaResult;
use rdkafka::{ClientConfig, ClientContext};

pub use self::admin::{Admin, admin};
pub use self::callbacks::{Asking, Callbacks};
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
    config.create_with_context(context)
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
