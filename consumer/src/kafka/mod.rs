//! The Kafka side of a worker: one thread owns the consumer and its state; everything else sends it messages.
//!
//! It never stops polling: a rebalance, a slow Postgres or a waiting registry must not cost the membership of the
//! group. When nobody takes its batch for a while it pauses the partitions and goes on polling.
//!
//! A partition that Kafka assigns is opened in the background: its incarnation is asked for, its position is read,
//! this worker becomes its owner. Only then is it given to the client, to be read from exactly this position.
//! Kafka's committed offsets are never read.
mod assignment;
mod building;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

pub use self::assignment::InFlight;
use self::assignment::{Context, Shared, State, list_of};
use self::building::{Building, take};
use crate::batch::{Assigned, Batch, RawRecord};
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
    /// A partition is read again from this offset, after this instant.
    Hold(Arc<Assigned>, i64, Instant),
    /// The ids that topics have now.
    TopicIds(HashMap<String, String>),
    /// Kafka answers, and for a minute it has not counted this worker among the group's members.
    NotAMember,
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
/// Properties of a consumer that Redline depends on.
pub fn consumer_config(mut config: ClientConfig, settings: &WorkSettings) -> ClientConfig {
    config
        .set("group.id", &settings.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "false")
        // Every topic is spread over all workers; cooperative-sticky only counts partitions, so that a second
        // worker may be given nothing but partitions that nobody writes to.
        .set("partition.assignment.strategy", "roundrobin")
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

fn join(
    config: &ClientConfig,
    topics: &[String],
    shared: &Arc<Shared>,
) -> Result<BaseConsumer<Context>, KafkaError> {
    let consumer: BaseConsumer<Context> = config.create_with_context(Context(Arc::clone(shared)))?;
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    consumer.subscribe(&topics)?;
    Ok(consumer)
}

/// The thread's own things.
pub struct Poller {
    config: ClientConfig,
    topics: Vec<String>,
    consumer: BaseConsumer<Context>,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    batches: tokio::sync::mpsc::Sender<Batch<RawRecord>>,
    runtime: Handle,
    settings: WorkSettings,
    stop: CancellationToken,
    building: Building,
    paused: bool,
    /// Whether partitions were opened or closed since the client was last told.
    to_be_read_changed: bool,
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
        let config = consumer_config(config, &settings);
        let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let shared = Arc::new(Shared::new(in_flight, requests));
        let consumer = join(&config, &topics, &shared)?;
        let building = Building::default();
        Ok(Self {
            config,
            topics,
            consumer,
            shared,
            commands,
            batches,
            runtime,
            settings,
            stop,
            building,
            paused: false,
            to_be_read_changed: false,
        })
    }

    /// Polls until it is told to stop; then lets what is in flight be recorded and leaves the group.
    pub fn run(mut self) {
        while !self.stop.is_cancelled() {
            self.obey();
            self.poll();
            if self.building.is_ready(&self.settings) {
                self.hand_over();
            }
        }
        self.leave();
    }

    /// Does what it was told since, and what is due; then the client reads what it shall.
    fn obey(&mut self) {
        self.obey_commands();
        self.end_waits();
        if self.to_be_read_changed {
            self.read_what_is_open();
        }
    }

    fn obey_commands(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Opened(assigned, next) => self.begin_reading(assigned, next),
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
                Command::Hold(assigned, offset, until) => self.hold(&assigned, offset, until),
                Command::TopicIds(ids) => self.reopen_made_again(&ids),
                Command::NotAMember => self.join_anew(),
                Command::Recorded(parts) => self.commit(&parts, CommitMode::Async),
            }
        }
    }

    /// Leaves the client behind that lost its group without noticing, and joins with a new one. Partitions that it
    /// still read may be somebody else's: what is in flight of them is decided by their positions.
    fn join_anew(&mut self) {
        tracing::warn!("Kafka does not count this worker among its group's members; it joins anew");
        let shared = Arc::new(self.shared.without_partitions());
        match join(&self.config, &self.topics, &shared) {
            Ok(consumer) => {
                self.shared.forget_all();
                self.shared = shared;
                self.building = Building::default();
                let lost = std::mem::replace(&mut self.consumer, consumer);
                // Closing waits for Kafka, and must not keep the new client from being polled.
                std::thread::spawn(move || drop(lost));
            }
            Err(error) => tracing::error!(%error, "the group cannot be joined anew"),
        }
    }

    fn begin_reading(&mut self, assigned: Arc<Assigned>, next: i64) {
        let (topic, partition) = (assigned.ledger.topic.clone(), assigned.ledger.partition);
        match self.shared.lock().get_mut(&(topic.clone(), partition)) {
            Some(state @ State::Opening) => {
                tracing::info!(topic, partition, offset = next, "reading goes on");
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
    fn hold(&mut self, held: &Arc<Assigned>, offset: i64, until: Instant) {
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
    fn read_what_is_open(&mut self) {
        self.to_be_read_changed = false;
        let reading = self.shared.reading();
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
    fn is_reading(&self, partition: &TopicPartition, opened: &Arc<Assigned>) -> bool {
        match self.shared.lock().get(partition) {
            Some(State::Reading { assigned, .. }) => Arc::ptr_eq(assigned, opened),
            _ => false,
        }
    }

    /// Discards what was read of a partition and opens it again, after a heartbeat: when somebody else records it,
    /// this worker may have been expelled from the group, and must learn that before it makes itself the owner.
    fn reopen(&mut self, partition: TopicPartition) {
        let heartbeat = Duration::from_millis(u64::from(self.settings.session_timeout_milliseconds) / 3);
        let mut partitions = self.shared.lock();
        let Some(state) = partitions.get_mut(&partition) else {
            return;
        };
        if let State::Reading { assigned, .. } = state {
            assigned.give_up();
            *state = State::Waiting(Instant::now() + heartbeat);
            drop(partitions);
            self.building.discard(&partition);
            self.to_be_read_changed = true;
        }
    }

    /// Opens what was read from topics that have another id now: nothing arrives from a topic that was made again
    /// and is shorter than the old one, so nothing else would tell.
    fn reopen_made_again(&mut self, ids: &HashMap<String, String>) {
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

    /// Opens partitions that waited long enough, and reads those again that were held long enough.
    fn end_waits(&mut self) {
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

    /// Tells Kafka how far recording is, as advice for those who watch the group's lag.
    fn commit(&self, parts: &[(Arc<Assigned>, i64)], mode: CommitMode) {
        let mut list = TopicPartitionList::new();
        for (assigned, next) in parts.iter().filter(|(assigned, _)| assigned.is_live()) {
            let Assigned { ledger, .. } = &**assigned;
            let _ = list.add_partition_offset(&ledger.topic, ledger.partition, Offset::Offset(*next));
        }
        if list.count() > 0
            && let Err(error) = self.consumer.commit(&list, mode)
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
                    self.obey();
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
        let reading = self.shared.reading();
        let list = list_of(reading.iter().map(|(partition, _)| partition));
        if paused {
            tracing::info!("recording is slower than reading: partitions are paused");
            self.pause(&list);
        } else {
            self.resume(&list);
        }
    }

    /// Lets what is in flight be recorded, tells Kafka, and leaves the group.
    fn leave(self) {
        let assigned: Vec<TopicPartition> = self.shared.lock().keys().cloned().collect();
        let position_ids: Vec<i32> = self.shared.in_flight.lock().keys().copied().collect();
        self.shared
            .in_flight
            .wait_for(&position_ids, self.shared.drain_patience);
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Recorded(parts) = command {
                self.commit(&parts, CommitMode::Sync);
            }
        }
        self.shared.revoked(&list_of(&assigned), false);
        self.consumer.unsubscribe();
    }
}
