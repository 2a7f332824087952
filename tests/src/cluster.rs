//! What an operator, or an accident, does to Kafka: offsets, deleted records, topics made anew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::installation::Installation;
use crate::kafka::Kafka;
use crate::wait::until;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

/// Long enough for a busy machine; a test that waits so long fails.
const PATIENCE: Duration = Duration::from_secs(240);

const KAFKA_PATIENCE: Duration = Duration::from_secs(10);

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(KAFKA_PATIENCE))
        .operation_timeout(Some(KAFKA_PATIENCE))
}

fn admin(redline: &Installation) -> AdminClient<DefaultClientContext> {
    redline.kafka.config().create().expect("a Kafka client")
}

fn group_consumer(redline: &Installation) -> BaseConsumer {
    redline
        .kafka
        .config()
        .set("group.id", &redline.name)
        .set("enable.auto.commit", "false")
        .create()
        .expect("a Kafka consumer")
}

/// The offsets that the group has committed for the rows' topic.
pub async fn committed(redline: &Installation) -> BTreeMap<i32, i64> {
    let (consumer, topic) = (group_consumer(redline), redline.topics.rows.clone());
    let mut list = TopicPartitionList::new();
    for partition in 0..redline.partitions {
        list.add_partition(&topic, partition);
    }
    let committed = tokio::task::spawn_blocking(move || consumer.committed_offsets(list, KAFKA_PATIENCE))
        .await
        .expect("Kafka can be asked")
        .expect("Kafka answers");
    let offsets = committed.elements();
    offsets
        .iter()
        .map(|element| (element.partition(), element.offset().to_raw().unwrap_or(-1)))
        .collect()
}

/// Commits offsets for the rows' topic by hand, as soon as nobody is left in the group.
pub async fn commit_by_hand(redline: &Installation, offsets: &BTreeMap<i32, i64>) {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition_offset(&redline.topics.rows, *partition, Offset::Offset(*offset))
            .expect("an offset");
    }
    until("the group's offsets can be altered", PATIENCE, async || {
        let (consumer, list) = (group_consumer(redline), list.clone());
        tokio::task::spawn_blocking(move || consumer.commit(&list, CommitMode::Sync))
            .await
            .expect("Kafka can be asked")
            .map_err(|error| error.to_string())
    })
    .await;
    assert_eq!(&committed(redline).await, offsets, "the offsets were altered");
}

/// The ids of the group's members.
pub async fn members(redline: &Installation) -> BTreeSet<String> {
    let (consumer, group) = (group_consumer(redline), redline.name.clone());
    tokio::task::spawn_blocking(move || {
        let groups = consumer
            .client()
            .fetch_group_list(Some(&group), KAFKA_PATIENCE)
            .expect("Kafka answers");
        let found = groups.groups().iter().find(|found| found.name() == group);
        found
            .map(|group| {
                group
                    .members()
                    .iter()
                    .map(|member| member.id().to_owned())
                    .collect()
            })
            .unwrap_or_default()
    })
    .await
    .expect("Kafka can be asked")
}

/// Removes the records of a partition of the rows' topic below an offset.
pub async fn delete_records(redline: &Installation, partition: i32, below: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&redline.topics.rows, partition, Offset::Offset(below))
        .expect("an offset");
    let deleted = admin(redline).delete_records(&list, &options()).await;
    deleted.expect("Kafka removes records");
    let ends = redline.kafka.log_ends(&redline.topics.rows).await;
    assert_eq!(ends[&partition].0, below, "the log's new start");
}

/// Deletes the rows' topic and makes it again, empty. Producers begin anew too.
pub async fn make_rows_again(redline: &mut Installation) {
    let topic = redline.topics.rows.clone();
    redline.kafka.delete_topics(&[&topic]).await;
    let new = NewTopic::new(&topic, redline.partitions, TopicReplication::Fixed(1));
    let admin = admin(redline);
    until("the topic is made again", PATIENCE, async || {
        let made = admin
            .create_topics([&new], &options())
            .await
            .expect("Kafka answers");
        match made.into_iter().next().expect("one answer") {
            Ok(_) => Ok(()),
            Err((_, code)) => Err(code.to_string()),
        }
    })
    .await;
    redline.kafka = Kafka::new(&redline.services.kafka);
    let partitions = usize::try_from(redline.partitions).expect("few partitions");
    until("the new topic is known", PATIENCE, async || {
        let ends = redline.kafka.log_ends(&topic).await;
        match ends.len() == partitions && ends.values().all(|ends| *ends == (0, 0)) {
            true => Ok(()),
            false => Err(format!("{ends:?}")),
        }
    })
    .await;
}

/// Waits until Kafka, which was away, leads every partition again; the installation's own clients are made anew then.
pub async fn wait_for_kafka(redline: &Installation) {
    until("Kafka leads its partitions again", PATIENCE, async || {
        let (consumer, prefix) = (group_consumer(redline), format!("{}.", redline.name));
        tokio::task::spawn_blocking(move || {
            let metadata = consumer.fetch_metadata(None, KAFKA_PATIENCE)?;
            for topic in metadata
                .topics()
                .iter()
                .filter(|topic| topic.name().starts_with(&prefix))
            {
                for partition in topic.partitions() {
                    consumer.fetch_watermarks(topic.name(), partition.id(), KAFKA_PATIENCE)?;
                }
            }
            Ok(())
        })
        .await
        .expect("Kafka can be asked")
        .map_err(|error: rdkafka::error::KafkaError| error.to_string())
    })
    .await;
    redline.kafka.renew();
}
