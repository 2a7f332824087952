//! Which partitions the client reads, and from where.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::{Offset, TopicPartitionList};

use super::assignment::{State, list_of};
use super::{Poller, Request, TopicPartition};
use crate::batch::Assigned;

impl Poller {
    pub(super) fn begin_reading(&mut self, assigned: Arc<Assigned>, next: i64) {
        let (topic, partition) = (assigned.ledger.topic.clone(), assigned.ledger.partition);
        match self.shared.lock().get_mut(&(topic.clone(), partition)) {
            Some(state @ State::Opening) => {
                tracing::debug!(topic, partition, offset = next, "a partition is open");
                *state = State::Reading {
                    assigned,
                    next,
                    held_until: None,
                };
                self.to_be_read_changed = true;
            }
            // It was revoked, or assigned anew, while it was being opened.
            _ => assigned.give_up(),
        }
    }

    /// Stops reading a partition for a while; what was read of it beyond this offset is discarded.
    pub(super) fn hold(&mut self, held: &Arc<Assigned>, offset: i64, until: Instant) {
        let partition = (held.ledger.topic.clone(), held.ledger.partition);
        if let Some(State::Reading {
            assigned,
            next,
            held_until,
        }) = self.shared.lock().get_mut(&partition)
            && Arc::ptr_eq(assigned, held)
        {
            (*next, *held_until) = (offset, Some(until));
            self.building.discard(&partition);
            self.to_be_read_changed = true;
        }
    }

    /// Gives the client exactly the partitions that are open and not held, each with the offset to read next. Seeking
    /// would be less work for it, but it refuses that for as long as it finds a partition's old offset out of range.
    pub(super) fn read_what_is_open(&mut self) {
        self.to_be_read_changed = false;
        let reading = self.shared.reading();
        self.tell_reading(reading.len());
        let mut list = TopicPartitionList::new();
        for ((topic, partition), next) in &reading {
            let _ = list.add_partition_offset(topic, *partition, Offset::Offset(*next));
        }
        if let Err(error) = self.consumer.assign(&list) {
            // Whatever it goes on to read, it does not read what it was told to.
            tracing::error!(%error, "Kafka's client does not take its partitions");
            self.join_anew();
            return;
        }
        // The client keeps a partition paused that was paused when it was taken away.
        if self.paused {
            self.pause(&list);
        } else {
            self.resume(&list);
        }
    }

    /// Says how much is read once that is settled: partitions are opened one by one, and held up for moments.
    fn tell_reading(&mut self, partitions: usize) {
        let is_settled = self.shared.lock().values().all(|state| match state {
            State::Opening => false,
            State::Waiting(_) => true,
            State::Reading { held_until, .. } => held_until.is_none(),
        });
        if is_settled && self.told_reading != Some(partitions) {
            self.told_reading = Some(partitions);
            tracing::info!(partitions, "partitions are read");
        } else {
            tracing::debug!(partitions, "partitions are read");
        }
    }

    fn resume(&self, partitions: &TopicPartitionList) {
        if let Err(error) = self.consumer.resume(partitions) {
            tracing::warn!(%error, "partitions could not be resumed");
        }
    }

    fn pause(&self, partitions: &TopicPartitionList) {
        if let Err(error) = self.consumer.pause(partitions) {
            tracing::warn!(%error, "partitions could not be paused");
        }
    }

    /// Whether a partition is still read under this opening of it.
    pub(super) fn is_reading(&self, partition: &TopicPartition, opened: &Arc<Assigned>) -> bool {
        match self.shared.lock().get(partition) {
            Some(State::Reading { assigned, .. }) => Arc::ptr_eq(assigned, opened),
            _ => false,
        }
    }

    /// Discards what was read of a partition and opens it again, after a third of the session: when somebody else
    /// records it, this worker may have been expelled from the group, and learns that by the answer to a heartbeat
    /// before it makes itself the owner.
    pub(super) fn reopen(&mut self, partition: TopicPartition) {
        let pause = Duration::from_millis(u64::from(self.settings.session_timeout_milliseconds) / 3);
        let mut partitions = self.shared.lock();
        let Some(state) = partitions.get_mut(&partition) else {
            return;
        };
        if let State::Reading { assigned, .. } = state {
            assigned.give_up();
            *state = State::Waiting(Instant::now() + pause);
            drop(partitions);
            self.building.discard(&partition);
            self.to_be_read_changed = true;
        }
    }

    /// Opens what was read from topics that have another id now: nothing arrives from a topic that was made again
    /// and is shorter than the old one, so nothing else would tell.
    pub(super) fn reopen_made_again(&mut self, ids: &HashMap<String, String>) {
        let made_again: Vec<TopicPartition> = self
            .shared
            .lock()
            .iter()
            .filter(|((topic, _), state)| match state {
                State::Reading { assigned, .. } => ids.get(topic) != Some(&assigned.topic_id),
                State::Opening | State::Waiting(_) => false,
            })
            .map(|(partition, _)| partition.clone())
            .collect();
        for partition in made_again {
            self.reopen(partition);
        }
    }

    /// Lets a partition that is not open wait.
    pub(super) fn wait(&self, partition: &TopicPartition, pause: Duration) {
        if let Some(state) = self.shared.lock().get_mut(partition) {
            *state = State::Waiting(Instant::now() + pause);
        }
    }

    /// Opens partitions that waited long enough, and reads those again that were held long enough.
    pub(super) fn end_waits(&mut self) {
        let now = Instant::now();
        for (partition, state) in self.shared.lock().iter_mut() {
            match state {
                State::Waiting(again) if *again <= now => {
                    *state = State::Opening;
                    self.shared.ask(Request::Open(partition.clone()));
                }
                State::Reading { held_until, .. } if held_until.is_some_and(|until| until <= now) => {
                    *held_until = None;
                    self.to_be_read_changed = true;
                }
                _ => {}
            }
        }
    }

    pub(super) fn set_paused(&mut self, paused: bool) {
        if self.paused == paused {
            return;
        }
        self.paused = paused;
        let reading = self.shared.reading();
        let list = list_of(reading.iter().map(|(partition, _)| partition));
        if paused {
            tracing::info!("recording is slower than reading: partitions are paused");
            self.pause(&list);
        } else {
            self.resume(&list);
        }
    }
}
