//! The relay: from the outbox to Kafka, at least once, in order per entity, the same bytes each time.
//!
//! One turn is one transaction: take the oldest messages under a lock that only one relay holds, publish them in
//! order, wait for every acknowledgement, delete them, commit. Whatever fails, the messages are still there and
//! are published again, from the oldest on. A relay that stops in the middle loses its lock when Postgres ends
//! its idle transaction, and what it still had to send expires before that.

use std::collections::HashSet;
use std::time::Duration;

use redline_producer::publisher::{Delivery, Outgoing, PublishError, Publisher};
use redline_store::outbox::{self, Message, Waiting};
use redline_store::sqlx::{Connection, PgConnection};
use redline_store::{Class, StoreError, Timeouts, recording_connection};
use tokio_util::sync::CancellationToken;

use crate::settings::RelaySettings;

/// Why a relay cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Postgres.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Kafka, about one message.
    #[error("message {outbox_id} of the outbox, for the topic {topic}: {error}")]
    Publish {
        /// Its number.
        outbox_id: i64,
        /// Where it goes.
        topic: String,
        /// What Kafka says.
        error: PublishError,
    },
}

impl RelayError {
    fn stops(&self) -> bool {
        match self {
            Self::Store(error) => error.class() == Class::Stop,
            // A message that Kafka refuses would be refused for ever, and everything behind it would wait.
            Self::Publish { error, .. } => error.class() != redline_producer::publisher::Class::TryAgain,
        }
    }
}

/// Publishes until it is told to stop.
///
/// # Errors
/// Only what somebody has to mend; everything else is tried again.
pub async fn run(
    database_url: &str,
    publisher: &Publisher,
    settings: &RelaySettings,
    stop: CancellationToken,
) -> Result<(), RelayError> {
    /// Longest pause after failures in a row.
    const LONGEST_PAUSE: Duration = Duration::from_secs(5);
    let message_timeout = Duration::from_millis(settings.message_timeout_milliseconds);
    let timeouts = Timeouts {
        idle_in_transaction: message_timeout + Duration::from_secs(5),
        ..Timeouts::default()
    };
    let idle_pause = Duration::from_millis(settings.poll_milliseconds.max(1));
    let mut connection: Option<PgConnection> = None;
    let mut failure_pause = idle_pause;
    while !stop.is_cancelled() {
        let pause = match turn(&mut connection, database_url, timeouts, publisher, settings).await {
            Ok(0) => idle_pause,
            Ok(_) => {
                failure_pause = idle_pause;
                continue;
            }
            Err(error) if error.stops() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "the relay tries again");
                connection = None;
                failure_pause = (failure_pause * 2).min(LONGEST_PAUSE);
                failure_pause
            }
        };
        let () = tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        };
    }
    Ok(())
}

/// Publishes the oldest messages; answers how many.
async fn turn(
    connection: &mut Option<PgConnection>,
    database_url: &str,
    timeouts: Timeouts,
    publisher: &Publisher,
    settings: &RelaySettings,
) -> Result<usize, RelayError> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(recording_connection(database_url, "relay", timeouts).await?),
    };
    let mut transaction = connection.begin().await.map_err(StoreError::from)?;
    let taken = outbox::take(&mut transaction, settings.batch_messages, settings.batch_bytes).await?;
    let waiting = taken.unwrap_or_default();
    if waiting.is_empty() {
        transaction.rollback().await.map_err(StoreError::from)?;
        return Ok(0);
    }
    publish(publisher, &waiting).await?;
    let published: Vec<i64> = waiting.iter().map(|waiting| waiting.outbox_id).collect();
    outbox::delete(&mut transaction, &published).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(published.len())
}

/// Publishes in order and waits for every acknowledgement, also after one failed: nothing is left in flight. A key
/// that comes again waits until everything before it is acknowledged, so a failure cannot swap its messages.
async fn publish(publisher: &Publisher, waiting: &[Waiting]) -> Result<(), RelayError> {
    let mut in_flight: Vec<(&Waiting, Delivery)> = Vec::with_capacity(waiting.len());
    let mut keys_in_flight = HashSet::new();
    for one in waiting {
        let Message { topic, key, .. } = &one.message;
        if !keys_in_flight.insert((topic, key)) {
            settle(&mut in_flight).await?;
            keys_in_flight.clear();
            keys_in_flight.insert((topic, key));
        }
        match enqueue(publisher, &one.message).await {
            Ok(delivery) => in_flight.push((one, delivery)),
            Err(error) => {
                let _ = settle(&mut in_flight).await;
                return Err(about(one, error));
            }
        }
    }
    settle(&mut in_flight).await
}

fn about(waiting: &Waiting, error: PublishError) -> RelayError {
    RelayError::Publish {
        outbox_id: waiting.outbox_id,
        topic: waiting.message.topic.clone(),
        error,
    }
}

async fn enqueue(publisher: &Publisher, message: &Message) -> Result<Delivery, PublishError> {
    let record = Outgoing {
        topic: &message.topic,
        key: message.key.as_deref(),
        value: message.value.as_deref(),
        headers: &message.headers,
    };
    let partitions = publisher.partitions(&message.topic).await?;
    publisher.enqueue_when_free(record, partitions).await
}

/// Waits for all deliveries; answers the first failure.
async fn settle(in_flight: &mut Vec<(&Waiting, Delivery)>) -> Result<(), RelayError> {
    let mut first_failure = Ok(());
    for (waiting, delivery) in in_flight.drain(..) {
        let delivered = delivery.await;
        if first_failure.is_ok() {
            first_failure = delivered.map(|_| ()).map_err(|error| about(waiting, error));
        }
    }
    first_failure
}
