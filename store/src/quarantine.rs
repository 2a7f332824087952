//! Quarantine: records that could not be accepted, with their bytes, and their way back.

use redline_domain::finding::Ledger;
use redline_schemas::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};
use std::sync::Arc;

use crate::entities::time;
use crate::error::StoreError;
use crate::outbox::{Headers, headers_from_json, headers_to_json};
use crate::types::optional_time;

/// A record to be quarantined.
#[derive(Clone, Debug)]
pub struct Quarantined {
    /// Where it was read.
    pub ledger: Arc<Ledger>,
    /// Offset in the partition.
    pub offset: i64,
    /// The code of the reason.
    pub reason: &'static str,
    /// A sentence that names the field and the fix.
    pub detail: String,
    /// Raw key.
    pub key: Option<Vec<u8>>,
    /// Raw value.
    pub value: Option<Vec<u8>>,
    /// Raw headers.
    pub headers: Headers,
    /// Kafka's timestamp.
    pub kafka_timestamp: Option<Timestamp>,
}

pub(crate) async fn add(connection: &mut PgConnection, records: &[Quarantined]) -> Result<(), StoreError> {
    if records.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into redline.quarantine
            (topic, incarnation, partition, \"offset\", reason, detail, key, value, headers, kafka_timestamp)
         select topic, incarnation, partition, \"offset\", reason, detail, key, value, headers::jsonb, kafka_timestamp
         from unnest($1::text[], $2::text[], $3::int[], $4::bigint[], $5::text[], $6::text[], $7::bytea[],
            $8::bytea[], $9::text[], $10::timestamptz[]) with ordinality q (topic, incarnation, partition,
            \"offset\", reason, detail, key, value, headers, kafka_timestamp, ordinality) order by ordinality",
    )
    .bind(records.iter().map(|record| record.ledger.topic.as_str()).collect::<Vec<_>>())
    .bind(records.iter().map(|record| record.ledger.incarnation.as_str()).collect::<Vec<_>>())
    .bind(records.iter().map(|record| record.ledger.partition).collect::<Vec<_>>())
    .bind(records.iter().map(|record| record.offset).collect::<Vec<_>>())
    .bind(records.iter().map(|record| record.reason).collect::<Vec<_>>())
    .bind(records.iter().map(|record| record.detail.replace('\0', "\u{fffd}")).collect::<Vec<_>>())
    .bind(records.iter().map(|record| record.key.as_deref()).collect::<Vec<_>>())
    .bind(records.iter().map(|record| record.value.as_deref()).collect::<Vec<_>>())
    .bind(records.iter().map(|record| headers_to_json(&record.headers)).collect::<Vec<_>>())
    .bind(records.iter().map(|record| optional_time(record.kafka_timestamp)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// A quarantined record as it is listed.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its number, by which commands name it.
    pub quarantine_id: i64,
    /// Topic it was read from.
    pub topic: String,
    /// The topic's incarnation.
    pub incarnation: String,
    /// Partition it was read from.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The code of the reason.
    pub reason: String,
    /// A sentence that names the field and the fix.
    pub detail: String,
    /// `quarantined`, `retried` or `discarded`.
    pub status: String,
    /// When it was quarantined.
    pub quarantined_at: Option<Timestamp>,
    /// Size of its value in bytes.
    pub value_bytes: i64,
}

/// Quarantined records by status, newest last, from a number on.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn list(
    pool: &PgPool,
    status: Option<&str>,
    after: i64,
    limit: i64,
) -> Result<Vec<Listed>, StoreError> {
    let rows = sqlx::query(
        "select quarantine_id, topic, incarnation, partition, \"offset\", reason, detail, status, quarantined_at,
            coalesce(octet_length(value), 0)::bigint as value_bytes
         from redline.quarantine where ($1::text is null or status = $1) and quarantine_id > $2
         order by quarantine_id limit $3",
    )
    .bind(status)
    .bind(after)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Listed {
                quarantine_id: row.try_get("quarantine_id")?,
                topic: row.try_get("topic")?,
                incarnation: row.try_get("incarnation")?,
                partition: row.try_get("partition")?,
                offset: row.try_get("offset")?,
                reason: row.try_get("reason")?,
                detail: row.try_get("detail")?,
                status: row.try_get("status")?,
                quarantined_at: time(row, "quarantined_at")?,
                value_bytes: row.try_get("value_bytes")?,
            })
        })
        .collect()
}

/// A quarantined record with its bytes, as it is published again.
#[derive(Clone, Debug)]
pub struct Retryable {
    /// Topic it was read from.
    pub topic: String,
    /// The topic's incarnation.
    pub incarnation: String,
    /// Partition it was read from.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Raw key.
    pub key: Option<Vec<u8>>,
    /// Raw value.
    pub value: Option<Vec<u8>>,
    /// Raw headers.
    pub headers: Headers,
    /// `quarantined`, `retried` or `discarded`.
    pub status: String,
}

/// A quarantined record by its number.
///
/// # Errors
/// When there is none, or Postgres cannot be reached.
pub async fn find(pool: &PgPool, quarantine_id: i64) -> Result<Retryable, StoreError> {
    let row = sqlx::query(
        "select topic, incarnation, partition, \"offset\", key, value, headers::text as headers, status
         from redline.quarantine where quarantine_id = $1",
    )
    .bind(quarantine_id)
    .fetch_optional(pool)
    .await?;
    let row = row.ok_or_else(|| {
        StoreError::Refused(format!(
            "no record has the number {quarantine_id}; see `redline quarantine list`"
        ))
    })?;
    read_retryable(&row)
}

fn read_retryable(row: &PgRow) -> Result<Retryable, StoreError> {
    Ok(Retryable {
        topic: row.try_get("topic")?,
        incarnation: row.try_get("incarnation")?,
        partition: row.try_get("partition")?,
        offset: row.try_get("offset")?,
        key: row.try_get("key")?,
        value: row.try_get("value")?,
        headers: headers_from_json(row.try_get("headers")?)?,
        status: row.try_get("status")?,
    })
}

/// Notes that a record was published again.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn mark_retried(pool: &PgPool, quarantine_id: i64) -> Result<(), StoreError> {
    sqlx::query(
        "update redline.quarantine set status = 'retried', status_changed_at = now()
         where quarantine_id = $1 and status = 'quarantined'",
    )
    .bind(quarantine_id)
    .execute(pool)
    .await?;
    Ok(())
}
