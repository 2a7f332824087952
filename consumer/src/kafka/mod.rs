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
mod reading;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use redline_producer::kafka::{Callbacks, create};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

pub use self::assignment::InFlight;
use self::assignment::{Context, Shared};
pub(crate) use self::building::raw_record;
use self::building::{Building, take};
use crate::batch::{Assigned, Batch, RawRecord};
use crate::metrics::Metrics;
use crate::settings::WorkSettings;

/// Between two attempts to open a partition that Kafka or Postgres could not tell about.
const BEFORE_OPENING_AGAIN: Duration = Duration::from_secs(2);

/// A topic and a partition of it.
pub type TopicPartition = (String, i32);

/// What the rest of the worker tells the thread.
#[derive(Debug)]
pub enum Command {
    /// A partition was opened and is read from here.
    Opened(Arc<Assigned>, i64),
    /// A partition cannot be opened yet; it is tried again in a moment.
    NotOpened(TopicPartition),
    /// A partition waits for an operator; it is looked at again after a while.
    Stopped(TopicPartition),
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
    /// Give these partitions up.
    Release(Vec<Arc<Assigned>>, mpsc::Sender<()>),
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
        // Members learn of a rebalance by the next heartbeat, and all wait for the last one.
        .set(
            "heartbeat.interval.ms",
            (settings.session_timeout_milliseconds / 4)
                .clamp(100, 1_000)
                .to_string(),
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
    callbacks: &Arc<Callbacks>,
) -> Result<BaseConsumer<Context>, KafkaError> {
    let context = Context {
        shared: Arc::clone(shared),
        callbacks: Arc::clone(callbacks),
    };
    let consumer: BaseConsumer<Context> = create(config, context)?;
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    consumer.subscribe(&topics)?;
    Ok(consumer)
}

/// The thread's ends of channels.
pub struct Channels {
    /// What it is told.
    pub commands: mpsc::Receiver<Command>,
    /// What it asks.
    pub requests: tokio::sync::mpsc::UnboundedSender<Request>,
    /// What it has read.
    pub batches: tokio::sync::mpsc::Sender<Batch<RawRecord>>,
}

/// The thread's own things.
pub struct Poller {
    config: ClientConfig,
    callbacks: Arc<Callbacks>,
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
    /// When the states of partitions were shown last.
    shown: Instant,
    /// Whether partitions were opened or closed since the client was last told.
    to_be_read_changed: bool,
    /// How many partitions are read, as it was said.
    told_reading: Option<usize>,
}

impl Poller {
    /// Subscribes to topics, with a client of these properties and callbacks. Must be called within a runtime.
    ///
    /// # Errors
    /// When a property is wrong.
    pub fn new(
        (config, callbacks): (ClientConfig, Callbacks),
        topics: &[&str],
        settings: WorkSettings,
        channels: Channels,
        in_flight: Arc<InFlight>,
        metrics: Metrics,
        stop: CancellationToken,
    ) -> Result<Self, KafkaError> {
        let config = consumer_config(config, &settings);
        let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let shared = Arc::new(Shared::new(in_flight, channels.requests, metrics));
        let callbacks = Arc::new(callbacks);
        let consumer = join(&config, &topics, &shared, &callbacks)?;
        let building = Building::default();
        Ok(Self {
            config,
            callbacks,
            topics,
            consumer,
            shared,
            commands: channels.commands,
            batches: channels.batches,
            runtime: Handle::current(),
            settings,
            stop,
            building,
            paused: false,
            shown: Instant::now(),
            to_be_read_changed: false,
            told_reading: None,
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
        self.callbacks.find_brokers(self.consumer.client());
        if self.to_be_read_changed {
            self.read_what_is_open();
        }
        self.show();
    }

    /// Shows how its partitions are, at most once a second.
    fn show(&mut self) {
        const PAUSE: Duration = Duration::from_secs(1);
        if self.shown.elapsed() >= PAUSE {
            self.shown = Instant::now();
            let metrics = &self.shared.metrics;
            metrics.see_partitions(self.shared.counted(), self.paused);
        }
    }

    fn obey_commands(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Opened(assigned, next) => self.begin_reading(assigned, next),
                Command::NotOpened(partition) => self.wait(&partition, BEFORE_OPENING_AGAIN),
                Command::Stopped(partition) => {
                    let recheck = Duration::from_secs(self.settings.stopped_recheck_seconds);
                    self.wait(&partition, recheck);
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
                Command::Recorded(mut parts) => {
                    parts.retain(|(assigned, _)| assigned.is_live());
                    commit(&self.consumer, &self.shared, &parts, CommitMode::Async);
                }
            }
        }
    }

    /// Leaves the client behind that lost its group without noticing, and joins with a new one. Partitions that it
    /// still read may be somebody else's: what is in flight of them is decided by their positions.
    fn join_anew(&mut self) {
        tracing::warn!("Kafka does not count this worker among its group's members; it joins anew");
        let shared = Arc::new(self.shared.without_partitions());
        match join(&self.config, &self.topics, &shared, &self.callbacks) {
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

    fn poll(&mut self) {
        /// Short enough to obey commands in time, long enough to idle cheaply.
        const PATIENCE: Duration = Duration::from_millis(50);
        /// The same while a batch waits for more records.
        const BRIEFLY: Duration = Duration::from_millis(10);
        /// Messages taken before commands are looked at again.
        const MOST: usize = 1_000;
        let mut patience = match self.building.is_empty() {
            true => PATIENCE,
            false => BRIEFLY,
        };
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
        let (records, bytes) = self.building.size();
        let batch = self.building.finish();
        if !batch.is_empty() {
            self.shared.metrics.read(&batch, records, bytes);
            self.shared.in_flight.began(&batch);
            permit.send(batch);
        }
        self.set_paused(false);
    }

    /// Lets what is in flight be recorded, tells Kafka, and leaves the group. A client whose Kafka went away may wait
    /// for an answer without end: it is left to itself, and the group finds it missing after its session timeout.
    fn leave(self) {
        /// From the end of reading until the client is left to itself.
        const PATIENCE: Duration = Duration::from_secs(7);
        /// What of it the client has at least, also after what was in flight took it all.
        const AT_LEAST: Duration = Duration::from_secs(3);
        let began = Instant::now();
        let position_ids: Vec<i32> = self.shared.in_flight.lock().keys().copied().collect();
        self.shared
            .in_flight
            .wait_for(&position_ids, self.shared.drain_patience);
        let mut recorded = Vec::new();
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Recorded(parts) = command {
                recorded.extend(parts.into_iter().filter(|(assigned, _)| assigned.is_live()));
            }
        }
        self.shared.release_all();
        let patience = PATIENCE.saturating_sub(began.elapsed()).max(AT_LEAST);
        let (has_left, left) = mpsc::channel();
        let (consumer, shared) = (self.consumer, self.shared);
        std::thread::spawn(move || {
            commit(&consumer, &shared, &recorded, CommitMode::Sync);
            consumer.unsubscribe();
            drop(consumer);
            let _ = has_left.send(());
        });
        if left.recv_timeout(patience).is_err() {
            tracing::warn!(
                seconds = patience.as_secs(),
                "Kafka's client did not leave its group in time; the group waits for its session timeout"
            );
        }
    }
}

fn commit(
    consumer: &BaseConsumer<Context>,
    shared: &Shared,
    parts: &[(Arc<Assigned>, i64)],
    mode: CommitMode,
) {
    let mut list = TopicPartitionList::new();
    for (assigned, next) in parts {
        let Assigned { ledger, .. } = &**assigned;
        let _ = list.add_partition_offset(&ledger.topic, ledger.partition, Offset::Offset(*next));
    }
    if list.count() == 0 {
        return;
    }
    shared.telling();
    if let Err(error) = consumer.commit(&list, mode) {
        shared.was_told(true);
        tracing::debug!(%error, "Kafka was not told how far recording is");
    }
}
