//! What an operator sees of positions, and decides about stopped partitions.

use redline_schemas::Timestamp;
use sqlx::{PgConnection, PgPool, Row};

use super::{KafkaPartition, Position, StopReason, find, insert, knows_another_incarnation};
use crate::error::StoreError;
use crate::types::Timestamptz;

/// A line of `redline position list`.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Topic name.
    pub topic: String,
    /// Partition, from 0.
    pub partition: i32,
    /// The incarnation's name.
    pub incarnation: String,
    /// The next offset to record; none where a partition was stopped before its first record.
    pub next_offset: Option<i64>,
    /// Greatest min(event time, Kafka timestamp) accepted.
    pub watermark: Option<Timestamp>,
    /// `recording`, `idle`, `superseded` or `stopped`.
    pub status: String,
    /// Why it is stopped, with the choices.
    pub detail: Option<String>,
}

/// All positions and stopped partitions.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn list(pool: &PgPool) -> Result<Vec<Listed>, StoreError> {
    let rows = sqlx::query(
        "select coalesce(p.topic, s.topic) as topic, coalesce(p.partition, s.partition) as partition,
            coalesce(p.incarnation, s.incarnation) as incarnation,
            p.next_offset, p.watermark, s.detail,
            case when p.superseded_at is not null then 'superseded' when s.topic is not null then 'stopped'
                when exists (select from pg_stat_activity a where a.pid = p.owner_backend_pid
                    and a.backend_start = p.owner_backend_start) then 'recording' else 'idle' end as status
         from redline.positions p full join redline.stopped_partitions s
            on s.topic = p.topic and s.partition = p.partition and s.incarnation = p.topic_id
         order by 1, 2, p.position_id",
    )
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Listed {
                topic: row.try_get("topic")?,
                partition: row.try_get("partition")?,
                incarnation: row.try_get("incarnation")?,
                next_offset: row.try_get("next_offset")?,
                watermark: row
                    .try_get::<Option<Timestamptz>, _>("watermark")?
                    .map(|time| time.0),
                status: row.try_get("status")?,
                detail: row.try_get("detail")?,
            })
        })
        .collect()
}

/// Starts a partition anew at the log's start, on the operator's word. The old ledger is superseded, and what it
/// had not read is recorded as a gap of unknown length. Answers the offset where reading goes on.
///
/// # Errors
/// When the partition is not stopped, or Postgres cannot be reached.
pub async fn restart(pool: &PgPool, kafka: &KafkaPartition, by: &str) -> Result<i64, StoreError> {
    let mut transaction = pool.begin().await?;
    let reason = stopped_reason(&mut transaction, kafka).await?;
    let position = supersede(&mut transaction, kafka, &reason, by).await?;
    transaction.commit().await?;
    Ok(position.next_offset)
}

/// Starts a partition anew when Kafka has it under another topic id than its ledger: what `restart` does for a stopped
/// one, before anybody has met it. Only for whoever knows that the topic was made again on purpose. Answers whether it
/// did.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn start_anew(pool: &PgPool, kafka: &KafkaPartition, by: &str) -> Result<bool, StoreError> {
    let mut transaction = pool.begin().await?;
    let is_anew = knows_another_incarnation(&mut transaction, kafka).await?
        && find(&mut transaction, kafka).await?.is_none();
    if is_anew {
        let reason = StopReason::UnknownIncarnation.code();
        supersede(&mut transaction, kafka, reason, by).await?;
    }
    transaction.commit().await?;
    Ok(is_anew)
}

/// Ends the ledger of a partition with a gap behind it, and begins another one at the log's start.
async fn supersede(
    transaction: &mut PgConnection,
    kafka: &KafkaPartition,
    reason: &str,
    by: &str,
) -> Result<Position, StoreError> {
    let old = sqlx::query(
        "update redline.positions set superseded_at = now(), owner = null, owner_backend_pid = null,
            owner_backend_start = null
         where topic = $1 and partition = $2 and superseded_at is null returning incarnation, next_offset",
    )
    .bind(&kafka.topic)
    .bind(kafka.partition)
    .fetch_all(&mut *transaction)
    .await?;
    for row in &old {
        let incarnation: String = row.try_get("incarnation")?;
        let next_offset: i64 = row.try_get("next_offset")?;
        insert_gap(
            &mut *transaction,
            kafka,
            &incarnation,
            next_offset,
            None,
            reason,
            by,
        )
        .await?;
    }
    let restarts: i64 = sqlx::query_scalar(
        "select count(*) from redline.positions where topic = $1 and partition = $2 and topic_id = $3",
    )
    .bind(&kafka.topic)
    .bind(kafka.partition)
    .bind(&kafka.topic_id)
    .fetch_one(&mut *transaction)
    .await?;
    let incarnation = match restarts {
        0 => kafka.topic_id.clone(),
        count => format!("{}~{count}", kafka.topic_id),
    };
    let position = insert(&mut *transaction, kafka, &incarnation).await?;
    unstop(&mut *transaction, kafka).await?;
    Ok(position)
}

/// Gives up the partitions that a topic made again no longer has, on the operator's word; what they had not read is
/// recorded as gaps of unknown length. Answers each with the offset where its ledger ended.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn give_up_vanished(
    pool: &PgPool,
    topic: &str,
    topic_id: &str,
    partitions: i32,
    by: &str,
) -> Result<Vec<(i32, i64)>, StoreError> {
    let rows = sqlx::query(
        "with vanished as (
            update redline.positions set superseded_at = now(), owner = null, owner_backend_pid = null,
                owner_backend_start = null
            where topic = $1 and topic_id <> $2 and partition >= $3 and superseded_at is null
            returning topic, incarnation, partition, next_offset
         ), gaps as (
            insert into redline.gaps (topic, incarnation, partition, first_offset, reason, accepted_by)
            select topic, incarnation, partition, next_offset, 'unknown_incarnation', $4 from vanished
         )
         select partition, next_offset from vanished order by partition",
    )
    .bind(topic)
    .bind(topic_id)
    .bind(partitions)
    .bind(by)
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| Ok((row.try_get("partition")?, row.try_get("next_offset")?)))
        .collect()
}

/// Goes on at the log's start, on the operator's word; the offsets in between are recorded as a gap.
///
/// # Errors
/// When the partition is not stopped because of its log's start, or Postgres cannot be reached.
pub async fn accept_gap(pool: &PgPool, kafka: &KafkaPartition, by: &str) -> Result<i64, StoreError> {
    let mut transaction = pool.begin().await?;
    let reason = stopped_reason(&mut transaction, kafka).await?;
    let moved = sqlx::query(
        "update redline.positions p set next_offset = $4 from redline.positions old
         where old.position_id = p.position_id and p.topic = $1 and p.topic_id = $2 and p.partition = $3
            and p.superseded_at is null and p.next_offset < $4
         returning p.position_id, p.incarnation, old.next_offset as next_offset",
    )
    .bind(&kafka.topic)
    .bind(&kafka.topic_id)
    .bind(kafka.partition)
    .bind(kafka.log_start)
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(row) = moved else {
        return Err(StoreError::Refused(format!(
            "partition {} of {} is stopped because of {reason}, which is no gap; see `redline position list`",
            kafka.partition, kafka.topic
        )));
    };
    let incarnation: String = row.try_get("incarnation")?;
    let first: i64 = row.try_get("next_offset")?;
    insert_gap(
        &mut transaction,
        kafka,
        &incarnation,
        first,
        Some(kafka.log_start),
        &reason,
        by,
    )
    .await?;
    insert_unread(&mut transaction, row.try_get("position_id")?, first).await?;
    unstop(&mut transaction, kafka).await?;
    transaction.commit().await?;
    Ok(kafka.log_start)
}

/// Goes on with a partition that had too many quarantined records in a row, on the operator's word. Answers the offset where
/// reading goes on.
///
/// # Errors
/// When the partition is not stopped for this reason, or Postgres cannot be reached.
pub async fn resume(pool: &PgPool, kafka: &KafkaPartition) -> Result<i64, StoreError> {
    let mut transaction = pool.begin().await?;
    let reason = stopped_reason(&mut transaction, kafka).await?;
    if reason != StopReason::TooManyQuarantined.code() {
        return Err(StoreError::Refused(format!(
            "partition {} of {} is stopped because of {reason}, after which it cannot just go on; see \
             `redline position list`",
            kafka.partition, kafka.topic
        )));
    }
    let next_offset: i64 = sqlx::query_scalar(
        "update redline.positions set quarantined_in_a_row = 0
         where topic = $1 and topic_id = $2 and partition = $3 and superseded_at is null returning next_offset",
    )
    .bind(&kafka.topic)
    .bind(&kafka.topic_id)
    .bind(kafka.partition)
    .fetch_one(&mut *transaction)
    .await?;
    unstop(&mut transaction, kafka).await?;
    transaction.commit().await?;
    Ok(next_offset)
}

async fn stopped_reason(connection: &mut PgConnection, kafka: &KafkaPartition) -> Result<String, StoreError> {
    let reason = sqlx::query_scalar(
        "select reason from redline.stopped_partitions where topic = $1 and partition = $2 for update",
    )
    .bind(&kafka.topic)
    .bind(kafka.partition)
    .fetch_optional(connection)
    .await?;
    reason.ok_or_else(|| {
        StoreError::Refused(format!(
            "partition {} of {} is not stopped; a partition that is recorded is left alone",
            kafka.partition, kafka.topic
        ))
    })
}

async fn insert_gap(
    connection: &mut PgConnection,
    kafka: &KafkaPartition,
    incarnation: &str,
    first_offset: i64,
    next_offset: Option<i64>,
    reason: &str,
    by: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into redline.gaps (topic, incarnation, partition, first_offset, next_offset, reason, accepted_by)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(&kafka.topic)
    .bind(incarnation)
    .bind(kafka.partition)
    .bind(first_offset)
    .bind(next_offset)
    .bind(reason)
    .bind(by)
    .execute(connection)
    .await?;
    Ok(())
}

/// Control totals of offsets that were lost: nothing was read of them.
async fn insert_unread(
    connection: &mut PgConnection,
    position_id: i32,
    first_offset: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into redline.control_totals (position_id, topic, incarnation, partition, first_offset, next_offset, read,
            accepted, duplicate, quarantined, records, recorded_at)
         select position_id, topic, incarnation, partition, $2, next_offset, 0, 0, 0, 0, '', now()
         from redline.positions where position_id = $1",
    )
    .bind(position_id)
    .bind(first_offset)
    .execute(connection)
    .await?;
    Ok(())
}

async fn unstop(connection: &mut PgConnection, kafka: &KafkaPartition) -> Result<(), StoreError> {
    sqlx::query("delete from redline.stopped_partitions where topic = $1 and partition = $2")
        .bind(&kafka.topic)
        .bind(kafka.partition)
        .execute(connection)
        .await?;
    Ok(())
}
