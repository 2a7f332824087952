//! `redline work`: a worker.

use std::time::Duration;

use redline_consumer::deduplicate::RedisMarks;
use redline_consumer::worker::Worker;
use tokio_util::sync::CancellationToken;

use super::telemetry::Telemetry;
use crate::settings::Settings;

/// Works until told to stop.
pub(crate) async fn run(settings: Settings, stop: CancellationToken) -> anyhow::Result<()> {
    let telemetry = Telemetry::new()?;
    let address = settings.work.metrics_listen;
    telemetry
        .listen(address, "work.metrics_listen", &settings, &stop)
        .await?;
    let marks = redis_marks(&settings, &telemetry)?;
    let registry = settings.registry.client()?;
    worker(&settings, registry, marks, &telemetry).run(stop).await?;
    Ok(())
}

/// A worker of these settings.
pub(crate) fn worker<R, M>(
    settings: &Settings,
    registry: R,
    marks: M,
    telemetry: &Telemetry,
) -> Worker<R, M> {
    Worker {
        kafka: settings.kafka.clone(),
        topics: settings.topics.clone(),
        database_url: settings.database.url().to_owned(),
        registry,
        marks,
        settings: settings.work.clone(),
        meter: telemetry.meter.clone(),
        health: telemetry.health.clone(),
    }
}

/// Marks in Redis, whose failures are counted.
pub(crate) fn redis_marks(settings: &Settings, telemetry: &Telemetry) -> anyhow::Result<RedisMarks> {
    let lifetime = Duration::from_secs(settings.work.mark_hours.saturating_mul(3_600));
    let marks = RedisMarks::new(settings.redis.url(), &settings.work.mark_prefix, lifetime)
        .map_err(anyhow::Error::msg)?;
    Ok(marks.counted(&telemetry.meter)?)
}
