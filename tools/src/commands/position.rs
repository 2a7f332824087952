//! `redline position`: where reading stands, and the operator's choices for stopped partitions.

use std::io::Write as _;

use redline_consumer::cluster::Cluster;
use redline_store::positions::{self, Listed};
use redline_store::sqlx::PgPool;

use super::saying::said_by;
use crate::settings::Settings;

/// The choices for a stopped partition.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Choice {
    /// Read again from the log's start.
    Restart,
    /// Go on at the log's start; what lies between is lost.
    AcceptGap,
    /// Go on behind records that were quarantined.
    Resume,
}

/// Lists positions; answers whether a partition is stopped.
pub(crate) async fn list(settings: &Settings, json: bool) -> anyhow::Result<bool> {
    let pool = redline_store::pool(settings.database.url(), "position", 1)?;
    let listed = positions::list(&pool).await?;
    let mut out = std::io::stdout();
    if json {
        let items: Vec<serde_json::Value> = listed.iter().map(to_json).collect();
        writeln!(out, "{}", serde_json::Value::Array(items))?;
    } else if listed.is_empty() {
        writeln!(out, "Nothing was read yet.")?;
    } else {
        let width = listed
            .iter()
            .map(|line| line.topic.len())
            .max()
            .unwrap_or(5)
            .max(5);
        writeln!(
            out,
            "{:width$}  PARTITION  {:>12}  STATUS",
            "TOPIC", "NEXT OFFSET"
        )?;
        for line in &listed {
            let next = line
                .next_offset
                .map_or_else(|| "-".to_owned(), |next| next.to_string());
            writeln!(
                out,
                "{:width$}  {:>9}  {next:>12}  {}",
                line.topic, line.partition, line.status
            )?;
            if let Some(detail) = &line.detail {
                writeln!(out, "  {detail}")?;
            }
        }
    }
    Ok(listed.iter().any(|line| line.status == "stopped"))
}

fn to_json(line: &Listed) -> serde_json::Value {
    serde_json::json!({
        "topic": line.topic,
        "partition": line.partition,
        "incarnation": line.incarnation,
        "next_offset": line.next_offset,
        "watermark": line.watermark.map(|time| time.to_string()),
        "status": line.status,
        "detail": line.detail,
    })
}

/// Carries out the operator's choice for one partition, or for all of a topic's that are stopped.
pub(crate) async fn choose(
    settings: &Settings,
    choice: Choice,
    topic: &str,
    chosen: Option<i32>,
) -> anyhow::Result<()> {
    let pool = redline_store::pool(settings.database.url(), "position", 1)?;
    let partitions: Vec<i32> = match chosen {
        Some(partition) => vec![partition],
        None => {
            let listed = positions::list(&pool).await?;
            let mut stopped: Vec<i32> = listed
                .iter()
                .filter(|line| line.topic == topic && line.status == "stopped")
                .map(|line| line.partition)
                .collect();
            stopped.dedup();
            anyhow::ensure!(
                !stopped.is_empty(),
                "no partition of {topic} is stopped; see `redline position list`"
            );
            stopped
        }
    };
    let by = said_by(None, "position");
    let cluster = Cluster::new(&settings.kafka)?;
    for partition in partitions {
        let kafka = cluster.describe(topic, partition).await?;
        let (next, recorded) = match choice {
            Choice::Restart => (
                positions::restart(&pool, &kafka, &by).await?,
                "; the gap is recorded",
            ),
            Choice::AcceptGap => (
                positions::accept_gap(&pool, &kafka, &by).await?,
                "; the gap is recorded",
            ),
            Choice::Resume => (positions::resume(&pool, &kafka).await?, ""),
        };
        writeln!(
            std::io::stdout(),
            "partition {partition} of {topic} goes on at offset {next}{recorded}"
        )?;
    }
    if let (Choice::Restart, None) = (choice, chosen) {
        give_up_vanished(&pool, &cluster, topic, &by).await?;
    }
    Ok(())
}

/// Of a topic that was made again with fewer partitions, what is gone is said and recorded too.
async fn give_up_vanished(pool: &PgPool, cluster: &Cluster, topic: &str, by: &str) -> anyhow::Result<()> {
    let topic_id = cluster.describe(topic, 0).await?.topic_id;
    let count = cluster.partitions(topic).await?;
    for (partition, offset) in positions::give_up_vanished(pool, topic, &topic_id, count, by).await? {
        writeln!(
            std::io::stdout(),
            "partition {partition} of {topic} is gone; what it held from offset {offset} on is lost, and the gap is recorded"
        )?;
    }
    Ok(())
}
