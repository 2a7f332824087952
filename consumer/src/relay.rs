//! The relay: from the outbox to Kafka, at least once, in order per entity, the same bytes each time.
//!
//! One turn is one transaction: take the oldest messages under a lock that only one relay holds, publish them in
//! order, wait for every acknowledgement, delete them, commit. Whatever fails, the messages are still there and
//! are published again, from the oldest on. A relay that stops in the middle loses its lock when Postgres ends
//! its idle transaction, and what it still had to send expires before that.

use std::collections::HashMap;
use std::time::Duration;

use redline_producer::publisher::Class::{Refused, TryAgain};
use redline_producer::publisher::{Delivery, Outgoing, PublishError, Publisher};
use redline_store::outbox::{self, Message, Waiting};
use redline_store::sqlx::{Connection, PgConnection};
use redline_store::{Class, StoreError, Timeouts, recording_connection};
use tokio_util::sync::CancellationToken;

use crate::recorder::{ORIGINAL_PREFIX, REASON_HEADER};
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
            Self::Publish { error, .. } => error.class() != TryAgain,
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
    let taken = outbox::take(
        &mut transaction,
        settings.batch_messages.into(),
        settings.batch_bytes.into(),
    )
    .await?;
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

/// Publishes in rounds, each of which has at most one message of a key: whatever fails, no message overtakes one of its
/// own key. Messages without a key have no order.
async fn publish(publisher: &Publisher, waiting: &[Waiting]) -> Result<(), RelayError> {
    for round in rounds(waiting) {
        publish_round(publisher, &round).await?;
    }
    Ok(())
}

fn rounds(waiting: &[Waiting]) -> Vec<Vec<&Waiting>> {
    let mut rounds: Vec<Vec<&Waiting>> = Vec::new();
    let mut before: HashMap<(&str, &[u8]), usize> = HashMap::new();
    for one in waiting {
        let round = one.message.key.as_deref().map_or(0, |key| {
            let count = before.entry((one.message.topic.as_str(), key)).or_insert(0);
            *count += 1;
            *count - 1
        });
        if rounds.len() == round {
            rounds.push(Vec::new());
        }
        rounds[round].push(one);
    }
    rounds
}

/// Publishes messages and waits for every acknowledgement, also after one failed: nothing is left in flight. A
/// quarantined record that Kafka refuses goes without its value: the table has it, and nothing may wait behind it.
async fn publish_round(publisher: &Publisher, round: &[&Waiting]) -> Result<(), RelayError> {
    let mut in_flight = Vec::with_capacity(round.len());
    for one in round {
        in_flight.push((*one, enqueue(publisher, &one.message).await));
    }
    let mut failure = None;
    for (one, enqueued) in in_flight {
        let delivered = match enqueued {
            Ok(delivery) => delivery.await,
            Err(error) => Err(error),
        };
        let delivered = match delivered {
            Err(error) if error.class() == Refused => publish_shortened(publisher, one, error).await,
            delivered => delivered,
        };
        if let Err(error) = delivered {
            failure.get_or_insert_with(|| about(one, error));
        }
    }
    failure.map_or(Ok(()), Err)
}

async fn publish_shortened(
    publisher: &Publisher,
    refused: &Waiting,
    error: PublishError,
) -> Result<(i32, i64), PublishError> {
    let Some(shorter) = shortened(&refused.message) else {
        return Err(error);
    };
    tracing::warn!(outbox_id = refused.outbox_id, %error, "a quarantined record goes without its value");
    enqueue(publisher, &shorter).await?.await
}

/// A quarantined record without its value and its own headers; none of what is not quarantined.
fn shortened(message: &Message) -> Option<Message> {
    const LONGEST_KEY: usize = 1_000;
    if !message.headers.iter().any(|(name, _)| name == REASON_HEADER) {
        return None;
    }
    let bytes = message.value.as_ref().map_or(0, Vec::len);
    let mut headers = message.headers.clone();
    headers.retain(|(name, _)| !name.starts_with(ORIGINAL_PREFIX));
    let omitted = format!("{bytes} bytes of value; they are in the table quarantine");
    headers.push(("redline-omitted".to_owned(), Some(omitted.into_bytes())));
    Some(Message {
        topic: message.topic.clone(),
        key: message.key.clone().filter(|key| key.len() <= LONGEST_KEY),
        value: None,
        headers,
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(outbox_id: i64, key: Option<&str>) -> Waiting {
        let message = Message {
            topic: "t".to_owned(),
            key: key.map(|key| key.as_bytes().to_vec()),
            value: None,
            headers: Vec::new(),
        };
        Waiting { outbox_id, message }
    }

    #[test]
    fn a_round_has_at_most_one_message_of_a_key_and_keeps_the_order_of_each() {
        let messages = [
            waiting(1, Some("a")),
            waiting(2, Some("a")),
            waiting(3, None),
            waiting(4, Some("b")),
            waiting(5, None),
            waiting(6, Some("a")),
        ];
        let numbers: Vec<Vec<i64>> = rounds(&messages)
            .iter()
            .map(|round| round.iter().map(|one| one.outbox_id).collect())
            .collect();
        assert_eq!(numbers, [vec![1, 3, 4, 5], vec![2], vec![6]]);
    }
}
