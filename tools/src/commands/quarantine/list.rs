//! `redline quarantine list`

use std::io::Write as _;

use redline_store::quarantine::{self, Listed, Selection};
use redline_store::sqlx::PgPool;
use serde_json::{Value, json};

/// Lists records; answers whether any of them still waits.
pub(super) async fn list(pool: &PgPool, selection: &Selection, json: bool) -> anyhow::Result<bool> {
    /// Records read at once.
    const PAGE: i64 = 1_000;
    let mut out = std::io::stdout();
    let mut after = 0;
    let mut waiting = false;
    loop {
        let page = quarantine::list(pool, selection, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.quarantine_id;
        for record in &page {
            waiting |= record.status == "quarantined";
            match json {
                true => writeln!(out, "{}", to_json(record))?,
                false => writeln!(out, "{}", lines(record))?,
            }
        }
    }
    if after == 0 && !json {
        writeln!(out, "Nothing is quarantined.")?;
    }
    Ok(waiting)
}

fn lines(record: &Listed) -> String {
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
    format!("{quarantine_id:>8}  {status}  {topic}/{partition}/{offset}  {reason}\n          {detail}")
}

/// What is known of a record but its bytes.
pub(super) fn to_json(record: &Listed) -> Value {
    let time = |time: Option<redline_schemas::Timestamp>| time.map(|time| time.to_string());
    json!({
        "quarantine_id": record.quarantine_id,
        "topic": record.topic,
        "incarnation": record.incarnation,
        "partition": record.partition,
        "offset": record.offset,
        "reason": record.reason,
        "detail": record.detail,
        "remedy": redline_consumer::remedy(&record.reason),
        "quarantined_at": time(record.quarantined_at),
        "kafka_timestamp": time(record.kafka_timestamp),
        "value_bytes": record.value_bytes,
        "status": record.status,
        "status_changed_at": time(record.status_changed_at),
        "status_changed_by": record.status_changed_by,
        "status_detail": record.status_detail,
    })
}
