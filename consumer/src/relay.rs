//! The relay: from the outbox to Kafka, at least once, in order per entity, the same bytes each time.
//!
//! One relay leads: it holds a lock for as long as its connection to Postgres lasts. Its turns take the oldest messages,
//! publish them in order in one transaction of Kafka, wait for every acknowledgement, and delete them. Whatever fails,
//! the messages are still there and are published again, from the oldest on. A relay that stands still loses its
//! connection and with it the lead. Its successor, as a relay that replaces its own client after a failure, fences off
//! the client before: what that one still had to send is never written, so nothing older appears behind what the new
//! one publishes.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use redline_producer::publisher::Class::{Refused, TryAgain};
use redline_producer::publisher::{Delivery, Outgoing, PublishError};
use redline_producer::turns::{Turn, Turns};
use redline_store::outbox::{self, Message, Waiting};
use redline_store::sqlx::PgConnection;
use redline_store::{Class, StoreError, Timeouts, recording_connection};
use tokio_util::sync::CancellationToken;

use crate::metrics::{RelayMetrics, Turned};
use crate::recorder::{ORIGINAL_PREFIX, REASON_HEADER};
use crate::settings::RelaySettings;
use crate::traces::Sends;

/// Why a relay cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Postgres.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Kafka, about a turn as a whole.
    #[error("a turn: {0}")]
    Turn(PublishError),
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
            // After any failure there is a new client.
            Self::Turn(PublishError::Worn(_))
            | Self::Publish {
                error: PublishError::Worn(_),
                ..
            } => false,
            // A message that Kafka refuses would be refused for ever, and everything behind it would wait.
            Self::Turn(error) | Self::Publish { error, .. } => error.class() != TryAgain,
        }
    }
}

/// Publishes until it is told to stop.
///
/// # Errors
/// Only what somebody has to mend; everything else is tried again.
pub async fn run(
    database_url: &str,
    turns: Turns,
    settings: &RelaySettings,
    metrics: RelayMetrics,
    stop: CancellationToken,
) -> Result<(), RelayError> {
    /// Longest pause after failures in a row.
    const LONGEST_PAUSE: Duration = Duration::from_secs(5);
    let idle_pause = Duration::from_millis(settings.poll_milliseconds.max(1));
    let mut relay = Relay {
        database_url,
        settings,
        turns,
        metrics,
        lead: None,
        refused: HashSet::new(),
        #[cfg(feature = "break-numbers")]
        last: 0,
    };
    let mut failure_pause = idle_pause;
    while !stop.is_cancelled() {
        let pause = match relay.turn().await {
            Ok(Turned::Published) => {
                failure_pause = idle_pause;
                continue;
            }
            Ok(_) => idle_pause,
            Err(error) if error.stops() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "the relay tries again");
                relay.turns.reset();
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

struct Relay<'s> {
    database_url: &'s str,
    settings: &'s RelaySettings,
    turns: Turns,
    metrics: RelayMetrics,
    lead: Option<Lead>,
    /// Messages that Kafka refused and that go without their values the next time.
    refused: HashSet<i64>,
    /// The highest number that was taken.
    #[cfg(feature = "break-numbers")]
    last: i64,
}

/// A connection, and whether it holds the lock.
struct Lead {
    connection: PgConnection,
    leads: bool,
}

impl Relay<'_> {
    /// A turn, measured.
    async fn turn(&mut self) -> Result<Turned, RelayError> {
        let began = Instant::now();
        let turned = self.connected_turn().await;
        match &turned {
            Ok(turned) => self.metrics.turned(*turned, began.elapsed()),
            Err(error) => {
                let by_store = matches!(error, RelayError::Store(_));
                self.metrics.failed(by_store, began.elapsed());
            }
        }
        turned
    }

    /// Publishes the oldest messages, unless another relay leads.
    async fn connected_turn(&mut self) -> Result<Turned, RelayError> {
        // Put back unless Postgres failed: then the lead may be lost with it.
        let mut lead = match self.lead.take() {
            Some(lead) => lead,
            None => Lead {
                connection: recording_connection(self.database_url, "relay", timeouts(self.settings)).await?,
                leads: false,
            },
        };
        let turned = self.turn_with(&mut lead).await;
        if !matches!(turned, Err(RelayError::Store(_))) {
            self.lead = Some(lead);
        }
        turned
    }

    async fn turn_with(&mut self, lead: &mut Lead) -> Result<Turned, RelayError> {
        let connection = &mut lead.connection;
        if !lead.leads {
            if !outbox::lead(connection).await? {
                return Ok(Turned::StandingBy);
            }
            lead.leads = true;
            // Only a client that begins from now on has fenced off whoever led before.
            self.turns.reset();
        }
        let (messages, bytes) = (self.settings.batch_messages, self.settings.batch_bytes);
        let mut waiting = outbox::take(connection, messages.into(), bytes.into()).await?;
        if waiting.is_empty() {
            return Ok(Turned::Idle);
        }
        #[cfg(feature = "break-numbers")]
        {
            waiting.retain(|one| one.outbox_id > self.last);
            self.last = waiting.last().map_or(self.last, |one| one.outbox_id);
            if waiting.is_empty() {
                return Ok(Turned::Idle);
            }
        }
        #[cfg(feature = "break-outbox")]
        outbox::delete(
            connection,
            &waiting.iter().map(|one| one.outbox_id).collect::<Vec<_>>(),
        )
        .await?;
        let sends = Sends::begin(&mut waiting);
        let turn = self.turns.begin().await.map_err(RelayError::Turn)?;
        outbox::still_leads(connection).await?;
        let time = message_timeout(self.settings);
        let published = match publish(&turn, &waiting, &self.refused, time).await? {
            Published::Acknowledged(published) => published,
            Published::Refused(refused) => {
                // A transaction in which a record was refused can only be withdrawn.
                self.refused.extend(refused);
                self.turns.reset();
                return Ok(Turned::Refused);
            }
        };
        outbox::still_leads(connection).await?;
        turn.commit().await.map_err(RelayError::Turn)?;
        sends.end(&published);
        outbox::delete(connection, &published).await?;
        self.refused.retain(|refused| !published.contains(refused));
        self.count(&waiting, &published);
        Ok(Turned::Published)
    }
}

impl Relay<'_> {
    /// Counts what was published, by topic.
    fn count(&self, waiting: &[Waiting], published: &[i64]) {
        let published: HashSet<i64> = published.iter().copied().collect();
        let mut counts: HashMap<&str, u64> = HashMap::new();
        for one in waiting.iter().filter(|one| published.contains(&one.outbox_id)) {
            *counts.entry(one.message.topic.as_str()).or_insert(0) += 1;
        }
        for (topic, count) in counts {
            self.metrics.published(topic, count);
        }
    }
}

fn message_timeout(settings: &RelaySettings) -> Duration {
    Duration::from_millis(settings.message_timeout_milliseconds)
}

/// Postgres ends the connection of a relay that stands still, and never that of one which waits for Kafka: for a turn's
/// beginning, for its rounds with the last one, or for its end.
fn timeouts(settings: &RelaySettings) -> Timeouts {
    let (poll, acknowledged) = (
        Duration::from_millis(settings.poll_milliseconds),
        message_timeout(settings),
    );
    let longest = poll.max(acknowledged * 2).max(Turns::patience(acknowledged));
    Timeouts {
        idle: longest + Duration::from_secs(5),
        ..Timeouts::default()
    }
}

/// What came of the messages of a turn.
enum Published {
    /// These are acknowledged.
    Acknowledged(Vec<i64>),
    /// Kafka refused these.
    Refused(Vec<i64>),
}

/// Publishes in rounds, each of which has at most one message of a key: whatever fails, no message overtakes one of its
/// own key. Messages without a key have no order. After `time` no further round begins; the next turn goes on.
async fn publish(
    turn: &Turn<'_>,
    waiting: &[Waiting],
    shorter: &HashSet<i64>,
    time: Duration,
) -> Result<Published, RelayError> {
    let began = Instant::now();
    let mut published = Vec::with_capacity(waiting.len());
    for round in rounds(waiting) {
        if !published.is_empty() && began.elapsed() >= time {
            break;
        }
        let refused = publish_round(turn, &round, shorter).await?;
        if !refused.is_empty() {
            return Ok(Published::Refused(refused));
        }
        published.extend(round.iter().map(|one| one.outbox_id));
    }
    Ok(Published::Acknowledged(published))
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

/// Publishes messages and waits for every acknowledgement, also after one failed. Answers the quarantined records that
/// Kafka refuses: they go without their values, since the table has these and nothing may wait behind them.
async fn publish_round(
    turn: &Turn<'_>,
    round: &[&Waiting],
    shorter: &HashSet<i64>,
) -> Result<Vec<i64>, RelayError> {
    let mut in_flight = Vec::with_capacity(round.len());
    for one in round {
        let shorter = shorter
            .contains(&one.outbox_id)
            .then(|| shortened(&one.message))
            .flatten();
        let handed_over = hand_over(turn, shorter.as_ref().unwrap_or(&one.message)).await;
        in_flight.push((*one, shorter.is_some(), handed_over));
    }
    let (mut failure, mut refused) = (None, Vec::new());
    for (one, is_short, handed_over) in in_flight {
        let delivered = match handed_over {
            Ok(delivery) => delivery.await,
            Err(error) => Err(error),
        };
        match delivered {
            Ok(_) => {}
            Err(error) if error.class() == Refused && !is_short && is_quarantined(&one.message) => {
                tracing::warn!(outbox_id = one.outbox_id, %error, "a quarantined record goes without its value");
                refused.push(one.outbox_id);
            }
            // The others in a transaction may fail because of one, and that one has to be told.
            Err(error) => match &failure {
                Some(before) if RelayError::stops(before) || error.class() == TryAgain => {}
                _ => failure = Some(about(one, error)),
            },
        }
    }
    match failure {
        // What failed beside a record that was refused failed because of it.
        Some(error) if refused.is_empty() => Err(error),
        _ => Ok(refused),
    }
}

fn is_quarantined(message: &Message) -> bool {
    message.headers.iter().any(|(name, _)| name == REASON_HEADER)
}

/// A quarantined record without its value and its own headers; none of what is not quarantined.
fn shortened(message: &Message) -> Option<Message> {
    const LONGEST_KEY: usize = 1_000;
    if !is_quarantined(message) {
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

async fn hand_over(turn: &Turn<'_>, message: &Message) -> Result<Delivery, PublishError> {
    turn.hand_over(Outgoing {
        topic: &message.topic,
        key: message.key.as_deref(),
        value: message.value.as_deref(),
        headers: &message.headers,
    })
    .await
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
