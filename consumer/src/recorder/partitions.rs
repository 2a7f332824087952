//! Opening partitions and giving them up, for the one who owns the connection.

use std::sync::Arc;
use std::time::Duration;

use redline_domain::finding::Ledger;
use redline_store::Class;
use redline_store::positions::{self, KafkaPartition, Opened, Stopped};

use super::{Errand, RecordError, Recorder};
use crate::batch::Assigned;
use crate::bounded::bounded;
use crate::deduplicate::Marks;
use crate::kafka::{Command, TopicPartition};

/// Beyond the longest wait for a lock, what opening or giving up may take.
const SLACK: Duration = Duration::from_secs(10);

impl<M: Marks> Recorder<M> {
    /// Runs an errand within a time that no healthy Postgres needs.
    pub(super) async fn run_errand(&mut self, errand: Errand) -> Result<(), RecordError> {
        let limit = self.settings.timeouts().lock + SLACK;
        let stop = self.links.stop.clone();
        match errand {
            Errand::Open(kafka) => {
                let partition = (kafka.topic.clone(), kafka.partition);
                if let Some(opened) = bounded(limit, &stop, self.open(kafka)).await {
                    return opened;
                }
                let (topic, number) = &partition;
                tracing::warn!(
                    topic,
                    partition = number,
                    "Postgres is silent; the partition is opened later"
                );
                self.connection = None;
                let _ = self.links.commands.send(Command::NotOpened(partition));
            }
            Errand::Release(assigned, done) => {
                if bounded(limit, &stop, self.release(&assigned)).await.is_none() {
                    tracing::warn!("Postgres is silent; partitions were not released");
                    self.connection = None;
                }
                let _ = done.send(());
            }
        }
        Ok(())
    }

    /// Gives partitions up. Not released is harmless: the next owner ends this connection.
    async fn release(&mut self, assigned: &[Arc<Assigned>]) {
        let position_ids: Vec<i32> = assigned.iter().map(|assigned| assigned.position_id).collect();
        let owner = self.owner;
        if let Some(connection) = self.connection.as_mut()
            && let Err(error) = positions::release(connection, &position_ids, owner).await
        {
            tracing::warn!(%error, "partitions were not released");
            self.connection = None;
        }
    }

    /// Gives up what is left in the end: partitions that were opened when nobody waited for them any more.
    pub(super) async fn release_all(&mut self) {
        let limit = self.settings.timeouts().lock + SLACK;
        let (owner, stop) = (self.owner, self.links.stop.clone());
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        match bounded(limit, &stop, positions::release_all(&mut connection, owner)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::warn!(%error, "partitions were not released"),
            None => tracing::warn!("Postgres is silent; partitions were not released"),
        }
    }

    async fn open(&mut self, kafka: KafkaPartition) -> Result<(), RecordError> {
        let partition = (kafka.topic.clone(), kafka.partition);
        let (owner, most_in_a_row) = (self.owner, self.settings.most_quarantined_in_a_row);
        let opened = match self.connect().await {
            Ok(connection) => positions::open(connection, &kafka, owner, most_in_a_row).await,
            Err(error) => Err(error),
        };
        let command = match opened {
            Ok(Opened::At(position)) => match self.topics.kind_of(&kafka.topic) {
                Some(kind) => {
                    self.told_stopped.remove(&partition);
                    let ledger = Ledger {
                        topic: kafka.topic,
                        incarnation: position.incarnation,
                        partition: kafka.partition,
                    };
                    let assigned = Assigned::new(position.position_id, ledger, kafka.topic_id, kind);
                    Command::Opened(Arc::new(assigned), position.next_offset)
                }
                None => Command::NotOpened(partition),
            },
            Ok(Opened::Stopped(stopped)) => {
                self.tell_stopped(&partition, &stopped);
                Command::Stopped(partition)
            }
            Err(error) if error.class() == Class::Stop => return Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, topic = partition.0, partition = partition.1, "a partition is opened later");
                self.connection = None;
                Command::NotOpened(partition)
            }
        };
        let _ = self.links.commands.send(command);
        Ok(())
    }

    /// Says why a partition is stopped, once for each reason: it is looked at again every few seconds.
    fn tell_stopped(&mut self, partition: &TopicPartition, stopped: &Stopped) {
        let told = self
            .told_stopped
            .insert(partition.clone(), stopped.detail.clone());
        if told.as_ref() != Some(&stopped.detail) {
            tracing::error!(reason = stopped.reason.code(), "{}", stopped.detail);
        }
    }
}
