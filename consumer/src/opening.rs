//! What a worker asks of Kafka beside reading: how each assigned partition stands, and whether it still is a member.

use std::collections::HashSet;
use std::sync::mpsc;
use std::time::Duration;

use redline_telemetry::health::Part;
use tokio::sync::mpsc as channels;

use crate::cluster::Cluster;
use crate::kafka::{Command, Request, TopicPartition};
use crate::recorder::Errand;

/// Learns how Kafka has each assigned partition now, and has it opened.
pub(crate) async fn open_partitions(
    mut requests: channels::UnboundedReceiver<Request>,
    errands: channels::Sender<Errand>,
    commands: mpsc::Sender<Command>,
    cluster: Cluster,
) {
    let mut delayed: HashSet<TopicPartition> = HashSet::new();
    while let Some(request) = requests.recv().await {
        let errand = match request {
            Request::Release(assigned, done) => Errand::Release(assigned, done),
            Request::Open(partition) => {
                let (topic, number) = &partition;
                match cluster.describe(topic, *number).await {
                    Ok(kafka) => {
                        delayed.remove(&partition);
                        Errand::Open(kafka)
                    }
                    Err(error) => {
                        // One that was just made, or assigned, has no leader for a moment; that is no news.
                        if delayed.insert(partition.clone()) {
                            tracing::debug!(topic, partition = number, %error, "a partition is opened later");
                        } else {
                            tracing::warn!(topic, partition = number, %error, "a partition is opened later");
                        }
                        let _ = commands.send(Command::NotOpened(partition));
                        continue;
                    }
                }
            }
        };
        if errands.send(errand).await.is_err() {
            return;
        }
    }
}

/// The member of a group that this worker is.
pub(crate) struct Member {
    pub(crate) group: String,
    pub(crate) client_id: String,
}

/// Looks at Kafka from outside of the consumer now and then: tells the Kafka side the topics' ids, and when Kafka has
/// not counted this worker among the group's members for a minute. Kafka that is away has nothing to tell. Says
/// whether this worker is ready.
pub(crate) async fn watch_kafka(
    topics: Vec<String>,
    member: Member,
    pause: Duration,
    cluster: Cluster,
    commands: mpsc::Sender<Command>,
    health: Part,
) {
    const PATIENCE: Duration = Duration::from_secs(60);
    let mut absent_since: Option<tokio::time::Instant> = None;
    loop {
        tokio::time::sleep(pause).await;
        if let Ok(ids) = cluster.topic_ids(topics.clone()).await
            && commands.send(Command::TopicIds(ids)).is_err()
        {
            return;
        }
        let is_member = cluster.is_member(&member.group, &member.client_id).await;
        health.set(is_member == Some(true));
        absent_since = match is_member {
            Some(false) => absent_since.or_else(|| Some(tokio::time::Instant::now())),
            Some(true) => None,
            None => absent_since,
        };
        if absent_since.is_some_and(|since| since.elapsed() >= PATIENCE) {
            let _ = commands.send(Command::NotAMember);
            absent_since = None;
        }
    }
}
