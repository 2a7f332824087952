//! Publishing in turns, each of which is a transaction of Kafka: who takes over fences off whoever was before.
//!
//! All clients that publish under one transactional id are one after the other in Kafka's eyes: as soon as a new one
//! has begun, nothing of an older one is written any more, whether that one hangs, is gone, or has its records
//! in a connection that nobody has read yet. So a client may be replaced whenever it is in doubt, and every record
//! of the new one stands behind all of the old one.

use std::sync::Arc;
use std::time::Duration;

use crate::client::Client;
use crate::kafka::KafkaSettings;
use crate::publisher::{Counts, Delivery, Outgoing, Publish, PublishError, enqueue_when_free};

/// How long Kafka keeps a transaction open whose client is gone for good, at least and at most: brokers refuse more by
/// default. A successor ends it at once.
const TRANSACTION: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(900));

/// Publishes in turns under a transactional id.
pub struct Turns {
    settings: KafkaSettings,
    message_timeout: Duration,
    transactional_id: String,
    counts: Counts,
    /// One that has fenced off all before it; none until a turn begins.
    client: Option<Arc<Client>>,
}

impl Turns {
    /// Nothing is fenced off before the first turn. `message_timeout` is how long a record may take to be
    /// acknowledged.
    pub fn new(settings: KafkaSettings, message_timeout: Duration, transactional_id: String) -> Self {
        Self {
            settings,
            message_timeout,
            transactional_id,
            counts: Counts::default(),
            client: None,
        }
    }

    /// Begins a turn; after [`Turns::reset`] with a new client, which fences off all before it.
    ///
    /// # Errors
    /// See [`PublishError`]; reset then.
    pub async fn begin(&mut self) -> Result<Turn<'_>, PublishError> {
        let client = match &self.client {
            Some(client) => Arc::clone(client),
            None => {
                let client = Arc::new(self.new_client()?);
                client.fence(Self::patience(self.message_timeout)).await?;
                Arc::clone(self.client.insert(client))
            }
        };
        client.begin()?;
        Ok(Turn { turns: self, client })
    }

    /// Gives up the client and with it the turn, if one is open: what it published is withdrawn or repeated.
    pub fn reset(&mut self) {
        self.client = None;
    }

    fn new_client(&self) -> Result<Client, PublishError> {
        // Two of them for a turn's records, and as much again for its end.
        let transaction_timeout = (self.message_timeout * 4).clamp(TRANSACTION.0, TRANSACTION.1);
        Client::new(
            &self.settings,
            self.message_timeout,
            &[
                ("transactional.id", self.transactional_id.clone()),
                (
                    "transaction.timeout.ms",
                    transaction_timeout.as_millis().to_string(),
                ),
            ],
        )
    }

    /// How long beginning a turn, and ending it, may take: Kafka itself needs a while to end the transaction of a
    /// client that is gone.
    pub fn patience(message_timeout: Duration) -> Duration {
        message_timeout.max(Duration::from_secs(10))
    }
}

/// A turn that is open.
pub struct Turn<'t> {
    turns: &'t Turns,
    client: Arc<Client>,
}

impl Turn<'_> {
    /// Ends the turn: readers of committed records see all of it now.
    ///
    /// # Errors
    /// Nobody knows whether it was ended; reset, and publish the same again.
    pub async fn commit(self) -> Result<(), PublishError> {
        let patience = Turns::patience(self.turns.message_timeout);
        self.client.commit(patience).await
    }

    /// Hands a record over; waits while the queue is full.
    ///
    /// # Errors
    /// Everything but [`PublishError::QueueFull`].
    pub async fn hand_over(&self, record: Outgoing<'_>) -> Result<Delivery, PublishError> {
        let partitions = self.partitions(record.topic).await?;
        enqueue_when_free(self, record, partitions).await
    }
}

impl Publish for Turn<'_> {
    fn partitions(&self, topic: &str) -> impl Future<Output = Result<i32, PublishError>> + Send {
        self.turns.counts.of(topic, &self.client)
    }

    fn enqueue(&self, record: Outgoing<'_>, partitions: i32) -> Result<Delivery, PublishError> {
        self.client.enqueue(record, partitions)
    }
}
