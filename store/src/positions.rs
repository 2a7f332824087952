//! The position ledger: where each partition's reading stands, who records it, and what an operator decided.

use redline_schemas::Timestamp;
use sqlx::{Connection, PgConnection, PgPool, Row};
use uuid::Uuid;

use crate::error::StoreError;
use crate::types::Timestamptz;

/// A partition as Kafka has it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaPartition {
    /// Topic name.
    pub topic: String,
    /// Topic id.
    pub topic_id: String,
    /// Partition, from 0.
    pub partition: i32,
    /// First offset that the log still has.
    pub log_start: i64,
    /// Offset behind the last record.
    pub log_end: i64,
}

/// Where recording of a partition goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The ledger's number.
    pub position_id: i32,
    /// Topic id, with `~n` after a restart on the same topic.
    pub incarnation: String,
    /// The next offset to record.
    pub next_offset: i64,
    /// Greatest min(event time, Kafka timestamp) accepted.
    pub watermark: Option<Timestamp>,
}

/// Why a partition waits for an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The topic was deleted and made again.
    UnknownIncarnation,
    /// The log starts behind the position: records were removed before they were read.
    LogStartPastPosition,
    /// The log ends before the position: Kafka lost records that are recorded here.
    PositionPastLogEnd,
}

impl StopReason {
    /// The word in tables and messages.
    pub fn code(self) -> &'static str {
        match self {
            Self::UnknownIncarnation => "unknown_incarnation",
            Self::LogStartPastPosition => "log_start_past_position",
            Self::PositionPastLogEnd => "position_past_log_end",
        }
    }
}

/// A partition that waits for an operator, and what the operator can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Why.
    pub reason: StopReason,
    /// A sentence with the choices.
    pub detail: String,
}

/// What opening a partition answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Recording goes on here.
    At(Position),
    /// It waits for an operator.
    Stopped(Stopped),
}

/// Finds where recording of an assigned partition goes on, and makes this connection its owner. A backend that
/// still records it for somebody else is terminated first, so a stopped process blocks nobody.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn open(
    connection: &mut PgConnection,
    kafka: &KafkaPartition,
    owner: Uuid,
) -> Result<Opened, StoreError> {
    terminate_owner(connection, kafka).await?;
    let mut transaction = connection.begin().await?;
    // One opener a topic at a time: whether an incarnation is known must not change in between.
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('redline.positions:' || $1, 0))")
        .bind(&kafka.topic)
        .execute(&mut *transaction)
        .await?;
    let position = match find(&mut transaction, kafka).await? {
        Some(position) => position,
        None if knows_another_incarnation(&mut transaction, kafka).await? => {
            return stop(transaction, kafka, StopReason::UnknownIncarnation, None).await;
        }
        None => insert(&mut transaction, kafka, &kafka.topic_id).await?,
    };
    if position.next_offset < kafka.log_start {
        return stop(
            transaction,
            kafka,
            StopReason::LogStartPastPosition,
            Some(position.next_offset),
        )
        .await;
    }
    if position.next_offset > kafka.log_end {
        return stop(
            transaction,
            kafka,
            StopReason::PositionPastLogEnd,
            Some(position.next_offset),
        )
        .await;
    }
    sqlx::query(
        "update redline.positions set owner = $2, owner_backend_pid = pg_backend_pid(), owner_backend_start =
            (select backend_start from pg_stat_activity where pid = pg_backend_pid())
         where position_id = $1",
    )
    .bind(position.position_id)
    .bind(owner)
    .execute(&mut *transaction)
    .await?;
    sqlx::query("delete from redline.stopped_partitions where topic = $1 and partition = $2")
        .bind(&kafka.topic)
        .bind(kafka.partition)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(Opened::At(position))
}

/// Ends the backend that recorded this partition before, unless it is this one or gone already.
async fn terminate_owner(connection: &mut PgConnection, kafka: &KafkaPartition) -> Result<(), StoreError> {
    /// How long the backend's end is waited for. A stopped client does not delay it: it waits in a system call.
    const PATIENCE_MILLISECONDS: i64 = 5_000;
    sqlx::query(
        "select pg_terminate_backend(activity.pid, $3) from redline.positions
         join pg_stat_activity activity on activity.pid = owner_backend_pid
            and activity.backend_start = owner_backend_start
         where topic = $1 and partition = $2 and superseded_at is null and activity.pid <> pg_backend_pid()",
    )
    .bind(&kafka.topic)
    .bind(kafka.partition)
    .bind(PATIENCE_MILLISECONDS)
    .fetch_all(connection)
    .await?;
    Ok(())
}

async fn find(connection: &mut PgConnection, kafka: &KafkaPartition) -> Result<Option<Position>, StoreError> {
    let row = sqlx::query(
        "select position_id, incarnation, next_offset, watermark from redline.positions
         where topic = $1 and topic_id = $2 and partition = $3 and superseded_at is null",
    )
    .bind(&kafka.topic)
    .bind(&kafka.topic_id)
    .bind(kafka.partition)
    .fetch_optional(connection)
    .await?;
    row.map(|row| read_position(&row)).transpose()
}

fn read_position(row: &sqlx::postgres::PgRow) -> Result<Position, StoreError> {
    Ok(Position {
        position_id: row.try_get("position_id")?,
        incarnation: row.try_get("incarnation")?,
        next_offset: row.try_get("next_offset")?,
        watermark: row
            .try_get::<Option<Timestamptz>, _>("watermark")?
            .map(|time| time.0),
    })
}

async fn knows_another_incarnation(
    connection: &mut PgConnection,
    kafka: &KafkaPartition,
) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar(
        "select exists (select from redline.positions
         where topic = $1 and topic_id <> $2 and superseded_at is null)",
    )
    .bind(&kafka.topic)
    .bind(&kafka.topic_id)
    .fetch_one(connection)
    .await?)
}

async fn insert(
    connection: &mut PgConnection,
    kafka: &KafkaPartition,
    incarnation: &str,
) -> Result<Position, StoreError> {
    let row = sqlx::query(
        "insert into redline.positions (topic, incarnation, topic_id, partition, next_offset)
         values ($1, $2, $3, $4, $5) returning position_id, incarnation, next_offset, watermark",
    )
    .bind(&kafka.topic)
    .bind(incarnation)
    .bind(&kafka.topic_id)
    .bind(kafka.partition)
    .bind(kafka.log_start)
    .fetch_one(connection)
    .await?;
    read_position(&row)
}

async fn stop(
    mut transaction: sqlx::Transaction<'_, sqlx::Postgres>,
    kafka: &KafkaPartition,
    reason: StopReason,
    next_offset: Option<i64>,
) -> Result<Opened, StoreError> {
    let detail = choices(kafka, reason, next_offset);
    sqlx::query(
        "insert into redline.stopped_partitions
            (topic, partition, incarnation, reason, detail, next_offset, log_start, log_end)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (topic, partition) do update set incarnation = excluded.incarnation,
            reason = excluded.reason, detail = excluded.detail, next_offset = excluded.next_offset,
            log_start = excluded.log_start, log_end = excluded.log_end",
    )
    .bind(&kafka.topic)
    .bind(kafka.partition)
    .bind(&kafka.topic_id)
    .bind(reason.code())
    .bind(&detail)
    .bind(next_offset)
    .bind(kafka.log_start)
    .bind(kafka.log_end)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(Opened::Stopped(Stopped { reason, detail }))
}

/// What happened, and the operator's choices by name.
fn choices(kafka: &KafkaPartition, reason: StopReason, next_offset: Option<i64>) -> String {
    let KafkaPartition {
        topic,
        partition,
        log_start,
        log_end,
        ..
    } = kafka;
    let position = next_offset.unwrap_or(0);
    match reason {
        StopReason::UnknownIncarnation => format!(
            "topic {topic} was deleted and made again; whatever the old one still held unread is lost. \
             `redline position restart {topic} --partition {partition}` reads the new topic from its start \
             and records the loss"
        ),
        StopReason::LogStartPastPosition => format!(
            "partition {partition} of {topic} starts at offset {log_start}, behind the position {position}: \
             {} offsets were removed before they were read. \
             `redline position accept-gap {topic} --partition {partition}` records the gap and goes on at {log_start}",
            log_start - position
        ),
        StopReason::PositionPastLogEnd => format!(
            "partition {partition} of {topic} ends at offset {log_end}, before the position {position}: Kafka lost \
             records that are recorded here. `redline position restart {topic} --partition {partition}` reads it \
             again from its start; what is recorded already counts as duplicates"
        ),
    }
}

/// Makes a new connection of the same worker the owner of what it still owns; answers those positions.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn reclaim(connection: &mut PgConnection, owner: Uuid) -> Result<Vec<i32>, StoreError> {
    Ok(sqlx::query_scalar(
        "update redline.positions set owner_backend_pid = pg_backend_pid(), owner_backend_start =
            (select backend_start from pg_stat_activity where pid = pg_backend_pid())
         where owner = $1 returning position_id",
    )
    .bind(owner)
    .fetch_all(connection)
    .await?)
}

/// Gives positions up, as far as this worker still owns them.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn release(
    connection: &mut PgConnection,
    positions: &[i32],
    owner: Uuid,
) -> Result<(), StoreError> {
    sqlx::query(
        "update redline.positions set owner = null, owner_backend_pid = null, owner_backend_start = null
         where position_id = any($1) and owner = $2",
    )
    .bind(positions)
    .bind(owner)
    .execute(connection)
    .await?;
    Ok(())
}

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
            &mut transaction,
            kafka,
            &incarnation,
            next_offset,
            None,
            &reason,
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
    let position = insert(&mut transaction, kafka, &incarnation).await?;
    unstop(&mut transaction, kafka).await?;
    transaction.commit().await?;
    Ok(position.next_offset)
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
         returning p.incarnation, old.next_offset as next_offset",
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
    unstop(&mut transaction, kafka).await?;
    transaction.commit().await?;
    Ok(kafka.log_start)
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

async fn unstop(connection: &mut PgConnection, kafka: &KafkaPartition) -> Result<(), StoreError> {
    sqlx::query("delete from redline.stopped_partitions where topic = $1 and partition = $2")
        .bind(&kafka.topic)
        .bind(kafka.partition)
        .execute(connection)
        .await?;
    Ok(())
}
