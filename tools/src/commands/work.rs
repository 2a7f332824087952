//! `redline work`: a worker.

use std::time::Duration;

use redline_consumer::deduplicate::RedisMarks;
use redline_consumer::worker::Worker;
use tokio_util::sync::CancellationToken;

use crate::settings::Settings;

/// Works until told to stop.
pub(crate) async fn run(settings: Settings, stop: CancellationToken) -> anyhow::Result<()> {
    let lifetime = Duration::from_secs(settings.work.mark_hours.saturating_mul(3_600));
    let marks = RedisMarks::new(settings.redis.url(), &settings.work.mark_prefix, lifetime)
        .map_err(anyhow::Error::msg)?;
    let worker = Worker {
        kafka: settings.kafka.clone(),
        topics: settings.topics.clone(),
        database_url: settings.database.url().to_owned(),
        registry: settings.registry.client()?,
        marks,
        settings: settings.work,
    };
    worker.run(stop).await?;
    Ok(())
}
