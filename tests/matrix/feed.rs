//! Sends the known stream while it is being recorded, and never gives up: what was not acknowledged is sent again.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use redline_schemas::EventKind;
use redline_tests::pace::{Pace, recorded};
use redline_tests::{Door, Installation, Raw};
use serde_json::Value;
use sqlx::PgPool;
use tokio::task::JoinHandle;

use crate::stream::Sent;

/// Messages that wait to be recorded, at least, as long as the stream goes on.
const BACKLOG: usize = 200;
/// Messages sent at once.
const PART: usize = 40;
/// Messages that nobody sends before the end.
const LAST: usize = 150;
/// Pause before something is sent again.
const PAUSE: Duration = Duration::from_millis(50);
/// One message in so many is followed by one that cannot be read, where that is the fault.
const POISON: usize = 100;

/// Where the door is now.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    address: String,
    key: String,
}

impl Place {
    pub(crate) fn of(door: &Door) -> Self {
        Self {
            address: door.address().to_owned(),
            key: door.key().to_owned(),
        }
    }
}

/// Who sends.
pub(crate) enum Manner {
    /// The door, over HTTP; facts come from a producer.
    Door(Arc<Mutex<Place>>),
    /// A producer that may write a message several times, and messages in another order.
    Careless(FutureProducer),
}

/// Sends, a little ahead of what is recorded; it keeps the last messages back until [`Feed::end`] and repeats earlier ones
/// meanwhile, so that whenever a fault happens, messages are on their way.
pub(crate) struct Feed {
    sending: Arc<tokio::sync::Mutex<Sending>>,
    /// New messages may be sent up to here.
    limit: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

struct Sending {
    manner: Manner,
    client: reqwest::Client,
    /// A producer of facts that writes each once.
    careful: FutureProducer,
    messages: Vec<Sent>,
    raws: Vec<Raw>,
    /// What cannot be read goes here, where it is sent at all.
    poisoning: Option<(redline_tests::Kafka, String)>,
    poisons: Vec<Vec<u8>>,
    pace: Pace,
    sent: usize,
}

impl Sending {
    async fn send(&mut self, range: Range<usize>) {
        match &self.manner {
            Manner::Door(place) => {
                let is_fact = |number: &usize| self.messages[*number].event.kind() == EventKind::Fact;
                let (facts, rows): (Vec<usize>, Vec<usize>) = range.clone().partition(is_fact);
                for number in facts {
                    produce(&self.careful, &self.raws[number]).await;
                }
                let lines: Vec<&str> = rows.iter().map(|row| self.messages[*row].line.as_str()).collect();
                if !lines.is_empty() {
                    post(&self.client, place, &lines).await;
                }
            }
            Manner::Careless(producer) => {
                for raw in self.raws.get(range.clone()).unwrap_or_default() {
                    produce(producer, raw).await;
                }
            }
        }
        if let Some((kafka, topic)) = &self.poisoning
            && range.clone().any(|number| number % POISON == 0)
        {
            let value = format!("poison {}", self.poisons.len()).into_bytes();
            kafka
                .produce(Raw {
                    topic: topic.clone(),
                    key: Some(b"poison".to_vec()),
                    value: Some(value.clone()),
                    ..Raw::default()
                })
                .await;
            self.poisons.push(value);
        }
        self.sent += range.len();
    }

    async fn send_part(&mut self, limit: usize) {
        let part = self.pace.next(limit, self.messages.len());
        self.send(part).await;
    }
}

/// Posts lines until every one of them is acknowledged.
async fn post(client: &reqwest::Client, place: &Mutex<Place>, lines: &[&str]) {
    const PATIENCE: Duration = Duration::from_secs(15);
    loop {
        let now = place.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = client
            .post(format!("{}/v1/rows", now.address))
            .bearer_auth(&now.key)
            .header("content-type", "application/x-ndjson")
            .body(lines.join("\n"))
            .timeout(PATIENCE)
            .send()
            .await;
        if let Ok(answer) = answer {
            let status = answer.status();
            let body: Value = answer.json().await.unwrap_or_default();
            if status.as_u16() == 202 && body["accepted"].as_u64() == u64::try_from(lines.len()).ok() {
                return;
            }
            assert!(
                !status.is_client_error() || status.as_u16() == 429,
                "the door refuses the known stream: {status} {body}"
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A producer with idempotence.
fn careful(redline: &Installation) -> FutureProducer {
    let mut config = redline.kafka.config();
    config
        .set("enable.idempotence", "true")
        .set("linger.ms", "1")
        .set("message.timeout.ms", "20000");
    config.create().expect("a producer")
}

/// Produces a record until it is acknowledged.
async fn produce(producer: &FutureProducer, raw: &Raw) {
    loop {
        let mut record = FutureRecord::<[u8], [u8]>::to(&raw.topic);
        record.partition = raw.partition;
        record.key = raw.key.as_deref();
        record.payload = raw.value.as_deref();
        if producer
            .send(record, Timeout::After(Duration::from_secs(10)))
            .await
            .is_ok()
        {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

impl Feed {
    /// Begins to send.
    pub(crate) async fn of(
        redline: &Installation,
        messages: &[Sent],
        manner: Manner,
        is_poisoned: bool,
    ) -> Self {
        let (rows, facts) = (
            redline.schema_id(EventKind::Row).await,
            redline.schema_id(EventKind::Fact).await,
        );
        let raws = messages.iter().map(|sent| {
            let schema_id = match sent.event.kind() {
                EventKind::Fact => facts,
                _ => rows,
            };
            redline.raw(&sent.event, schema_id)
        });
        let sending = Sending {
            manner,
            client: redline_tests::http_client(),
            careful: careful(redline),
            messages: messages.to_vec(),
            raws: raws.collect(),
            poisoning: is_poisoned.then(|| (redline.kafka.clone(), redline.topics.rows.clone())),
            poisons: Vec::new(),
            pace: Pace::new(PART, LAST),
            sent: 0,
        };
        let (sending, limit) = (
            Arc::new(tokio::sync::Mutex::new(sending)),
            Arc::new(AtomicUsize::new(BACKLOG)),
        );
        let task = tokio::spawn(go_on(
            Arc::clone(&sending),
            Arc::clone(&limit),
            redline.pool.clone(),
        ));
        Self { sending, limit, task }
    }

    /// New messages are sent until some more than so many are recorded.
    pub(crate) fn reach(&self, recorded: usize) {
        assert!(!self.task.is_finished(), "the stream broke off");
        self.limit.fetch_max(recorded + BACKLOG, Ordering::Relaxed);
    }

    /// So many more new messages are sent, if there are as many.
    pub(crate) fn more(&self, messages: usize) {
        assert!(!self.task.is_finished(), "the stream broke off");
        self.limit.fetch_add(messages, Ordering::Relaxed);
    }

    /// Sends what was not sent yet, to the last message; answers what cannot be read, if any was sent.
    pub(crate) async fn end(self) -> Vec<Vec<u8>> {
        let mut sending = self.sending.lock().await;
        assert!(!self.task.is_finished(), "the stream broke off");
        self.task.abort();
        let rest = sending.pace.rest(sending.messages.len());
        for begin in rest.clone().step_by(PART) {
            sending.send(begin..rest.end.min(begin + PART)).await;
        }
        std::mem::take(&mut sending.poisons)
    }
}

impl Drop for Feed {
    /// A run that fails must not go on sending.
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn go_on(sending: Arc<tokio::sync::Mutex<Sending>>, limit: Arc<AtomicUsize>, pool: PgPool) {
    const PAUSE: Duration = Duration::from_millis(10);
    loop {
        let recorded = recorded(&pool).await;
        let mut sending = sending.lock().await;
        if recorded.is_some_and(|recorded| sending.sent < recorded + BACKLOG) {
            sending.send_part(limit.load(Ordering::Relaxed)).await;
        } else {
            drop(sending);
            tokio::time::sleep(PAUSE).await;
        }
    }
}
