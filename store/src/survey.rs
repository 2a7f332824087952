//! How the whole installation is, for its metrics: asked by one process at a time.

use std::time::Duration;

use sqlx::{Connection, PgConnection, Row};

use crate::error::StoreError;

/// Where recording of a partition goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Topic name.
    pub topic: String,
    /// The id that the topic had.
    pub topic_id: String,
    /// Partition, from 0.
    pub partition: i32,
    /// The next offset to record.
    pub next_offset: i64,
}

/// A number of things that wait, and for how long the oldest of them has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub count: i64,
    /// Since when the oldest one waits; zero when none does.
    pub age: Duration,
}

/// How the whole installation is, as of one instant.
#[derive(Clone, Debug, Default)]
pub struct Installation {
    /// Where recording stands.
    pub positions: Vec<Standing>,
    /// Stopped partitions by topic and reason.
    pub stopped: Vec<(String, String, i64)>,
    /// Messages that wait for the relay.
    pub outbox: Waiting,
    /// Entities that have to be derived again.
    pub dirty_entities: Waiting,
    /// State keys that have to be derived again.
    pub dirty_state_keys: Waiting,
    /// Open quarantined records by reason.
    pub quarantined: Vec<(String, i64)>,
}

/// Becomes the one that asks, for as long as this connection lasts; answers whether it did. Asked once of a connection.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn lead(connection: &mut PgConnection) -> Result<bool, StoreError> {
    /// "survey" in ASCII.
    const SURVEY_LOCK: i64 = 0x7375_7276_6579;
    Ok(sqlx::query_scalar("select pg_try_advisory_lock($1)")
        .bind(SURVEY_LOCK)
        .fetch_one(connection)
        .await?)
}

/// Reads it all as of one instant.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn read(connection: &mut PgConnection) -> Result<Installation, StoreError> {
    let mut transaction = connection.begin().await?;
    crate::read_only(&mut transaction).await?;
    let installation = Installation {
        positions: positions(&mut transaction).await?,
        stopped: stopped(&mut transaction).await?,
        outbox: waiting(
            &mut transaction,
            "select count(*), extract(epoch from clock_timestamp() - min(recorded_at))::float8 from redline.outbox",
        )
        .await?,
        dirty_entities: waiting(
            &mut transaction,
            "select count(*), extract(epoch from clock_timestamp() - min(marked_at))::float8
             from redline.dirty_entities",
        )
        .await?,
        dirty_state_keys: waiting(
            &mut transaction,
            "select count(*), extract(epoch from clock_timestamp() - min(dirty_since))::float8
             from redline.state_keys where dirty_since is not null",
        )
        .await?,
        quarantined: quarantined(&mut transaction).await?,
    };
    transaction.rollback().await?;
    Ok(installation)
}

async fn positions(connection: &mut PgConnection) -> Result<Vec<Standing>, StoreError> {
    let rows = sqlx::query(
        "select topic, topic_id, partition, next_offset from redline.positions where superseded_at is null",
    )
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Standing {
                topic: row.try_get("topic")?,
                topic_id: row.try_get("topic_id")?,
                partition: row.try_get("partition")?,
                next_offset: row.try_get("next_offset")?,
            })
        })
        .collect()
}

async fn stopped(connection: &mut PgConnection) -> Result<Vec<(String, String, i64)>, StoreError> {
    Ok(
        sqlx::query_as("select topic, reason, count(*) from redline.stopped_partitions group by 1, 2")
            .fetch_all(connection)
            .await?,
    )
}

async fn quarantined(connection: &mut PgConnection) -> Result<Vec<(String, i64)>, StoreError> {
    Ok(sqlx::query_as(
        "select reason, count(*) from redline.quarantine where status = 'quarantined' group by 1",
    )
    .fetch_all(connection)
    .await?)
}

/// A count, and the seconds since the oldest; these are null when there is none.
async fn waiting(connection: &mut PgConnection, query: &'static str) -> Result<Waiting, StoreError> {
    let (count, seconds): (i64, Option<f64>) = sqlx::query_as(query).fetch_one(connection).await?;
    let age = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Ok(Waiting {
        count,
        age: age.unwrap_or_default(),
    })
}
