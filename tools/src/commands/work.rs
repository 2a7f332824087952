//! `redline work`: a worker.

use std::time::Duration;

use redline_consumer::deduplicate::RedisMarks;
use redline_consumer::redis_connection;
use redline_consumer::worker::{MEMBERSHIP, Worker};
use tokio_util::sync::CancellationToken;

use super::connecting::{self, Service};
use super::instruments::Instruments;
use crate::settings::Settings;

/// How long Redis may take to answer at the start.
const REDIS_PATIENCE: Duration = Duration::from_secs(2);

/// Works until told to stop.
pub(crate) async fn run(settings: Settings, stop: CancellationToken) -> anyhow::Result<()> {
    connecting::check(&settings, &[Service::Kafka, Service::Registry, Service::Postgres]).await?;
    let instruments = Instruments::new()?;
    // Known before anybody can ask: what has not begun is not ready.
    instruments.health.part(MEMBERSHIP);
    let address = settings.work.metrics_listen;
    instruments
        .listen(address, "work.metrics_listen", &settings, &stop)
        .await?;
    let marks = redis_marks(&settings, &instruments).await?;
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

/// Marks in Redis, whose failures are counted. It decides nothing: whatever is wrong with it is told, and the work begins.
pub(crate) async fn redis_marks(
    settings: &Settings,
    instruments: &Instruments,
) -> anyhow::Result<RedisMarks> {
    let lifetime = Duration::from_secs(settings.work.mark_hours.saturating_mul(3_600));
    let redis = settings.redis.client()?;
    if let Err(trouble) = redis_connection::reach(&redis, &settings.work.mark_prefix, REDIS_PATIENCE).await {
        tracing::warn!(
            "{trouble}; this worker goes on without it, and looks up in Postgres what Redis would know"
        );
    }
    let marks = RedisMarks::new(redis, &settings.work.mark_prefix, lifetime);
    Ok(marks.counted(&instruments.meter)?)
}
