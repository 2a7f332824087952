//! One librdkafka client that publishes, and what its errors mean.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::{ClientContext, Message as _};
use redline_schemas::topics::partition_of;
use tokio::sync::oneshot;

use crate::kafka::{Callbacks, Called, KafkaSettings, Served, partition_count};
use crate::publisher::{Delivered, Delivery, Outgoing, PublishError};

/// Properties that the `client` settings may change.
const DEFAULTS: [(&str, &str); 5] = [
    ("compression.type", "lz4"),
    ("linger.ms", "5"),
    ("queue.buffering.max.messages", "100000"),
    ("queue.buffering.max.kbytes", "65536"),
    // librdkafka's own default, named here because refusals name it.
    ("message.max.bytes", "1000000"),
];

/// An idempotent producer with its queue and its threads.
pub(crate) struct Client {
    client: Served<Reports>,
    message_max_bytes: String,
}

impl Client {
    /// A client; it connects by itself and does not fail when Kafka is away. `own` properties win over all others.
    pub(crate) fn new(
        settings: &KafkaSettings,
        message_timeout: Duration,
        own: &[(&str, String)],
    ) -> Result<Self, PublishError> {
        let mut config = settings.client_config();
        for (name, value) in DEFAULTS {
            if config.get(name).is_none() {
                config.set(name, value);
            }
        }
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set(
                "message.timeout.ms",
                message_timeout.as_millis().max(1).to_string(),
            )
            // Topics are made by `redline migrate`; one that Kafka makes on the way has the wrong settings.
            .set("allow.auto.create.topics", "false");
        for (name, value) in own {
            config.set(*name, value);
        }
        let message_max_bytes = config.get("message.max.bytes").unwrap_or_default().to_owned();
        let reports = Reports {
            callbacks: Callbacks::new(settings),
            silent_since: Mutex::default(),
        };
        let client = Served::new(&config, reports)
            .map_err(|error| PublishError::Stop(format!("kafka.client: {error}")))?;
        Ok(Self {
            client,
            message_max_bytes,
        })
    }

    fn producer(&self) -> &BaseProducer<Reports> {
        self.client.producer()
    }

    /// See [`crate::publisher::Publisher::enqueue`].
    pub(crate) fn enqueue(&self, record: Outgoing<'_>, partitions: i32) -> Result<Delivery, PublishError> {
        let (sender, delivery) = Delivery::pair();
        let mut outgoing = BaseRecord::with_opaque_to(record.topic, Box::new(sender))
            .partition(partition_of(record.key.unwrap_or_default(), partitions));
        outgoing.key = record.key;
        outgoing.payload = record.value;
        outgoing.headers = headers(record.headers);
        match self.producer().send::<[u8], [u8]>(outgoing) {
            Ok(()) => Ok(delivery),
            Err((error, _)) => Err(sort(&error, &self.message_max_bytes)),
        }
    }

    /// Asks Kafka for a topic's number of partitions. A topic that was made a moment ago is not known to every broker at once,
    /// so that one which is not there is asked for again within the time.
    pub(crate) async fn ask_partitions(
        self: &Arc<Self>,
        topic: &str,
        timeout: Duration,
    ) -> Result<i32, PublishError> {
        const PAUSE: Duration = Duration::from_millis(200);
        let topic = topic.to_owned();
        self.blocking(move |producer| {
            let began = Instant::now();
            loop {
                match partition_count(producer.client(), &topic, timeout) {
                    Ok(0) if began.elapsed() < timeout => std::thread::sleep(PAUSE),
                    Ok(0) => return Err(PublishError::UnknownTopic(topic)),
                    Ok(partitions) => return Ok(partitions),
                    Err(error) => {
                        producer.context().note_silence();
                        return Err(sort(&error, ""));
                    }
                }
            }
        })
        .await
    }

    /// See [`crate::publisher::Publisher::flush`].
    pub(crate) fn flush(&self, timeout: Duration) -> Result<(), PublishError> {
        self.producer()
            .flush(timeout)
            .map_err(|error| PublishError::Away(error.to_string()))
    }

    /// See [`crate::publisher::Publisher::fatal_error`].
    pub(crate) fn fatal_error(&self) -> Option<String> {
        let (_, reason) = self.producer().client().fatal_error()?;
        Some(reason)
    }

    /// For how long Kafka has not answered this client, although it was asked.
    pub(crate) fn silent_for(&self) -> Duration {
        let since = self.producer().context().silent_since();
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// As if Kafka had not answered since then.
    #[cfg(test)]
    pub(crate) fn silent_since(&self, since: Instant) {
        let context = self.producer().context();
        *context.silent_since.lock().unwrap() = Some(since);
    }

    /// Fences off every client that had this one's `transactional.id` before: nothing of theirs that Kafka has not
    /// yet written will ever be written.
    pub(crate) async fn fence(self: &Arc<Self>, timeout: Duration) -> Result<(), PublishError> {
        self.blocking(move |producer| {
            producer
                .init_transactions(timeout)
                .map_err(|error| sort(&error, ""))
        })
        .await
    }

    pub(crate) fn begin(&self) -> Result<(), PublishError> {
        self.producer()
            .begin_transaction()
            .map_err(|error| sort(&error, ""))
    }

    pub(crate) async fn commit(self: &Arc<Self>, timeout: Duration) -> Result<(), PublishError> {
        self.blocking(move |producer| {
            producer
                .commit_transaction(timeout)
                .map_err(|error| sort(&error, ""))
        })
        .await
    }

    /// librdkafka blocks its caller while it waits for the broker.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        ask: impl FnOnce(&BaseProducer<Reports>) -> Result<T, PublishError> + Send + 'static,
    ) -> Result<T, PublishError> {
        let client = Arc::clone(self);
        tokio::task::spawn_blocking(move || ask(client.producer()))
            .await
            .unwrap_or_else(|error| Err(PublishError::Away(error.to_string())))
    }
}

fn headers(headers: &[(String, Option<Vec<u8>>)]) -> Option<OwnedHeaders> {
    if headers.is_empty() {
        return None;
    }
    let owned = OwnedHeaders::new_with_capacity(headers.len());
    Some(headers.iter().fold(owned, |owned, (key, value)| {
        owned.insert(Header {
            key,
            value: value.as_ref(),
        })
    }))
}

/// Sorts an error of the client by what to do about it.
fn sort(error: &KafkaError, message_max_bytes: &str) -> PublishError {
    use RDKafkaErrorCode as Code;
    let reason = error.to_string();
    match error.rdkafka_error_code() {
        Some(Code::QueueFull) => PublishError::QueueFull,
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => PublishError::TooLarge {
            limit: message_max_bytes.to_owned(),
        },
        Some(Code::InvalidRecord | Code::PolicyViolation | Code::UnsupportedForMessageFormat) => {
            PublishError::Refused(reason)
        }
        Some(Code::Fatal | Code::Fenced | Code::InvalidProducerEpoch | Code::ProducerFenced) => {
            PublishError::Worn(reason)
        }
        // Who began with a login that is refused has ended at its start. What is refused later was changed on the other
        // side, and may be changed back, or be in a directory that is away: it is waited for.
        Some(Code::Authentication | Code::SaslAuthenticationFailed) => PublishError::Away(reason),
        Some(
            Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::InvalidTransactionTimeout
            | Code::UnsupportedFeature
            | Code::InvalidTopic
            | Code::InvalidArgument,
        ) => PublishError::Stop(reason),
        _ => PublishError::Away(reason),
    }
}

/// Takes librdkafka's reports to those who wait for them.
struct Reports {
    callbacks: Callbacks,
    /// The first time-out since the last acknowledgement.
    silent_since: Mutex<Option<Instant>>,
}

impl Reports {
    fn silent_since(&self) -> Option<Instant> {
        *self.silent_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_silence(&self) {
        self.silent_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(Instant::now);
    }

    fn note_answer(&self) {
        *self.silent_since.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Called for Reports {
    fn callbacks(&self) -> &Callbacks {
        &self.callbacks
    }
}

impl ClientContext for Reports {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.callbacks.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.callbacks.error(&error, reason);
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.callbacks.token()
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<oneshot::Sender<Delivered>>;

    fn delivery(&self, report: &DeliveryResult<'_>, sender: Self::DeliveryOpaque) {
        match report {
            Err((error, _)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageTimedOut) => {
                self.note_silence();
            }
            _ => self.note_answer(),
        }
        let answer = match report {
            Ok(message) => Ok((message.partition(), message.offset())),
            // The client's own limit was kept before.
            Err((error, _)) => Err(match sort(error, "") {
                PublishError::TooLarge { .. } => PublishError::TooLargeForTopic,
                error => error,
            }),
        };
        // Nobody waits any more: a request that was broken off.
        let _ = sender.send(answer);
    }
}
