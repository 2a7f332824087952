//! `redline work`: a worker.

use std::time::Duration;

use anyhow::Context as _;
use redline_consumer::deduplicate::RedisMarks;
use redline_consumer::redis_connection;
use redline_consumer::worker::Worker;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::connecting::{self, Service};
use crate::settings::Settings;

/// How long Redis may take to answer at the start.
const REDIS_PATIENCE: Duration = Duration::from_secs(2);

/// Works until told to stop.
pub(crate) async fn run(settings: Settings, stop: CancellationToken) -> anyhow::Result<()> {
    connecting::check(&settings, &[Service::Kafka, Service::Registry, Service::Postgres]).await?;
    let marks = redis_marks(&settings).await?;
    let metrics = prometheus::Registry::new();
    if let Some(address) = settings.work.metrics_listen {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address} (work.metrics_listen)"))?;
        let address = listener.local_addr()?;
        tracing::info!(%address, "GET /metrics is answered");
        tokio::spawn(redline_http::metrics::serve(
            listener,
            metrics.clone(),
            stop.clone(),
        ));
    }
    let registry = settings.registry.client()?;
    worker(&settings, registry, marks, metrics).run(stop).await?;
    Ok(())
}

/// A worker of these settings.
pub(crate) fn worker<R, M>(
    settings: &Settings,
    registry: R,
    marks: M,
    metrics: prometheus::Registry,
) -> Worker<R, M> {
    Worker {
        kafka: settings.kafka.clone(),
        topics: settings.topics.clone(),
        database_url: settings.database.url().to_owned(),
        registry,
        marks,
        settings: settings.work.clone(),
        metrics,
    }
}

/// Marks in Redis. It decides nothing: whatever is wrong with it is told, and the work begins.
pub(crate) async fn redis_marks(settings: &Settings) -> anyhow::Result<RedisMarks> {
    let lifetime = Duration::from_secs(settings.work.mark_hours.saturating_mul(3_600));
    let redis = settings.redis.client()?;
    if let Err(trouble) = redis_connection::reach(&redis, &settings.work.mark_prefix, REDIS_PATIENCE).await {
        tracing::warn!(
            "{trouble}; this worker goes on without it, and looks up in Postgres what Redis would know"
        );
    }
    Ok(RedisMarks::new(redis, &settings.work.mark_prefix, lifetime))
}
