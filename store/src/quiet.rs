//! Whether everything that was read has come to its end: recorded, derived again where facts touched it, published.

use std::collections::HashMap;

use sqlx::{Connection, PgConnection, Row};

use crate::dirty::{self, Dirty};
use crate::error::StoreError;
use crate::positions::KafkaPartition;

/// What is recorded and what is still to be done, as of one instant.
#[derive(Clone, Debug)]
pub struct State {
    /// The next offset of every partition that was read, by topic and partition.
    pub positions: HashMap<(String, i32), i64>,
    /// What has to be derived again.
    pub dirty: Dirty,
    /// Messages that wait for the relay.
    pub outbox: i64,
}

impl State {
    /// How many offsets of a partition, as Kafka had it before, are not recorded.
    pub fn behind(&self, kafka: &KafkaPartition) -> i64 {
        let partition = (kafka.topic.clone(), kafka.partition);
        let next = self.positions.get(&partition).copied();
        (kafka.log_end - next.unwrap_or(kafka.log_start)).max(0)
    }
}

/// Reads it all as of one instant.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn state(connection: &mut PgConnection) -> Result<State, StoreError> {
    let mut transaction = connection.begin().await?;
    crate::read_only(&mut transaction).await?;
    let positions = sqlx::query(
        "select topic, partition, next_offset from redline.positions where superseded_at is null",
    )
    .fetch_all(&mut *transaction)
    .await?;
    let dirty = dirty::count(&mut transaction).await?;
    let outbox = sqlx::query_scalar("select count(*) from redline.outbox")
        .fetch_one(&mut *transaction)
        .await?;
    transaction.rollback().await?;
    let positions = positions
        .iter()
        .map(|row| {
            let partition = (row.try_get("topic")?, row.try_get("partition")?);
            Ok((partition, row.try_get("next_offset")?))
        })
        .collect::<Result<_, StoreError>>()?;
    Ok(State {
        positions,
        dirty,
        outbox,
    })
}
