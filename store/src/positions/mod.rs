//! The position ledger: where each partition's reading stands, who records it, and what an operator decided.

mod operator;

use redline_schemas::Timestamp;
use sqlx::{Connection, PgConnection, Row};
use uuid::Uuid;

pub use self::operator::{Listed, accept_gap, give_up_vanished, list, restart, resume, start_anew};
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
    /// Quarantined records since the last good one.
    pub quarantined_in_a_row: i64,
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
    /// One record after the other is quarantined: more likely one cause than many bad records.
    TooManyQuarantined,
}

impl StopReason {
    /// The word in tables and messages.
    pub fn code(self) -> &'static str {
        match self {
            Self::UnknownIncarnation => "unknown_incarnation",
            Self::LogStartPastPosition => "log_start_past_position",
            Self::PositionPastLogEnd => "position_past_log_end",
            Self::TooManyQuarantined => "too_many_quarantined",
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
/// still records it for somebody else is terminated first, so a stopped process blocks nobody. A partition that had
/// `most_in_a_row` quarantined records one after the other stays stopped until an operator resumes it; with 0 none does.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn open(
    connection: &mut PgConnection,
    kafka: &KafkaPartition,
    owner: Uuid,
    most_in_a_row: u32,
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
    if let Some(reason) = reason_to_stop(&position, kafka, most_in_a_row) {
        return stop(transaction, kafka, reason, Some(&position)).await;
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

fn reason_to_stop(position: &Position, kafka: &KafkaPartition, most_in_a_row: u32) -> Option<StopReason> {
    if position.next_offset < kafka.log_start {
        Some(StopReason::LogStartPastPosition)
    } else if position.next_offset > kafka.log_end {
        Some(StopReason::PositionPastLogEnd)
    } else if most_in_a_row > 0 && position.quarantined_in_a_row >= i64::from(most_in_a_row) {
        Some(StopReason::TooManyQuarantined)
    } else {
        None
    }
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
        "select position_id, incarnation, next_offset, watermark, quarantined_in_a_row from redline.positions
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
        quarantined_in_a_row: row.try_get("quarantined_in_a_row")?,
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
         values ($1, $2, $3, $4, $5) returning position_id, incarnation, next_offset, watermark,
            quarantined_in_a_row",
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
    position: Option<&Position>,
) -> Result<Opened, StoreError> {
    let detail = choices(kafka, reason, position);
    let next_offset = position.map(|position| position.next_offset);
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
fn choices(kafka: &KafkaPartition, reason: StopReason, stands: Option<&Position>) -> String {
    let KafkaPartition {
        topic,
        partition,
        log_start,
        log_end,
        ..
    } = kafka;
    let position = stands.map_or(0, |position| position.next_offset);
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
        StopReason::TooManyQuarantined => format!(
            "the last {} records of partition {partition} of {topic} before offset {position} were quarantined one after \
             the other (work.most_quarantined_in_a_row); `redline quarantine list --topic {topic}` says why. When the cause \
             is mended, `redline position resume {topic} --partition {partition}` goes on",
            stands.map_or(0, |position| position.quarantined_in_a_row)
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

/// Gives up every position that this worker owns.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn release_all(connection: &mut PgConnection, owner: Uuid) -> Result<(), StoreError> {
    sqlx::query(
        "update redline.positions set owner = null, owner_backend_pid = null, owner_backend_start = null
         where owner = $1",
    )
    .bind(owner)
    .execute(connection)
    .await?;
    Ok(())
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
