//! Quarantine: records that could not be accepted, with their bytes, and their way back.

use std::sync::Arc;

use redline_domain::finding::Ledger;
use redline_schemas::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Postgres, QueryBuilder, Row};

use crate::entities::time;
use crate::error::StoreError;
use crate::outbox::{Headers, headers_from_json, headers_to_json};
use crate::types::{Timestamptz, optional_time};

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

/// Which quarantined records are meant. Empty means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Those with one of these numbers.
    pub ids: Vec<i64>,
    /// Those with this reason.
    pub reason: Option<String>,
    /// Those of this topic.
    pub topic: Option<String>,
    /// Those that were quarantined then or later.
    pub from: Option<Timestamp>,
    /// Those that were quarantined before.
    pub until: Option<Timestamp>,
    /// Those that still wait: neither retried nor discarded.
    pub waiting: bool,
}

impl Selection {
    /// Adds its conditions to a statement that ends in `where true`.
    fn add_to(&self, query: &mut QueryBuilder<'_, Postgres>) {
        if self.waiting {
            query.push(" and status = 'quarantined'");
        }
        if !self.ids.is_empty() {
            query
                .push(" and quarantine_id = any(")
                .push_bind(self.ids.clone())
                .push(")");
        }
        if let Some(reason) = &self.reason {
            query.push(" and reason = ").push_bind(reason.clone());
        }
        if let Some(topic) = &self.topic {
            query.push(" and topic = ").push_bind(topic.clone());
        }
        if let Some(from) = self.from {
            query.push(" and quarantined_at >= ").push_bind(Timestamptz(from));
        }
        if let Some(until) = self.until {
            query.push(" and quarantined_at < ").push_bind(Timestamptz(until));
        }
    }
}

/// A quarantined record without its bytes.
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
    /// When it was quarantined.
    pub quarantined_at: Option<Timestamp>,
    /// Kafka's timestamp.
    pub kafka_timestamp: Option<Timestamp>,
    /// Size of its value in bytes.
    pub value_bytes: i64,
    /// `quarantined`, `retried` or `discarded`.
    pub status: String,
    /// When it was retried or discarded.
    pub status_changed_at: Option<Timestamp>,
    /// Who did.
    pub status_changed_by: Option<String>,
    /// Where it was published again to, or why it was discarded.
    pub status_detail: Option<String>,
}

/// A quarantined record with its bytes.
#[derive(Clone, Debug)]
pub struct Kept {
    /// What is listed of it.
    pub listed: Listed,
    /// Raw key.
    pub key: Option<Vec<u8>>,
    /// Raw value.
    pub value: Option<Vec<u8>>,
    /// Raw headers.
    pub headers: Headers,
}

const LISTED: &str =
    "quarantine_id, topic, incarnation, partition, \"offset\", reason, detail, quarantined_at,
    kafka_timestamp, coalesce(octet_length(value), 0)::bigint as value_bytes, status, status_changed_at,
    status_changed_by, status_detail";

/// Selected records, newest last, from a number on.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn list(
    pool: &PgPool,
    selection: &Selection,
    after: i64,
    limit: i64,
) -> Result<Vec<Listed>, StoreError> {
    let rows = select(LISTED, selection, after, limit)
        .build()
        .fetch_all(pool)
        .await?;
    rows.iter().map(read_listed).collect()
}

/// The same with their bytes.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn kept(
    pool: &PgPool,
    selection: &Selection,
    after: i64,
    limit: i64,
) -> Result<Vec<Kept>, StoreError> {
    let columns = format!("{LISTED}, key, value, headers::text as headers");
    let rows = select(&columns, selection, after, limit)
        .build()
        .fetch_all(pool)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Kept {
                listed: read_listed(row)?,
                key: row.try_get("key")?,
                value: row.try_get("value")?,
                headers: headers_from_json(row.try_get("headers")?)?,
            })
        })
        .collect()
}

fn select(columns: &str, selection: &Selection, after: i64, limit: i64) -> QueryBuilder<'static, Postgres> {
    let mut query = QueryBuilder::new(format!(
        "select {columns} from redline.quarantine where quarantine_id > "
    ));
    query.push_bind(after);
    selection.add_to(&mut query);
    query.push(" order by quarantine_id limit ").push_bind(limit);
    query
}

fn read_listed(row: &PgRow) -> Result<Listed, StoreError> {
    Ok(Listed {
        quarantine_id: row.try_get("quarantine_id")?,
        topic: row.try_get("topic")?,
        incarnation: row.try_get("incarnation")?,
        partition: row.try_get("partition")?,
        offset: row.try_get("offset")?,
        reason: row.try_get("reason")?,
        detail: row.try_get("detail")?,
        quarantined_at: time(row, "quarantined_at")?,
        kafka_timestamp: time(row, "kafka_timestamp")?,
        value_bytes: row.try_get("value_bytes")?,
        status: row.try_get("status")?,
        status_changed_at: time(row, "status_changed_at")?,
        status_changed_by: row.try_get("status_changed_by")?,
        status_detail: row.try_get("status_detail")?,
    })
}

/// How many records are selected, and the greatest of their numbers; 0 when there are none.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn extent(pool: &PgPool, selection: &Selection) -> Result<(u64, i64), StoreError> {
    let mut query = QueryBuilder::new(
        "select count(*), coalesce(max(quarantine_id), 0) from redline.quarantine where true",
    );
    selection.add_to(&mut query);
    let (count, last): (i64, i64) = query.build_query_as().fetch_one(pool).await?;
    Ok((count.unsigned_abs(), last))
}

/// Notes that a record was published again, by whom and where to; answers whether it still waited.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn mark_retried(pool: &PgPool, quarantine_id: i64, by: &str, to: &str) -> Result<bool, StoreError> {
    let changed = sqlx::query(
        "update redline.quarantine set status = 'retried', status_changed_at = now(), status_changed_by = $2,
            status_detail = $3
         where quarantine_id = $1 and status = 'quarantined'",
    )
    .bind(quarantine_id)
    .bind(by)
    .bind(to)
    .execute(pool)
    .await?;
    Ok(changed.rows_affected() > 0)
}

/// Gives selected records up that still wait, all of them or none; answers how many. Their bytes stay.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn discard(pool: &PgPool, selection: &Selection, by: &str, why: &str) -> Result<u64, StoreError> {
    let mut query = QueryBuilder::new(
        "update redline.quarantine set status = 'discarded', status_changed_at = now(), status_changed_by = ",
    );
    query
        .push_bind(by.to_owned())
        .push(", status_detail = ")
        .push_bind(why.to_owned());
    query.push(" where status = 'quarantined'");
    selection.add_to(&mut query);
    Ok(query.build().execute(pool).await?.rows_affected())
}
