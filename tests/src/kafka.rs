//! Kafka, as a foreign producer or consumer sees it: any bytes into any partition, and topics read to their end.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::wait::until;

const PATIENCE: Duration = Duration::from_secs(30);

/// A record to be produced as it is, whatever is wrong with it.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    /// The topic.
    pub topic: String,
    /// The partition; none lets librdkafka choose.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers in their order.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// A record as it stands in a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Read {
    /// The partition.
    pub partition: i32,
    /// The offset in it.
    pub offset: i64,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
    /// Headers in their order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Read {
    /// The text of the first header of a name.
    pub fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(found, _)| found == name)?;
        value
            .as_deref()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

/// A client of Kafka. Clones share it.
#[derive(Clone)]
pub struct Kafka {
    config: ClientConfig,
    clients: Arc<RwLock<Clients>>,
}

#[derive(Clone)]
struct Clients {
    producer: FutureProducer,
    asking: Arc<BaseConsumer>,
    /// Sees a log end where the first open transaction begins.
    asking_committed: Arc<BaseConsumer>,
}

impl Clients {
    fn new(config: &ClientConfig) -> Self {
        let producer = config
            .clone()
            .set("linger.ms", "1")
            .set("enable.idempotence", "true")
            .set("message.max.bytes", "8000000")
            .create()
            .expect("a Kafka producer");
        let asking = |isolation| {
            let consumer = config
                .clone()
                .set("group.id", "redline-tests")
                .set("isolation.level", isolation)
                .create();
            Arc::new(consumer.expect("a Kafka consumer"))
        };
        Self {
            producer,
            asking: asking("read_uncommitted"),
            asking_committed: asking("read_committed"),
        }
    }
}

impl Kafka {
    /// A client; it connects when it is first used.
    pub fn new(bootstrap_servers: &str) -> Self {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap_servers)
            .set("allow.auto.create.topics", "false");
        Self {
            clients: Arc::new(RwLock::new(Clients::new(&config))),
            config,
        }
    }

    /// Goes on with new clients: Kafka was away, and librdkafka may have lost its brokers for good, or wait for time-outs that are
    /// no part of a test.
    pub fn renew(&self) {
        *self.clients.write().unwrap_or_else(PoisonError::into_inner) = Clients::new(&self.config);
    }

    fn clients(&self) -> Clients {
        self.clients
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Settings of a client, for those that this one cannot do.
    pub fn config(&self) -> ClientConfig {
        self.config.clone()
    }

    /// Produces a record; answers partition and offset.
    pub async fn produce(&self, raw: Raw) -> (i32, i64) {
        self.produce_all(vec![raw]).await.remove(0)
    }

    /// Produces a record with one header whose name is these bytes, which need not be UTF-8.
    #[expect(
        unsafe_code,
        reason = "rdkafka takes names as text only, and copies their bytes as they are"
    )]
    pub async fn produce_with_header_name(&self, topic: &str, partition: i32, value: &[u8], name: &[u8]) {
        // SAFETY: the text is only copied into a C string, which reads nothing but its bytes.
        let key = unsafe { std::str::from_utf8_unchecked(name) };
        let header = Header {
            key,
            value: Some("1"),
        };
        let record = FutureRecord::<[u8], [u8]>::to(topic)
            .partition(partition)
            .key(b"some/key")
            .payload(value)
            .headers(OwnedHeaders::new().insert(header));
        let produced = self
            .clients()
            .producer
            .send(record, Timeout::After(PATIENCE))
            .await;
        produced.expect("Kafka takes the record");
    }

    /// Produces records in this order; answers partition and offset of each.
    pub async fn produce_all(&self, records: Vec<Raw>) -> Vec<(i32, i64)> {
        let producer = self.clients().producer;
        let sending = records.iter().map(|raw| {
            let mut record = FutureRecord::<[u8], [u8]>::to(&raw.topic);
            record.partition = raw.partition;
            record.key = raw.key.as_deref();
            record.payload = raw.value.as_deref();
            let headers = raw
                .headers
                .iter()
                .fold(OwnedHeaders::new(), |headers, (key, value)| {
                    headers.insert(Header {
                        key,
                        value: Some(value),
                    })
                });
            record.headers = Some(headers);
            producer
                .send_result(record)
                .unwrap_or_else(|(error, _)| panic!("{} is not produced to: {error}", raw.topic))
        });
        // All are enqueued before the first is waited for.
        let sending: Vec<_> = sending.collect();
        let mut places = Vec::with_capacity(sending.len());
        for delivery in sending {
            let delivered = delivery.await.expect("the producer lives");
            let delivered = delivered.unwrap_or_else(|(error, _)| panic!("Kafka refuses a record: {error}"));
            places.push((delivered.partition, delivered.offset));
        }
        places
    }

    /// First offset and offset behind the last record, by partition. A topic that was just made may have no leaders yet.
    pub async fn log_ends(&self, topic: &str) -> BTreeMap<i32, (i64, i64)> {
        log_ends(&self.clients().asking, topic).await
    }

    /// Every record of a topic, from its log start to the end that it had when reading began, by partition and
    /// offset. Transactions are over by then, and those that were broken off are left out.
    pub async fn read(&self, topic: &str) -> Vec<Read> {
        let ends = self.log_ends(topic).await;
        // Kafka ends a transaction some time after it has said so.
        until("the transactions are over", PATIENCE, async || {
            let committed = log_ends(&self.clients().asking_committed, topic).await;
            let is_open = |(partition, (_, end)): (&i32, &(i64, i64))| {
                committed
                    .get(partition)
                    .is_none_or(|(_, committed)| committed < end)
            };
            match ends.iter().any(is_open) {
                true => Err(format!(
                    "{topic} ends at {ends:?}, without open ones at {committed:?}"
                )),
                false => Ok(()),
            }
        })
        .await;
        self.read_to(topic, ends, "read_committed").await
    }

    /// As [`Self::read`], as a consumer sees it that reads what transactions broken off have left too.
    pub async fn read_uncommitted(&self, topic: &str) -> Vec<Read> {
        let ends = self.log_ends(topic).await;
        self.read_to(topic, ends, "read_uncommitted").await
    }

    async fn read_to(
        &self,
        topic: &str,
        ends: BTreeMap<i32, (i64, i64)>,
        isolation: &'static str,
    ) -> Vec<Read> {
        let mut config = self.config.clone();
        config.set("isolation.level", isolation);
        let topic = topic.to_owned();
        blocking(move || read_to(config, &topic, &ends)).await
    }

    /// Makes topics with so many partitions and these settings.
    pub async fn create_topic(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        for (name, value) in settings {
            new = new.set(name, value);
        }
        let made = self.admin().create_topics(&[new], &admin_options()).await;
        for result in made.expect("Kafka answers") {
            result.unwrap_or_else(|(topic, code)| panic!("{topic} is not made: {code}"));
        }
    }

    /// Deletes topics; those that do not exist are no matter.
    pub async fn delete_topics(&self, topics: &[&str]) {
        let _ = self.admin().delete_topics(topics, &admin_options()).await;
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config.create().expect("a Kafka client")
    }
}

fn admin_options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(PATIENCE))
        .operation_timeout(Some(PATIENCE))
}

async fn log_ends(asking: &Arc<BaseConsumer>, topic: &str) -> BTreeMap<i32, (i64, i64)> {
    // A partition that was just made has no leader for a moment, and its broker says so.
    until("Kafka knows the ends of a topic", PATIENCE, async || {
        let (asking, topic) = (Arc::clone(asking), topic.to_owned());
        let ends = blocking(move || -> KafkaResult<_> {
            let metadata = asking.fetch_metadata(Some(&topic), PATIENCE)?;
            let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
            partitions
                .map(|partition| {
                    let ends = asking.fetch_watermarks(&topic, partition.id(), PATIENCE)?;
                    Ok((partition.id(), ends))
                })
                .collect()
        });
        ends.await.map_err(|error| error.to_string())
    })
    .await
}

fn read_to(mut config: ClientConfig, topic: &str, ends: &BTreeMap<i32, (i64, i64)>) -> Vec<Read> {
    let consumer: BaseConsumer = config
        .set("group.id", "redline-tests")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "10")
        .create()
        .expect("a Kafka consumer");
    let mut assignment = TopicPartitionList::new();
    let mut open: BTreeMap<i32, i64> = BTreeMap::new();
    for (partition, (start, end)) in ends {
        if start < end {
            assignment
                .add_partition_offset(topic, *partition, Offset::Offset(*start))
                .expect("an offset of a log");
            open.insert(*partition, *end);
        }
    }
    let mut found = Vec::new();
    if open.is_empty() {
        return found;
    }
    consumer.assign(&assignment).expect("partitions can be assigned");
    let began = Instant::now();
    while !open.is_empty() {
        assert!(
            began.elapsed() < PATIENCE * 4,
            "{topic} cannot be read to its end; {open:?} are missing"
        );
        match consumer.poll(Timeout::After(Duration::from_millis(100))) {
            Some(Ok(message)) => {
                let (partition, offset) = (message.partition(), message.offset());
                let end = ends.get(&partition).map_or(0, |(_, end)| *end);
                if offset >= end {
                    open.remove(&partition);
                    continue;
                }
                if offset + 1 == end {
                    open.remove(&partition);
                }
                found.push(Read {
                    partition,
                    offset,
                    key: message.key().map(<[u8]>::to_vec),
                    value: message.payload().map(<[u8]>::to_vec),
                    headers: message.headers().map_or_else(Vec::new, |headers| {
                        headers
                            .iter()
                            .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                            .collect()
                    }),
                });
            }
            // The last offsets of a log may hold no record, but a transaction's marker.
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
            Some(Err(error)) => panic!("{topic} cannot be read: {error}"),
            None => {}
        }
    }
    found.sort_by_key(|read| (read.partition, read.offset));
    found
}

/// librdkafka waits in its calls; meanwhile a test's own tasks, such as a proxy, must go on.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
