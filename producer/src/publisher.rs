//! Publishing to Kafka: idempotent, in bounded memory, with our own choice of partition.
//!
//! A record is in Kafka when its [`Delivery`] says so, and never before. A record that was refused or given up
//! may still be there, when only the acknowledgement was lost; whoever sends it again makes a duplicate, which
//! is harmless everywhere in Redline. Records that are enqueued in order into one partition arrive in order as
//! long as no delivery fails; what failed may still arrive much later. Whoever needs an order beyond failures publishes
//! in [turns](crate::turns).

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use redline_http::{Asked, Keep};
use tokio::sync::oneshot;

use crate::client::Client;
use crate::kafka::KafkaSettings;

/// How long a topic's number of partitions is believed, and a failure to learn it.
const PARTITIONS: Keep = Keep {
    answer: Duration::from_secs(60),
    failure: Duration::from_secs(1),
    old_before_failure: true,
};
/// How long Kafka may answer a client with nothing but silence before another one tries; longer where a record may
/// take longer.
const LONGEST_SILENCE: Duration = Duration::from_secs(20);
/// How long Kafka may take to answer about its topics.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before a full queue is tried again; librdkafka sends a batch within a few of these.
const QUEUE_PAUSE: Duration = Duration::from_millis(10);

/// What to do about an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// The same record may succeed later.
    TryAgain,
    /// This record will never succeed; others may.
    Refused,
    /// Nothing will succeed until somebody acts.
    Stop,
}

/// Why a record was not published.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PublishError {
    /// The queue in this process is full: wait for a delivery, then try again. Class: try again.
    #[error("the queue of records on their way to Kafka is full")]
    QueueFull,
    /// Kafka did not acknowledge in time, or cannot be reached. Class: try again.
    #[error("Kafka cannot be reached or did not acknowledge in time: {0}")]
    Away(String),
    /// Class: try again, since `redline migrate` may still create it.
    #[error("the topic {0} does not exist; run `redline migrate`")]
    UnknownTopic(String),
    /// Class: refused.
    #[error("the record is larger than Kafka takes: at most {limit} bytes (message.max.bytes)")]
    TooLarge {
        /// The client's limit in bytes.
        limit: String,
    },
    /// Class: refused.
    #[error("the record is larger than its topic takes; raise the topic's max.message.bytes")]
    TooLargeForTopic,
    /// Class: refused.
    #[error("Kafka refuses the record: {0}")]
    Refused(String),
    /// A state from which this client cannot go on; a new one can. Class: stop.
    #[error("this client can no longer publish to Kafka: {0}")]
    Worn(String),
    /// Not allowed, or wrongly set. Class: stop.
    #[error("Kafka can no longer be published to: {0}")]
    Stop(String),
}

impl PublishError {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::QueueFull | Self::Away(_) | Self::UnknownTopic(_) => Class::TryAgain,
            Self::TooLarge { .. } | Self::TooLargeForTopic | Self::Refused(_) => Class::Refused,
            Self::Worn(_) | Self::Stop(_) => Class::Stop,
        }
    }
}

/// A record to be published.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The key; a record without one goes where an empty key goes.
    pub key: Option<&'a [u8]>,
    /// The value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers in their order; a name may repeat.
    pub headers: &'a [(String, Option<Vec<u8>>)],
}

/// What a delivery answers: partition and offset.
pub(crate) type Delivered = Result<(i32, i64), PublishError>;

/// A record on its way: a future that answers the partition and offset at which Kafka keeps it.
#[must_use = "a record is in Kafka only when its delivery says so"]
#[derive(Debug)]
pub struct Delivery(oneshot::Receiver<Delivered>);

impl Delivery {
    /// A delivery and the end by which it is settled.
    pub(crate) fn pair() -> (oneshot::Sender<Delivered>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(receiver))
    }
}

impl Future for Delivery {
    type Output = Delivered;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| {
            answer.unwrap_or_else(|_| Err(PublishError::Away("the client was closed".to_owned())))
        })
    }
}

/// Where records can be published: Kafka in operation, a stand-in in tests.
pub trait Publish: Send + Sync {
    /// The number of partitions of a topic.
    fn partitions(&self, topic: &str) -> impl Future<Output = Result<i32, PublishError>> + Send;

    /// Hands a record over without waiting.
    ///
    /// # Errors
    /// See [`PublishError`]; [`PublishError::QueueFull`] asks to wait.
    fn enqueue(&self, record: Outgoing<'_>, partitions: i32) -> Result<Delivery, PublishError>;
}

/// Publishes, in no order across failures. Clones share the client, its queue and its threads.
///
/// A client whose records only time out is replaced: after a broker was away from its own cluster for a moment,
/// librdkafka can lose it for good. What the old client still had on its way is given up, and may yet arrive.
#[derive(Clone)]
pub struct Publisher {
    clients: Arc<Clients>,
    counts: Arc<Counts>,
}

struct Clients {
    settings: KafkaSettings,
    message_timeout: Duration,
    current: Mutex<Arc<Client>>,
}

impl Clients {
    /// The client, made anew when Kafka did not answer it for so long that another one should try.
    fn current(&self) -> Arc<Client> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.silent_for() >= LONGEST_SILENCE.max(self.message_timeout) {
            match Client::new(&self.settings, self.message_timeout, &[]) {
                Ok(client) => {
                    tracing::warn!("Kafka does not answer: trying with a new client");
                    *current = Arc::new(client);
                }
                Err(error) => tracing::warn!(%error, "no new client of Kafka can be made"),
            }
        }
        Arc::clone(&current)
    }
}

type PartitionCount = Asked<i32, PublishError>;

/// The numbers of partitions of topics, each asked for at most once a minute.
#[derive(Default)]
pub(crate) struct Counts(Mutex<HashMap<String, Arc<PartitionCount>>>);

impl Counts {
    pub(crate) async fn of(&self, topic: &str, client: &Arc<Client>) -> Result<i32, PublishError> {
        let count = {
            let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match counts.get(topic) {
                Some(count) => Arc::clone(count),
                None => Arc::clone(counts.entry(topic.to_owned()).or_default()),
            }
        };
        count
            .get(PARTITIONS, client.ask_partitions(topic, METADATA_TIMEOUT))
            .await
    }
}

impl Publisher {
    /// A publisher; it connects by itself and does not fail when Kafka is away.
    ///
    /// `message_timeout` is how long a record may take to be acknowledged, retries included; 30 s is usual.
    ///
    /// # Errors
    /// [`PublishError::Stop`] when a property is wrong.
    pub fn new(settings: &KafkaSettings, message_timeout: Duration) -> Result<Self, PublishError> {
        let client = Client::new(settings, message_timeout, &[])?;
        Ok(Self {
            clients: Arc::new(Clients {
                settings: settings.clone(),
                message_timeout,
                current: Mutex::new(Arc::new(client)),
            }),
            counts: Arc::default(),
        })
    }

    /// The number of partitions of a topic, asked for at most once a minute.
    ///
    /// # Errors
    /// When Kafka is away or does not know the topic.
    pub async fn partitions(&self, topic: &str) -> Result<i32, PublishError> {
        self.counts.of(topic, &self.clients.current()).await
    }

    /// Hands a record over without waiting, so that callers can keep an order.
    ///
    /// # Errors
    /// [`PublishError::QueueFull`]: wait for a delivery, then try again. The others are as their class says.
    pub fn enqueue(&self, record: Outgoing<'_>, partitions: i32) -> Result<Delivery, PublishError> {
        self.clients.current().enqueue(record, partitions)
    }

    /// As [`Publisher::enqueue`], but waits while the queue is full; it empties by itself within the message
    /// timeout, so this ends.
    ///
    /// # Errors
    /// Everything but [`PublishError::QueueFull`].
    pub async fn enqueue_when_free(
        &self,
        record: Outgoing<'_>,
        partitions: i32,
    ) -> Result<Delivery, PublishError> {
        enqueue_when_free(self, record, partitions).await
    }

    /// Waits until everything that was handed over is acknowledged or given up. Blocks its thread.
    ///
    /// # Errors
    /// [`PublishError::Away`] when records are left after the timeout.
    pub fn flush(&self, timeout: Duration) -> Result<(), PublishError> {
        self.clients.current().flush(timeout)
    }

    /// Whether Kafka answers within the time and has the topic.
    ///
    /// # Errors
    /// Why records cannot be published there now.
    pub async fn check(&self, topic: &str, timeout: Duration) -> Result<(), PublishError> {
        match self.fatal_error() {
            Some(reason) => Err(PublishError::Worn(reason)),
            None => self
                .clients
                .current()
                .ask_partitions(topic, timeout)
                .await
                .map(|_| ()),
        }
    }

    /// Why this client can never publish again, if so; a new one can.
    pub fn fatal_error(&self) -> Option<String> {
        self.clients.current().fatal_error()
    }
}

impl Publish for Publisher {
    fn partitions(&self, topic: &str) -> impl Future<Output = Result<i32, PublishError>> + Send {
        Self::partitions(self, topic)
    }

    fn enqueue(&self, record: Outgoing<'_>, partitions: i32) -> Result<Delivery, PublishError> {
        Self::enqueue(self, record, partitions)
    }
}

/// See [`Publisher::enqueue_when_free`].
pub(crate) async fn enqueue_when_free(
    publisher: &impl Publish,
    record: Outgoing<'_>,
    partitions: i32,
) -> Result<Delivery, PublishError> {
    loop {
        match publisher.enqueue(record, partitions) {
            Err(PublishError::QueueFull) => tokio::time::sleep(QUEUE_PAUSE).await,
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn publisher(client: &[(&str, &str)]) -> Result<Publisher, PublishError> {
        let settings = KafkaSettings {
            // Nobody listens on this port.
            bootstrap_servers: "127.0.0.1:9".to_owned(),
            client: client
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..KafkaSettings::default()
        };
        Publisher::new(&settings, Duration::from_millis(300))
    }

    fn record(value: &[u8]) -> Outgoing<'_> {
        Outgoing {
            topic: "redline.rows",
            key: Some(b"billing/R-1"),
            value: Some(value),
            headers: &[],
        }
    }

    #[tokio::test]
    async fn a_record_that_nobody_acknowledges_is_given_up_after_its_time() {
        let publisher = publisher(&[]).unwrap();
        let delivery = publisher.enqueue(record(b"x"), 4).unwrap();
        let error = delivery.await.unwrap_err();
        assert_eq!(error.class(), Class::TryAgain, "{error}");
    }

    #[tokio::test]
    async fn a_full_queue_asks_to_wait_and_frees_itself() {
        let publisher = publisher(&[("queue.buffering.max.messages", "1")]).unwrap();
        let first = publisher.enqueue(record(b"x"), 4).unwrap();
        assert_eq!(
            publisher.enqueue(record(b"y"), 4).unwrap_err(),
            PublishError::QueueFull
        );
        let second = publisher.enqueue_when_free(record(b"y"), 4).await.unwrap();
        assert!(first.await.is_err() && second.await.is_err());
    }

    #[tokio::test]
    async fn a_record_that_is_too_large_is_refused_with_the_limit() {
        let publisher = publisher(&[("message.max.bytes", "2000")]).unwrap();
        let error = publisher.enqueue(record(&[0; 3000]), 4).unwrap_err();
        assert_eq!(error.class(), Class::Refused);
        assert_eq!(
            error.to_string(),
            "the record is larger than Kafka takes: at most 2000 bytes (message.max.bytes)"
        );
    }

    #[tokio::test]
    async fn a_client_that_kafka_never_answers_is_replaced_and_what_it_had_is_given_up() {
        let publisher = publisher(&[]).unwrap();
        let first = publisher.clients.current();
        assert_eq!(first.silent_for(), Duration::ZERO, "nothing was asked yet");
        publisher.enqueue(record(b"x"), 4).unwrap().await.unwrap_err();
        assert!(first.silent_for() > Duration::ZERO);
        assert!(
            Arc::ptr_eq(&first, &publisher.clients.current()),
            "it may yet answer"
        );
        first.silent_since(Instant::now().checked_sub(LONGEST_SILENCE).unwrap());
        let left = first.enqueue(record(b"y"), 4).unwrap();
        let second = publisher.clients.current();
        assert!(!Arc::ptr_eq(&first, &second));
        assert_eq!(second.silent_for(), Duration::ZERO);
        drop(first);
        assert_eq!(left.await.unwrap_err().class(), Class::TryAgain);
    }

    #[tokio::test]
    async fn an_unknown_property_is_named() {
        let error = publisher(&[("no.such.property", "1")]).err().unwrap();
        assert_eq!(error.class(), Class::Stop);
        assert!(error.to_string().contains("no.such.property"), "{error}");
    }

    #[tokio::test]
    async fn kafka_that_is_away_is_a_reason_to_try_again() {
        let publisher = publisher(&[]).unwrap();
        let error = publisher
            .check("redline.rows", Duration::from_millis(200))
            .await
            .unwrap_err();
        assert_eq!(error.class(), Class::TryAgain, "{error}");
    }
}
