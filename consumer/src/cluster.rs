//! Kafka as those see it who read nothing: the ids of topics, the bounds of logs, the members of groups.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::client::Client;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer as _;
use redline_producer::kafka::{Asking, Callbacks, KafkaSettings, Served, partition_count};
use redline_store::positions::KafkaPartition;

use crate::incarnation::{NotTold, controller, topic_ids};

/// How long Kafka may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a partition could not be described. Class: try again; topics and partitions may still be made.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Kafka did not tell the topic's id.
    #[error(transparent)]
    NotTold(#[from] NotTold),
    /// There is no such topic.
    #[error("the topic {0} does not exist")]
    NoTopic(String),
    /// The topic has fewer partitions.
    #[error("the topic {0} has no partition {1}")]
    NoPartition(String, i32),
    /// Kafka did not tell the bounds of the log.
    #[error("Kafka did not tell where the log of partition {1} of {0} starts and ends: {2}")]
    NoBounds(String, i32, String),
}

/// A client that asks. Clones share it. It is a producer that publishes nothing: that is served by a thread of its own,
/// which fetches tokens and tells errors; an AdminClient is not.
#[derive(Clone)]
pub struct Cluster {
    client: Arc<Served<Asking>>,
    /// Which broker tells the topics' ids; none until that is found out, and after it did not answer.
    teller: Arc<Mutex<Option<Teller>>>,
}

/// A broker that is asked.
#[derive(Clone, Copy)]
enum Teller {
    /// Kafka's own choice.
    Controller,
    /// This one, since the cluster names a controller that does not exist. So does the mock cluster of the demo.
    Broker(i32),
}

impl Cluster {
    /// A client; it connects by itself and does not fail when Kafka is away.
    ///
    /// # Errors
    /// When a property is wrong.
    pub fn new(settings: &KafkaSettings) -> Result<Self, KafkaError> {
        let client = Served::new(&settings.client_config(), Asking(Callbacks::new(settings)))?;
        Ok(Self {
            client: Arc::new(client),
            teller: Arc::default(),
        })
    }

    /// The ids of those topics that exist.
    ///
    /// # Errors
    /// When no broker answered in time.
    pub async fn topic_ids(&self, topics: Vec<String>) -> Result<HashMap<String, String>, NotTold> {
        let cluster = self.clone();
        tokio::task::spawn_blocking(move || cluster.ask_topic_ids(&topics))
            .await
            .map_err(|error| NotTold(error.to_string()))?
    }

    fn ask_topic_ids(&self, topics: &[String]) -> Result<HashMap<String, String>, NotTold> {
        let known = *self.teller();
        let teller = match known {
            Some(teller) => teller,
            None => self.find_teller()?,
        };
        let broker = match teller {
            Teller::Controller => None,
            Teller::Broker(broker) => Some(broker),
        };
        let answer = topic_ids(self.client(), topics, broker, PATIENCE);
        *self.teller() = answer.is_ok().then_some(teller);
        answer
    }

    fn client(&self) -> &Client<Asking> {
        self.client.producer().client()
    }

    fn teller(&self) -> MutexGuard<'_, Option<Teller>> {
        self.teller.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find_teller(&self) -> Result<Teller, NotTold> {
        let metadata = self.client().fetch_metadata(None, PATIENCE);
        let metadata = metadata.map_err(|error| NotTold(error.to_string()))?;
        let brokers: Vec<i32> = metadata.brokers().iter().map(|broker| broker.id()).collect();
        Ok(match (controller(self.client()), brokers.first()) {
            (Some(controller), Some(first)) if !brokers.contains(&controller) => Teller::Broker(*first),
            _ => Teller::Controller,
        })
    }

    /// A partition as Kafka has it now.
    ///
    /// # Errors
    /// When Kafka does not answer or has no such partition.
    pub async fn describe(&self, topic: &str, partition: i32) -> Result<KafkaPartition, ClusterError> {
        let mut ids = self.topic_ids(vec![topic.to_owned()]).await?;
        let topic_id = ids
            .remove(topic)
            .ok_or_else(|| ClusterError::NoTopic(topic.to_owned()))?;
        let (log_start, log_end) = self.bounds(topic, partition).await?;
        Ok(KafkaPartition {
            topic: topic.to_owned(),
            topic_id,
            partition,
            log_start,
            log_end,
        })
    }

    /// Every partition of these topics as Kafka has it now.
    ///
    /// # Errors
    /// When Kafka does not answer or lacks one of them.
    pub async fn describe_all(&self, topics: Vec<String>) -> Result<Vec<KafkaPartition>, ClusterError> {
        let ids = self.topic_ids(topics.clone()).await?;
        let mut described = Vec::new();
        for topic in topics {
            let topic_id = ids
                .get(&topic)
                .ok_or_else(|| ClusterError::NoTopic(topic.clone()))?;
            for partition in 0..self.partitions(&topic).await? {
                let (log_start, log_end) = self.bounds(&topic, partition).await?;
                described.push(KafkaPartition {
                    topic: topic.clone(),
                    topic_id: topic_id.clone(),
                    partition,
                    log_start,
                    log_end,
                });
            }
        }
        Ok(described)
    }

    /// Where the log of a partition starts and ends.
    async fn bounds(&self, topic: &str, partition: i32) -> Result<(i64, i64), ClusterError> {
        let (client, name) = (Arc::clone(&self.client), topic.to_owned());
        let bounds = tokio::task::spawn_blocking(move || {
            client
                .producer()
                .client()
                .fetch_watermarks(&name, partition, PATIENCE)
        });
        let not_told = |reason: String| ClusterError::NoBounds(topic.to_owned(), partition, reason);
        bounds
            .await
            .map_err(|error| not_told(error.to_string()))?
            .map_err(|error| match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::UnknownPartition | RDKafkaErrorCode::UnknownTopicOrPartition) => {
                    ClusterError::NoPartition(topic.to_owned(), partition)
                }
                _ => not_told(error.to_string()),
            })
    }

    /// The number of partitions of a topic that exists.
    ///
    /// # Errors
    /// When Kafka does not answer or has no such topic.
    pub async fn partitions(&self, topic: &str) -> Result<i32, ClusterError> {
        let (client, name) = (Arc::clone(&self.client), topic.to_owned());
        let asked =
            tokio::task::spawn_blocking(move || partition_count(client.producer().client(), &name, PATIENCE))
                .await;
        match asked.map_err(|error| NotTold(error.to_string()))? {
            Ok(0) => Err(ClusterError::NoTopic(topic.to_owned())),
            Ok(count) => Ok(count),
            Err(error) => Err(NotTold(error.to_string()).into()),
        }
    }

    /// Whether a client is a member of a group; none when Kafka does not say.
    pub async fn is_member(&self, group: &str, client_id: &str) -> Option<bool> {
        let (client, group, client_id) = (Arc::clone(&self.client), group.to_owned(), client_id.to_owned());
        let asked = tokio::task::spawn_blocking(move || {
            let list = client
                .producer()
                .client()
                .fetch_group_list(Some(&group), PATIENCE)
                .ok()?;
            let mut members = list.groups().iter().flat_map(|group| group.members());
            Some(members.any(|member| member.client_id() == client_id))
        });
        asked.await.ok().flatten()
    }
}
