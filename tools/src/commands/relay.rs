//! `redline relay`: from the outbox to Kafka.

use std::time::Duration;

use redline_consumer::metrics::RelayMetrics;
use redline_producer::turns::Turns;
use tokio_util::sync::CancellationToken;

use super::connecting::{self, Service};
use super::instruments::Instruments;
use crate::settings::Settings;

/// Relays until told to stop.
pub(crate) async fn run(settings: &Settings, stop: CancellationToken) -> anyhow::Result<()> {
    connecting::check(settings, &[Service::Kafka, Service::Postgres]).await?;
    let instruments = Instruments::new()?;
    // Before anybody can ask: what has not begun is not ready.
    let metrics = metrics(settings, &instruments)?;
    let address = settings.relay.metrics_listen;
    instruments
        .listen(address, "relay.metrics_listen", settings, &stop)
        .await?;
    relay(settings, metrics, stop).await
}

/// What it measures.
pub(crate) fn metrics(settings: &Settings, instruments: &Instruments) -> anyhow::Result<RelayMetrics> {
    let topics = [settings.topics.flagged.as_str(), &settings.topics.quarantine];
    Ok(RelayMetrics::new(
        &instruments.meter,
        &instruments.health,
        &topics,
    )?)
}

/// The same on services that were looked at.
pub(crate) async fn relay(
    settings: &Settings,
    metrics: RelayMetrics,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let message_timeout = Duration::from_millis(settings.relay.message_timeout_milliseconds);
    // Every round of the relay waits for its acknowledgements, so nothing is gained by waiting for company.
    let kafka = settings.kafka_for_quarantined(&[("linger.ms", "0")]);
    // Whoever publishes flags to this topic does so after everybody who did before.
    let transactional_id = format!("{}.relay", settings.topics.flagged);
    let turns = Turns::new(kafka, message_timeout, transactional_id);
    tracing::info!("the relay is at work");
    redline_consumer::relay::run(settings.database.url(), turns, &settings.relay, metrics, stop).await?;
    Ok(())
}
