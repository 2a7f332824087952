//! Which partitions are assigned and what is known of each; the rebalance callback.

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};
use redline_producer::kafka::Callbacks;

use super::{Request, TopicPartition};
use crate::batch::{Assigned, Batch, RawRecord};
use crate::metrics::{Metrics, Partitions};

/// Batches that were handed over and are not settled yet, by partition.
#[derive(Default)]
pub struct InFlight {
    batches: Mutex<HashMap<i32, usize>>,
    settled: Condvar,
}

impl InFlight {
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<i32, usize>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn began(&self, batch: &Batch<RawRecord>) {
        let mut batches = self.lock();
        for part in batch {
            *batches.entry(part.assigned.position_id).or_insert(0) += 1;
        }
    }

    /// A batch with these partitions is settled, recorded or not.
    pub fn ended(&self, position_ids: impl Iterator<Item = i32>) {
        let mut batches = self.lock();
        for position_id in position_ids {
            if let Some(count) = batches.get_mut(&position_id) {
                *count -= 1;
                if *count == 0 {
                    batches.remove(&position_id);
                }
            }
        }
        self.settled.notify_all();
    }

    /// Waits until nothing of these partitions is in flight, for so long at most.
    pub(super) fn wait_for(&self, position_ids: &[i32], patience: Duration) {
        let busy = |batches: &mut HashMap<i32, usize>| position_ids.iter().any(|id| batches.contains_key(id));
        let waited = self.settled.wait_timeout_while(self.lock(), patience, busy);
        drop(waited);
    }
}

/// What is known of an assigned partition.
pub(super) enum State {
    /// Being opened.
    Opening,
    /// Opened again after this instant.
    Waiting(Instant),
    /// Open, and read from here on; not before the instant, when it is held up.
    Reading {
        assigned: Arc<Assigned>,
        next: i64,
        held_until: Option<Instant>,
    },
}

impl State {
    /// The opening of a partition that is open.
    fn opened(self) -> Option<Arc<Assigned>> {
        match self {
            Self::Reading { assigned, .. } => Some(assigned),
            Self::Opening | Self::Waiting(_) => None,
        }
    }
}

/// State that the rebalance callback shares with the thread that polls; both are the same thread.
pub(super) struct Shared {
    pub(super) partitions: Mutex<HashMap<TopicPartition, State>>,
    pub(super) in_flight: Arc<InFlight>,
    pub(super) requests: tokio::sync::mpsc::UnboundedSender<Request>,
    pub(super) drain_patience: Duration,
    pub(super) metrics: Metrics,
    /// When Kafka was told how far recording is, and has not answered yet; it answers in order.
    told: Mutex<VecDeque<Instant>>,
}

impl Shared {
    pub(super) fn new(
        in_flight: Arc<InFlight>,
        requests: tokio::sync::mpsc::UnboundedSender<Request>,
        metrics: Metrics,
    ) -> Self {
        Self {
            partitions: Mutex::default(),
            in_flight,
            requests,
            drain_patience: Duration::from_secs(10),
            metrics,
            told: Mutex::default(),
        }
    }

    /// The same for another client, which has no partitions yet.
    pub(super) fn without_partitions(&self) -> Self {
        Self::new(
            Arc::clone(&self.in_flight),
            self.requests.clone(),
            self.metrics.clone(),
        )
    }

    /// Gives up every partition, which somebody else may own already, without waiting for what is in flight.
    pub(super) fn forget_all(&self) {
        self.take_all().iter().for_each(|assigned| assigned.give_up());
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<TopicPartition, State>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The partitions that are open and not held, each with the offset to read next.
    pub(super) fn reading(&self) -> Vec<(TopicPartition, i64)> {
        let partitions = self.lock();
        let reading = partitions.iter().filter_map(|(partition, state)| match state {
            State::Reading {
                next,
                held_until: None,
                ..
            } => Some((partition.clone(), *next)),
            _ => None,
        });
        reading.collect()
    }

    /// How many partitions are in which state.
    pub(super) fn counted(&self) -> Partitions {
        let mut counted = Partitions::default();
        for state in self.lock().values() {
            match state {
                State::Opening => counted.opening += 1,
                State::Waiting(_) => counted.waiting += 1,
                State::Reading { held_until: None, .. } => counted.reading += 1,
                State::Reading { .. } => counted.held += 1,
            }
        }
        counted
    }

    fn told(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kafka is told how far recording is.
    pub(super) fn telling(&self) {
        self.told().push_back(Instant::now());
    }

    /// Kafka has answered, or was not told at all.
    pub(super) fn was_told(&self, failed: bool) {
        let began = self.told().pop_front();
        if let Some(began) = began {
            self.metrics.committed(began.elapsed(), failed);
        }
    }

    pub(super) fn ask(&self, request: Request) {
        // Nobody listens only when the worker is ending.
        let _ = self.requests.send(request);
    }

    /// Begins to open partitions that were just assigned.
    fn assigned(&self, list: &TopicPartitionList) {
        for partition in keys(list) {
            self.lock().insert(partition.clone(), State::Opening);
            self.ask(Request::Open(partition));
        }
    }

    /// Lets what is in flight be recorded, then gives the partitions up. Of partitions that were lost, somebody
    /// else may be the owner already: they are only forgotten.
    fn revoked(&self, list: &TopicPartitionList, lost: bool) {
        let taken = self.take(list);
        if lost {
            taken.iter().for_each(|assigned| assigned.give_up());
            return;
        }
        let position_ids: Vec<i32> = taken.iter().map(|assigned| assigned.position_id).collect();
        self.in_flight.wait_for(&position_ids, self.drain_patience);
        self.release(taken);
    }

    /// Gives up every partition as it is.
    pub(super) fn release_all(&self) {
        self.release(self.take_all());
    }

    /// Forgets partitions; answers those that were open.
    fn take(&self, list: &TopicPartitionList) -> Vec<Arc<Assigned>> {
        let mut partitions = self.lock();
        let taken = keys(list)
            .into_iter()
            .filter_map(|partition| partitions.remove(&partition));
        taken.filter_map(State::opened).collect()
    }

    /// Forgets every partition; answers those that were open.
    fn take_all(&self) -> Vec<Arc<Assigned>> {
        self.lock()
            .drain()
            .filter_map(|(_, state)| state.opened())
            .collect()
    }

    /// Records no more of partitions, and lets others record them.
    fn release(&self, given_up: Vec<Arc<Assigned>>) {
        given_up.iter().for_each(|assigned| assigned.give_up());
        if given_up.is_empty() {
            return;
        }
        let (done, is_done) = mpsc::channel();
        self.ask(Request::Release(given_up, done));
        let _ = is_done.recv_timeout(Duration::from_secs(2));
    }
}

fn keys(list: &TopicPartitionList) -> Vec<TopicPartition> {
    list.elements()
        .iter()
        .map(|element| (element.topic().to_owned(), element.partition()))
        .collect()
}

pub(super) fn list_of<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in partitions {
        list.add_partition(topic, *partition);
    }
    list
}

/// librdkafka's callbacks.
pub(super) struct Context {
    pub(super) shared: Arc<Shared>,
    pub(super) callbacks: Arc<Callbacks>,
}

impl ClientContext for Context {
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

impl ConsumerContext for Context {
    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        self.shared.was_told(result.is_err());
    }

    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        // The client reads nothing until a partition is open; see `read_what_is_open`. Rebalances are eager, so
        // every one of them begins and ends with nothing.
        let result = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.shared.assigned(list);
            consumer.assign(&TopicPartitionList::new())
        } else {
            self.shared.revoked(list, consumer.assignment_lost());
            consumer.unassign()
        };
        tracing::info!(
            partitions = list.count(),
            assigned = event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS,
            "the group's partitions were distributed"
        );
        if let Err(error) = result {
            tracing::error!(%error, "a rebalance could not be followed");
        }
    }
}
