//! `redline work`: a worker.

use std::time::Duration;

use redline_consumer::deduplicate::RedisMarks;
use redline_consumer::worker::Worker;
use tokio_util::sync::CancellationToken;

use super::instruments::Instruments;
use crate::settings::Settings;

/// Works until told to stop.
pub(crate) async fn run(settings: Settings, stop: CancellationToken) -> anyhow::Result<()> {
    let instruments = Instruments::new()?;
    let address = settings.work.metrics_listen;
    instruments
        .listen(address, "work.metrics_listen", &settings, &stop)
        .await?;
    let marks = redis_marks(&settings, &instruments)?;
    let registry = settings.registry.client()?;
    worker(&settings, registry, marks, &instruments).run(stop).await?;
    Ok(())
}

/// A worker of these settings.
pub(crate) fn worker<R, M>(
    settings: &Settings,
    registry: R,
    marks: M,
    instruments: &Instruments,
) -> Worker<R, M> {
    Worker {
        kafka: settings.kafka.clone(),
        topics: settings.topics.clone(),
        database_url: settings.database.url().to_owned(),
        registry,
        marks,
        settings: settings.work.clone(),
        meter: instruments.meter.clone(),
        health: instruments.health.clone(),
    }
}

/// Marks in Redis, whose failures are counted.
pub(crate) fn redis_marks(settings: &Settings, instruments: &Instruments) -> anyhow::Result<RedisMarks> {
    let lifetime = Duration::from_secs(settings.work.mark_hours.saturating_mul(3_600));
    let marks = RedisMarks::new(settings.redis.url(), &settings.work.mark_prefix, lifetime)
        .map_err(anyhow::Error::msg)?;
    Ok(marks.counted(&instruments.meter)?)
}
