//! `redline relay`: from the outbox to Kafka.

use std::time::Duration;

use redline_producer::publisher::Publisher;
use tokio_util::sync::CancellationToken;

use crate::settings::Settings;

/// Relays until told to stop.
pub(crate) async fn run(settings: &Settings, stop: CancellationToken) -> anyhow::Result<()> {
    let mut kafka = settings.kafka.clone();
    // Quarantined records carry headers on top of the greatest input record.
    kafka
        .client
        .entry("message.max.bytes".to_owned())
        .or_insert_with(|| settings.migrate.quarantine_max_message_bytes.to_string());
    let message_timeout = Duration::from_millis(settings.relay.message_timeout_milliseconds);
    let publisher = Publisher::new(&kafka, message_timeout)?;
    tracing::info!("the relay is at work");
    redline_consumer::relay::run(settings.database.url(), &publisher, &settings.relay, stop).await?;
    Ok(())
}
