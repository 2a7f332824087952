//! `redline quarantine`: what could not be accepted, and its way back.

use std::io::Write as _;
use std::time::Duration;

use redline_consumer::RETRY_HEADER;
use redline_producer::publisher::{Outgoing, Publisher};
use redline_store::quarantine::{self, Listed};

use super::connecting;
use crate::settings::Settings;

/// Lists quarantined records; answers whether any still waits.
pub(crate) async fn list(settings: &Settings, all: bool, json: bool) -> anyhow::Result<bool> {
    /// Records read at once.
    const PAGE: i64 = 1_000;
    let pool = redline_store::pool(settings.database.url(), "quarantine", 1)?;
    let status = if all { None } else { Some("quarantined") };
    let mut out = std::io::stdout();
    let mut after = 0;
    let mut waiting = false;
    loop {
        let page = quarantine::list(&pool, status, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.quarantine_id;
        for record in &page {
            waiting |= record.status == "quarantined";
            if json {
                writeln!(out, "{}", to_json(record))?;
            } else {
                let Listed {
                    quarantine_id,
                    topic,
                    partition,
                    offset,
                    reason,
                    detail,
                    status,
                    ..
                } = record;
                writeln!(
                    out,
                    "{quarantine_id:>8}  {status}  {topic}/{partition}/{offset}  {reason}\n          {detail}"
                )?;
            }
        }
    }
    if after == 0 && !json {
        writeln!(out, "Nothing is quarantined.")?;
    }
    Ok(waiting)
}

fn to_json(record: &Listed) -> serde_json::Value {
    serde_json::json!({
        "quarantine_id": record.quarantine_id,
        "topic": record.topic,
        "incarnation": record.incarnation,
        "partition": record.partition,
        "offset": record.offset,
        "reason": record.reason,
        "detail": record.detail,
        "status": record.status,
        "quarantined_at": record.quarantined_at.map(|time| time.to_string()),
        "value_bytes": record.value_bytes,
    })
}

/// Publishes records again, each under a header that names the original, and notes that they were retried.
pub(crate) async fn retry(settings: &Settings, ids: &[i64]) -> anyhow::Result<()> {
    let pool = redline_store::pool(settings.database.url(), "quarantine", 1)?;
    connecting::kafka(settings).await?;
    let publisher = Publisher::new(&settings.kafka_for_quarantined(&[]), Duration::from_secs(30))?;
    let ids: std::collections::BTreeSet<i64> = ids.iter().copied().collect();
    // All are looked at before any is published.
    let mut records = Vec::with_capacity(ids.len());
    for id in ids {
        let record = quarantine::find(&pool, id).await?;
        anyhow::ensure!(
            record.status == "quarantined",
            "record {id} was {} already",
            record.status
        );
        records.push((id, record));
    }
    for (id, record) in records {
        let original = format!(
            "{}/{}/{}/{}",
            record.topic, record.incarnation, record.partition, record.offset
        );
        let mut headers = record.headers;
        headers.retain(|(name, _)| name != RETRY_HEADER);
        headers.push((RETRY_HEADER.to_owned(), Some(original.into_bytes())));
        let partitions = publisher.partitions(&record.topic).await?;
        let outgoing = Outgoing {
            topic: &record.topic,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
        };
        let (partition, offset) = publisher.enqueue_when_free(outgoing, partitions).await?.await?;
        // Published first: if this process dies in between, the record is retried twice and counts once.
        quarantine::mark_retried(&pool, id).await?;
        writeln!(
            std::io::stdout(),
            "{id} was published again to {}/{partition}/{offset}",
            record.topic
        )?;
    }
    Ok(())
}
