//! The Kafka side of a worker: one thread owns the consumer and its state; everything else sends it messages.
//!
//! It never stops polling: a rebalance, a slow Postgres or a waiting registry must not cost the membership of the
//! group. When nobody takes its batch for a while it pauses the partitions and goes on polling.
//!
//! A partition that Kafka assigns is paused at once and opened in the background: its incarnation is asked for,
//! its position is read, this worker becomes its owner. Only then is it sought to the position and resumed.
//! Kafka's committed offsets are never read.

use std::collections::HashMap;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};
use redline_schemas::Timestamp;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::batch::{Assigned, Batch, Part, RawRecord};
use crate::settings::WorkSettings;

/// A topic and a partition of it.
pub type TopicPartition = (String, i32);

/// What the rest of the worker tells the thread.
#[derive(Debug)]
pub enum Command {
    /// A partition was opened and is read from here.
    Opened(Arc<Assigned>, i64),
    /// A partition waits for an operator, or cannot be opened yet; it is tried again later.
    NotOpened(TopicPartition),
    /// What was read from a partition cannot be recorded; it is opened again.
    Reopen(Arc<Assigned>),
    /// Partitions are recorded up to these offsets.
    Recorded(Vec<(Arc<Assigned>, i64)>),
}

/// What the thread asks the rest of the worker.
#[derive(Debug)]
pub enum Request {
    /// Open this partition.
    Open(TopicPartition),
    /// Give this partition up.
    Release(Arc<Assigned>, mpsc::Sender<()>),
}

/// Batches that were handed over and are not settled yet, by partition.
#[derive(Default)]
pub struct InFlight {
    batches: Mutex<HashMap<i32, usize>>,
    settled: Condvar,
}

impl InFlight {
    fn lock(&self) -> MutexGuard<'_, HashMap<i32, usize>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn began(&self, batch: &Batch<RawRecord>) {
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
    fn wait_for(&self, position_ids: &[i32], patience: Duration) {
        let busy = |batches: &mut HashMap<i32, usize>| position_ids.iter().any(|id| batches.contains_key(id));
        let waited = self.settled.wait_timeout_while(self.lock(), patience, busy);
        drop(waited);
    }
}

/// What is known of an assigned partition.
enum State {
    /// Paused until it is opened.
    Opening,
    /// Paused; opened again after this instant.
    Waiting(Instant),
    /// Opened, but Kafka's client would not seek yet.
    Seeking(Arc<Assigned>, i64),
    /// Read from here on.
    Reading { assigned: Arc<Assigned>, next: i64 },
}

/// State that the rebalance callback shares with the thread that polls; both are the same thread.
struct Shared {
    partitions: Mutex<HashMap<TopicPartition, State>>,
    in_flight: Arc<InFlight>,
    requests: tokio::sync::mpsc::UnboundedSender<Request>,
    drain_patience: Duration,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<TopicPartition, State>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, request: Request) {
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
        let mut given_up = Vec::new();
        for partition in keys(list) {
            if let Some(State::Reading { assigned, .. } | State::Seeking(assigned, _)) =
                self.lock().remove(&partition)
            {
                given_up.push(assigned);
            }
        }
        if !lost {
            let position_ids: Vec<i32> = given_up.iter().map(|assigned| assigned.position_id).collect();
            self.in_flight.wait_for(&position_ids, self.drain_patience);
        }
        for assigned in given_up {
            assigned.give_up();
            if !lost {
                let (done, is_done) = mpsc::channel();
                self.ask(Request::Release(assigned, done));
                let _ = is_done.recv_timeout(Duration::from_secs(2));
            }
        }
    }
}

fn keys(list: &TopicPartitionList) -> Vec<TopicPartition> {
    list.elements()
        .iter()
        .map(|element| (element.topic().to_owned(), element.partition()))
        .collect()
}

fn list_of<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in partitions {
        list.add_partition(topic, *partition);
    }
    list
}

/// librdkafka's callbacks.
pub struct Context(Arc<Shared>);

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "Kafka");
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let result = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            // Any offset will do: the partition is paused before it is read, and sought before it is resumed.
            let _ = list.set_all_offsets(Offset::End);
            let assigned = if cooperative {
                consumer.incremental_assign(list)
            } else {
                consumer.assign(list)
            };
            let paused = consumer.pause(list);
            self.0.assigned(list);
            assigned.and(paused)
        } else {
            self.0.revoked(list, consumer.assignment_lost());
            if cooperative {
                consumer.incremental_unassign(list)
            } else {
                consumer.unassign()
            }
        };
        tracing::info!(
            partitions = ?keys(list),
            assigned = event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS,
            "the group's partitions were distributed"
        );
        if let Err(error) = result {
            tracing::error!(%error, "a rebalance could not be followed");
        }
    }
}

/// Properties of a consumer that Redline depends on.
pub fn consumer_config(mut config: ClientConfig, settings: &WorkSettings) -> ClientConfig {
    config
        .set("group.id", &settings.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "false")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set(
            "session.timeout.ms",
            settings.session_timeout_milliseconds.to_string(),
        )
        .set(
            "heartbeat.interval.ms",
            (settings.session_timeout_milliseconds / 4).max(100).to_string(),
        )
        .set("isolation.level", "read_committed")
        // Bounds what lies between Kafka and the batches.
        .set("queued.max.messages.kbytes", "32768")
        // The default of a second stalls a fast consumer.
        .set("fetch.queue.backoff.ms", "2")
        .set("fetch.wait.max.ms", "100")
        .set("topic.metadata.refresh.interval.ms", "10000")
        .set("allow.auto.create.topics", "false");
    config
}

/// The thread's own things.
pub struct Poller {
    consumer: BaseConsumer<Context>,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    batches: tokio::sync::mpsc::Sender<Batch<RawRecord>>,
    runtime: Handle,
    settings: WorkSettings,
    stop: CancellationToken,
    building: Building,
    paused: bool,
}

/// The batch that is being filled.
#[derive(Default)]
struct Building {
    parts: HashMap<TopicPartition, Part<RawRecord>>,
    records: usize,
    bytes: usize,
    began: Option<Instant>,
}

impl Poller {
    /// Subscribes to topics.
    ///
    /// # Errors
    /// When a property is wrong.
    #[expect(
        clippy::too_many_arguments,
        reason = "one call, each a channel or setting of its own"
    )]
    pub fn new(
        config: ClientConfig,
        topics: &[&str],
        commands: mpsc::Receiver<Command>,
        requests: tokio::sync::mpsc::UnboundedSender<Request>,
        batches: tokio::sync::mpsc::Sender<Batch<RawRecord>>,
        in_flight: Arc<InFlight>,
        settings: WorkSettings,
        runtime: Handle,
        stop: CancellationToken,
    ) -> Result<Self, KafkaError> {
        let shared = Arc::new(Shared {
            partitions: Mutex::default(),
            in_flight,
            requests,
            drain_patience: Duration::from_secs(10),
        });
        let consumer: BaseConsumer<Context> =
            consumer_config(config, &settings).create_with_context(Context(Arc::clone(&shared)))?;
        consumer.subscribe(topics)?;
        let building = Building::default();
        Ok(Self {
            consumer,
            shared,
            commands,
            batches,
            runtime,
            settings,
            stop,
            building,
            paused: false,
        })
    }

    /// Polls until it is told to stop; then lets what is in flight be recorded and leaves the group.
    pub fn run(mut self) {
        while !self.stop.is_cancelled() {
            self.obey_commands();
            self.reopen_waiting();
            self.poll();
            if self.building.is_ready(&self.settings) {
                self.hand_over();
            }
        }
        self.leave();
    }

    fn obey_commands(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Opened(assigned, next) => self.begin_seeking(assigned, next),
                Command::NotOpened(partition) => {
                    let again = Instant::now() + Duration::from_secs(self.settings.stopped_recheck_seconds);
                    if let Some(state) = self.shared.lock().get_mut(&partition) {
                        *state = State::Waiting(again);
                    }
                }
                Command::Reopen(assigned) => {
                    let partition = (assigned.ledger.topic.clone(), assigned.ledger.partition);
                    if self.is_reading(&partition, &assigned) {
                        self.reopen(partition);
                    }
                }
                Command::Recorded(parts) => self.commit(&parts),
            }
        }
        self.seek();
    }

    fn begin_seeking(&mut self, assigned: Arc<Assigned>, next: i64) {
        let partition = (assigned.ledger.topic.clone(), assigned.ledger.partition);
        match self.shared.lock().get_mut(&partition) {
            Some(state @ State::Opening) => *state = State::Seeking(assigned, next),
            // It was revoked, or assigned anew, while it was being opened.
            _ => assigned.give_up(),
        }
    }

    /// Seeks every partition that was opened. The client refuses while it is still starting to fetch.
    fn seek(&mut self) {
        let seeking: Vec<(TopicPartition, Arc<Assigned>, i64)> = self
            .shared
            .lock()
            .iter()
            .filter_map(|(partition, state)| match state {
                State::Seeking(assigned, next) => Some((partition.clone(), Arc::clone(assigned), *next)),
                _ => None,
            })
            .collect();
        for (partition, assigned, next) in seeking {
            let (topic, number) = &partition;
            match self
                .consumer
                .seek(topic, *number, Offset::Offset(next), Duration::from_secs(5))
            {
                Ok(()) => {
                    tracing::info!(topic, partition = number, offset = next, "reading goes on");
                    self.shared
                        .lock()
                        .insert(partition.clone(), State::Reading { assigned, next });
                    if !self.paused {
                        self.resume(&[partition]);
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, topic, partition = number, "the client cannot seek yet")
                }
            }
        }
    }

    fn resume(&self, partitions: &[TopicPartition]) {
        if let Err(error) = self.consumer.resume(&list_of(partitions)) {
            tracing::warn!(%error, "partitions could not be resumed");
        }
    }

    fn pause(&self, partitions: &[TopicPartition]) {
        if let Err(error) = self.consumer.pause(&list_of(partitions)) {
            tracing::warn!(%error, "partitions could not be paused");
        }
    }

    /// Whether a partition is still read under this opening of it.
    fn is_reading(&self, partition: &TopicPartition, opened: &Arc<Assigned>) -> bool {
        match self.shared.lock().get(partition) {
            Some(State::Reading { assigned, .. } | State::Seeking(assigned, _)) => {
                Arc::ptr_eq(assigned, opened)
            }
            _ => false,
        }
    }

    /// Discards what was read of a partition and opens it again.
    fn reopen(&mut self, partition: TopicPartition) {
        let mut partitions = self.shared.lock();
        let Some(state) = partitions.get_mut(&partition) else {
            return;
        };
        if let State::Reading { assigned, .. } | State::Seeking(assigned, _) = state {
            assigned.give_up();
            *state = State::Opening;
            drop(partitions);
            self.building.discard(&partition);
            self.pause(std::slice::from_ref(&partition));
            self.shared.ask(Request::Open(partition));
        }
    }

    fn reopen_waiting(&mut self) {
        let now = Instant::now();
        for (partition, state) in self.shared.lock().iter_mut() {
            if matches!(state, State::Waiting(again) if *again <= now) {
                *state = State::Opening;
                self.shared.ask(Request::Open(partition.clone()));
            }
        }
    }

    /// Tells Kafka how far recording is, as advice for those who watch the group's lag.
    fn commit(&mut self, parts: &[(Arc<Assigned>, i64)]) {
        let mut list = TopicPartitionList::new();
        for (assigned, next) in parts.iter().filter(|(assigned, _)| assigned.is_live()) {
            let Assigned { ledger, .. } = &**assigned;
            let _ = list.add_partition_offset(&ledger.topic, ledger.partition, Offset::Offset(*next));
        }
        if list.count() > 0
            && let Err(error) = self.consumer.commit(&list, CommitMode::Async)
        {
            tracing::debug!(%error, "Kafka was not told how far recording is");
        }
    }

    fn poll(&mut self) {
        /// Short enough to obey commands in time, long enough to idle cheaply.
        const PATIENCE: Duration = Duration::from_millis(10);
        /// Messages taken before commands are looked at again.
        const MOST: usize = 1_000;
        let mut patience = PATIENCE;
        for _ in 0..MOST {
            match self.consumer.poll(patience) {
                None => return,
                Some(Ok(message)) => {
                    take(&self.shared, &mut self.building, &message);
                    if self.building.is_full(&self.settings) {
                        return;
                    }
                }
                Some(Err(error)) => {
                    self.heed(&error);
                    return;
                }
            }
            patience = Duration::ZERO;
        }
    }

    /// Reading errors heal by themselves, but an offset that Kafka no longer has asks for a look at the position.
    fn heed(&mut self, error: &KafkaError) {
        let code = error.rdkafka_error_code();
        if matches!(
            code,
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)
        ) {
            let reading: Vec<TopicPartition> = self.shared.lock().keys().cloned().collect();
            tracing::warn!(%error, "Kafka no longer has an offset that was asked for; positions are looked at again");
            for partition in reading {
                self.reopen(partition);
            }
            return;
        }
        tracing::warn!(%error, "reading from Kafka");
    }

    /// Hands the batch over. While nobody takes it, the partitions are paused and polling goes on.
    fn hand_over(&mut self) {
        /// How long polling may stand still before partitions are paused: far below any session timeout.
        const PATIENCE: Duration = Duration::from_millis(500);
        let batches = self.batches.clone();
        let permit = loop {
            match self
                .runtime
                .block_on(async { tokio::time::timeout(PATIENCE, batches.reserve()).await })
            {
                Ok(Ok(permit)) => break permit,
                // The worker is ending.
                Ok(Err(_)) => return,
                Err(_) => {
                    if self.stop.is_cancelled() {
                        return;
                    }
                    self.set_paused(true);
                    self.obey_commands();
                    self.reopen_waiting();
                    self.poll();
                }
            }
        };
        let batch = self.building.finish();
        if !batch.is_empty() {
            self.shared.in_flight.began(&batch);
            permit.send(batch);
        }
        self.set_paused(false);
    }

    fn set_paused(&mut self, paused: bool) {
        if self.paused == paused {
            return;
        }
        self.paused = paused;
        let reading: Vec<TopicPartition> = self
            .shared
            .lock()
            .iter()
            .filter(|(_, state)| matches!(state, State::Reading { .. }))
            .map(|(partition, _)| partition.clone())
            .collect();
        if paused {
            tracing::info!("recording is slower than reading: partitions are paused");
            self.pause(&reading);
        } else {
            self.resume(&reading);
        }
    }

    /// Lets what is in flight be recorded, tells Kafka, and leaves the group.
    fn leave(mut self) {
        let assigned: Vec<TopicPartition> = self.shared.lock().keys().cloned().collect();
        let position_ids: Vec<i32> = self.shared.in_flight.lock().keys().copied().collect();
        self.shared
            .in_flight
            .wait_for(&position_ids, self.shared.drain_patience);
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Recorded(parts) = command {
                self.commit(&parts);
            }
        }
        self.shared.revoked(&list_of(&assigned), false);
        self.consumer.unsubscribe();
    }
}

impl Building {
    fn is_full(&self, settings: &WorkSettings) -> bool {
        self.records >= settings.batch_records || self.bytes >= settings.batch_bytes
    }

    fn is_ready(&self, settings: &WorkSettings) -> bool {
        let linger = Duration::from_millis(settings.linger_milliseconds);
        self.is_full(settings) || self.began.is_some_and(|began| began.elapsed() >= linger)
    }

    fn discard(&mut self, partition: &TopicPartition) {
        if let Some(part) = self.parts.remove(partition) {
            self.records -= part.records.len();
            self.bytes -= part.records.iter().map(RawRecord::bytes).sum::<usize>();
        }
    }

    fn finish(&mut self) -> Batch<RawRecord> {
        let building = std::mem::take(self);
        let mut batch: Batch<RawRecord> = building
            .parts
            .into_values()
            .filter(|part| part.assigned.is_live())
            .collect();
        // The same order of partitions in every transaction.
        batch.sort_by_key(|part| part.assigned.position_id);
        batch
    }
}

/// Takes one message into the batch that is being filled.
fn take(shared: &Shared, building: &mut Building, message: &BorrowedMessage<'_>) {
    let partition = (message.topic().to_owned(), message.partition());
    let mut partitions = shared.lock();
    let Some(State::Reading { assigned, next }) = partitions.get_mut(&partition) else {
        return;
    };
    let offset = message.offset();
    // Behind the position: it was on its way before the seek.
    if offset < *next {
        return;
    }
    let record = RawRecord {
        offset,
        kafka_timestamp: message.timestamp().to_millis().and_then(Timestamp::from_millis),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: message.headers().map_or_else(Vec::new, |headers| {
            headers
                .iter()
                .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                .collect()
        }),
    };
    building.records += 1;
    building.bytes += record.bytes();
    building.began.get_or_insert_with(Instant::now);
    let part = building.parts.entry(partition).or_insert_with(|| Part {
        assigned: Arc::clone(assigned),
        from: *next,
        to: *next,
        records: Vec::new(),
    });
    part.to = offset + 1;
    *next = offset + 1;
    part.records.push(record);
}
