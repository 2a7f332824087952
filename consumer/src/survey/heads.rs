//! Since when the oldest record of a partition waits that is not recorded: Kafka is asked for that one record. It keeps its
//! timestamp, so that a partition which stands still is asked about once, and its age grows by itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::{Message as _, Offset, TopicPartitionList};
use redline_producer::kafka::{Asking, Callbacks, KafkaSettings, create};
use redline_schemas::Timestamp;

use super::lag::Behind;

/// How long Kafka may take for all of them.
const PATIENCE: Duration = Duration::from_secs(3);

type TopicPartition = (String, i32);

/// What was found where recording goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    from: i64,
    to: i64,
    /// When the record was made; none where there is nothing but marks of transactions.
    since: Option<Timestamp>,
}

/// The oldest records that are not recorded.
pub(super) struct Heads {
    consumer: Arc<BaseConsumer<Asking>>,
    known: HashMap<TopicPartition, Head>,
}

impl Heads {
    /// Reads in nobody's name: it neither joins the group nor commits anything.
    pub(super) fn new(kafka: &KafkaSettings, group: &str) -> Result<Self, KafkaError> {
        let mut config = kafka.client_config();
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("allow.auto.create.topics", "false")
            .set("enable.partition.eof", "true")
            // One record of each is wanted; a broker sends one batch at least.
            .set("max.partition.fetch.bytes", "1024")
            .set("queued.max.messages.kbytes", "1024")
            .set("fetch.wait.max.ms", "100");
        Ok(Self {
            consumer: Arc::new(create(&config, Asking(Callbacks::new(kafka)))?),
            known: HashMap::new(),
        })
    }

    /// Since when the oldest record waits, of each partition that is behind and where it could be told.
    pub(super) async fn look(&mut self, behind: &[Behind]) -> HashMap<TopicPartition, Timestamp> {
        let lagging: Vec<&Behind> = behind.iter().filter(|one| one.offsets() > 0).collect();
        self.known.retain(|(topic, partition), head| {
            lagging.iter().any(|one| {
                // Behind marks of transactions something may have come.
                let is_same = one.from == head.from && (head.since.is_some() || one.to == head.to);
                one.topic == *topic && one.partition == *partition && is_same
            })
        });
        let unknown: Vec<Behind> = lagging
            .into_iter()
            .filter(|one| !self.known.contains_key(&one.partition()))
            .cloned()
            .collect();
        if !unknown.is_empty() {
            let consumer = Arc::clone(&self.consumer);
            if let Ok(found) = tokio::task::spawn_blocking(move || find(&consumer, &unknown)).await {
                self.known.extend(found);
            }
        }
        let since = self.known.iter();
        since
            .filter_map(|(partition, head)| Some((partition.clone(), head.since?)))
            .collect()
    }
}

impl Behind {
    fn partition(&self) -> TopicPartition {
        (self.topic.clone(), self.partition)
    }

    fn head(&self, since: Option<Timestamp>) -> Head {
        let (from, to) = (self.from, self.to);
        Head { from, to, since }
    }
}

/// Reads the first record of each, or finds that there is none to be read; of those of which neither came in time nothing is
/// answered.
fn find(consumer: &BaseConsumer<Asking>, unknown: &[Behind]) -> HashMap<TopicPartition, Head> {
    let mut found = HashMap::new();
    consumer.context().0.find_brokers(consumer.client());
    let mut list = TopicPartitionList::new();
    for one in unknown {
        let _ = list.add_partition_offset(&one.topic, one.partition, Offset::Offset(one.from));
    }
    if let Err(error) = consumer.assign(&list) {
        tracing::debug!(%error, "the oldest records that wait cannot be read");
        return found;
    }
    let began = Instant::now();
    // Ends that were reached, by the number of the partition: Kafka's client does not tell of which topic.
    let mut ends: HashMap<i32, usize> = HashMap::new();
    while found.len() < unknown.len() && began.elapsed() < PATIENCE {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let since = message.timestamp().to_millis().and_then(Timestamp::from_millis);
                let asked = unknown
                    .iter()
                    .find(|one| one.topic == message.topic() && one.partition == message.partition());
                if let Some(one) = asked {
                    found.entry(one.partition()).or_insert(one.head(since));
                }
            }
            Some(Err(KafkaError::PartitionEOF(number))) => {
                *ends.entry(number).or_insert(0) += 1;
                let of_number = unknown.iter().filter(|one| one.partition == number);
                if of_number.clone().count() == ends[&number] {
                    for one in of_number {
                        found.entry(one.partition()).or_insert(one.head(None));
                    }
                }
            }
            Some(Err(error)) => tracing::debug!(%error, "reading the oldest records that wait"),
            None => {}
        }
    }
    let _ = consumer.unassign();
    found
}
