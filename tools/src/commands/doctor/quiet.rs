//! `redline doctor --quiet`: whether everything has come to its end.

use std::io::Write as _;
use std::time::{Duration, Instant};

use redline_consumer::cluster::{Cluster, ClusterError};
use redline_schemas::EventKind;
use redline_store::StoreError;
use redline_store::positions::KafkaPartition;
use redline_store::quiet::{self, State};

use crate::commands::counted;
use crate::settings::Settings;

/// Pause before the question is asked again.
const PAUSE: Duration = Duration::from_millis(250);

/// Whether everything that Kafka had acknowledged is recorded, judged under the facts of now, and published. Waits for it
/// as long as told; answers whether it is not.
pub(crate) async fn quiet(settings: &Settings, wait: Duration, json: bool) -> anyhow::Result<bool> {
    let unsettled = until_quiet(settings, wait).await?;
    let mut out = std::io::stdout();
    if json {
        let answer = serde_json::json!({"quiet": unsettled.is_empty(), "unsettled": unsettled});
        writeln!(out, "{answer}")?;
    } else if unsettled.is_empty() {
        writeln!(out, "quiet: everything is recorded, judged and published")?;
    } else {
        for line in &unsettled {
            writeln!(out, "not quiet: {line}")?;
        }
    }
    Ok(!unsettled.is_empty())
}

/// Waits as long as told; answers what is not settled then, one sentence each.
pub(crate) async fn until_quiet(settings: &Settings, wait: Duration) -> anyhow::Result<Vec<String>> {
    let began = Instant::now();
    let cluster = Cluster::new(&settings.kafka)?;
    let pool = redline_store::pool(settings.database.url(), "doctor", 1)?;
    loop {
        // Kafka first: what it has now must be in what Postgres says afterwards.
        let ends = match log_ends(settings, &cluster).await {
            Ok(ends) => ends,
            // A partition that has no leader for a moment has one soon.
            Err(error) if is_passing(&error) && began.elapsed() < wait => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        let mut connection = pool.acquire().await.map_err(StoreError::from)?;
        let unsettled = unsettled(&ends, &quiet::state(&mut connection).await?);
        if unsettled.is_empty() || began.elapsed() >= wait {
            return Ok(unsettled);
        }
        drop(connection);
        tokio::time::sleep(PAUSE).await;
    }
}

fn is_passing(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(ClusterError::NoBounds(..) | ClusterError::NotTold(_))
    )
}

async fn log_ends(settings: &Settings, cluster: &Cluster) -> anyhow::Result<Vec<KafkaPartition>> {
    let mut ends = Vec::new();
    for kind in EventKind::ALL {
        let topic = settings.topics.of(kind);
        for partition in 0..cluster.partitions(topic).await? {
            ends.push(cluster.describe(topic, partition).await?);
        }
    }
    Ok(ends)
}

/// What is not settled, one sentence each.
fn unsettled(ends: &[KafkaPartition], state: &State) -> Vec<String> {
    let mut lines = Vec::new();
    for log in ends {
        let behind = state.behind(log);
        if behind > 0 {
            let offsets = counted(behind, "offset is", "offsets are");
            lines.push(format!(
                "{offsets} to be recorded in partition {} of {} (it stands at {} of {})",
                log.partition,
                log.topic,
                log.log_end - behind,
                log.log_end
            ));
        }
    }
    if state.dirty.entities > 0 {
        let entities = counted(state.dirty.entities, "entity is", "entities are");
        lines.push(format!("{entities} to be judged again because of facts"));
    }
    if state.dirty.state_keys > 0 {
        let keys = counted(state.dirty.state_keys, "state key is", "state keys are");
        lines.push(format!("{keys} to be derived again"));
    }
    if state.outbox > 0 {
        let messages = counted(state.outbox, "message waits", "messages wait");
        lines.push(format!("{messages} for the relay"));
    }
    lines
}
