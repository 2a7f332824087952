//! Recording: one task owns the connection to Postgres. For each batch it asks Redis for hints, loads what is
//! known, detects, and records everything in one transaction; then it marks, and tells the Kafka side.
//!
//! A batch is tried until it is recorded or no longer ours. What an error means is decided by its class: another
//! writer changed an entity, then detect again; the position moved, then the batch is discarded and the partition
//! opened again; Postgres is in trouble, then wait, reconnect and try again; anything else stops the worker.

mod attempt;
mod partitions;
mod recording;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use redline_schemas::ContentHash;
use redline_store::positions::{self, KafkaPartition};
use redline_store::sqlx::PgConnection;
use redline_store::{Class, StoreError, recording_connection};
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use uuid::Uuid;

pub(crate) use self::recording::{ORIGINAL_PREFIX, REASON_HEADER, flag_messages};
use crate::batch::{Assigned, Batch, Body, Decoded, Part};
use crate::cache::EntityCache;
use crate::deduplicate::Marks;
use crate::detect::sightings;
use crate::facts::Facts;
use crate::kafka::{Command, InFlight, TopicPartition};
use crate::metrics::{Metrics, Stage};
use crate::settings::WorkSettings;
use crate::traces::{BatchTraces, Outcome, asking};

/// Why recording ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Postgres or the record in it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A flag could not be encoded.
    #[error("a flag does not follow its schema: {0}")]
    Encode(String),
    /// Detecting a batch again and again did not help.
    #[error("a batch was detected {0} times and each time an entity had changed meanwhile")]
    NeverUndisturbed(u32),
}

/// What others ask of the one who owns the connection.
#[derive(Debug)]
pub enum Errand {
    /// Open a partition as Kafka has it now, and tell the Kafka side.
    Open(KafkaPartition),
    /// Give partitions up, and say when it is done.
    Release(Vec<Arc<Assigned>>, Sender<()>),
}

/// Where flags and quarantined records go, and what flags are encoded under.
#[derive(Clone, Debug)]
pub struct Destinations {
    /// Topic of flags.
    pub flagged: String,
    /// Topic of quarantined records.
    pub quarantine: String,
    /// Schema id of flags.
    pub flag_schema_id: u32,
}

/// How the recorder hears and is heard.
#[derive(Clone)]
pub struct Links {
    /// To the Kafka side.
    pub commands: Sender<Command>,
    /// Batches that are not settled yet.
    pub in_flight: Arc<InFlight>,
    /// Cancelled when the worker is to stop.
    pub stop: CancellationToken,
}

/// How long a new connection may take to be made the owner of what the old one owned.
const RECLAIM_LIMIT: Duration = Duration::from_secs(10);

/// The one who records.
pub struct Recorder<M> {
    database_url: String,
    settings: WorkSettings,
    owner: Uuid,
    connection: Option<PgConnection>,
    marks: M,
    cache: EntityCache,
    facts: Facts,
    /// Whether facts were recorded that are not known here; at first, and after a batch was judged under older ones.
    facts_are_old: bool,
    destinations: Destinations,
    topics: redline_schemas::topics::Topics,
    links: Links,
    metrics: Metrics,
    /// Why partitions are stopped, as far as it was said.
    told_stopped: HashMap<TopicPartition, String>,
}

impl<M: Marks> Recorder<M> {
    /// A recorder that is not connected yet.
    pub fn new(
        database_url: String,
        settings: WorkSettings,
        marks: M,
        destinations: Destinations,
        topics: redline_schemas::topics::Topics,
        links: Links,
        metrics: Metrics,
    ) -> Self {
        Self {
            cache: EntityCache::new(settings.cache_bytes),
            owner: Uuid::new_v4(),
            connection: None,
            told_stopped: HashMap::new(),
            database_url,
            settings,
            marks,
            facts: Facts::default(),
            facts_are_old: true,
            destinations,
            topics,
            links,
            metrics,
        }
    }

    /// Records batches and runs errands until both channels are closed.
    ///
    /// # Errors
    /// What somebody has to mend.
    pub async fn run(
        mut self,
        mut batches: Receiver<(Batch<Decoded>, BatchTraces)>,
        mut errands: Receiver<Errand>,
    ) -> Result<(), RecordError> {
        loop {
            tokio::select! {
                // Errands first: partitions wait for them, and they are short.
                biased;
                Some(errand) = errands.recv() => self.run_errand(errand).await?,
                Some((batch, traces)) = batches.recv() => {
                    let span = traces.span().clone();
                    self.settle(batch, traces).instrument(span).await?;
                }
                else => break,
            }
        }
        self.release_all().await;
        Ok(())
    }

    /// The connection, made anew where it was lost. Waits for a Postgres that is away, until told to stop.
    async fn connect(&mut self) -> Result<&mut PgConnection, StoreError> {
        if self.connection.is_none() {
            let url = &self.database_url;
            let mut connection = recording_connection(url, "work", self.settings.timeouts()).await?;
            let reclaimed = positions::reclaim(&mut connection, self.owner);
            match tokio::time::timeout(RECLAIM_LIMIT, reclaimed).await {
                Ok(reclaimed) => reclaimed?,
                Err(_) => return Err(StoreError::Silent),
            };
            self.connection = Some(connection);
        }
        self.connection
            .as_mut()
            .ok_or_else(|| StoreError::Refused("no connection".to_owned()))
    }

    /// Records a batch, or finds that it is not ours any more.
    async fn settle(&mut self, mut batch: Batch<Decoded>, traces: BatchTraces) -> Result<(), RecordError> {
        let position_ids: Vec<i32> = batch.iter().map(|part| part.assigned.position_id).collect();
        let began = Instant::now();
        let result = self.record_until_settled(&mut batch, &traces).await;
        let outcome = match &result {
            Ok(outcome) => *outcome,
            Err(_) => Outcome::Discarded,
        };
        self.metrics
            .processed(began.elapsed(), outcome == Outcome::Recorded);
        let (entities, bytes) = self.cache.size();
        self.metrics.see_cache(entities, bytes);
        traces.end(outcome, &batch);
        self.links.in_flight.ended(position_ids.into_iter());
        result.map(|_| ())
    }

    async fn record_until_settled(
        &mut self,
        batch: &mut Batch<Decoded>,
        traces: &BatchTraces,
    ) -> Result<Outcome, RecordError> {
        const LONGEST_PAUSE: Duration = Duration::from_secs(5);
        /// After so many disturbances the batch's entities are locked before they are read: whoever derives long
        /// histories would otherwise never be faster than one who only adds to them.
        const UNDISTURBED_AFTER: u32 = 2;
        const MOST_DISTURBANCES: u32 = 1_000;
        let hints = self.hints(batch).instrument(asking("redis", "deduplicate")).await;
        #[cfg(feature = "break-marks")]
        self.marks.mark(&hashes(batch)).await;
        let mut pause = Duration::from_millis(50);
        let mut disturbances = 0;
        loop {
            self.keep_live(batch);
            if batch.is_empty() {
                return Ok(Outcome::Discarded);
            }
            match self
                .attempt_in_time(batch, &hints, traces, disturbances >= UNDISTURBED_AFTER)
                .await
            {
                Ok(attempted) => {
                    self.metrics.recorded(&attempted.recorded);
                    self.metrics.delayed(batch);
                    self.recorded(batch).await;
                    self.stop_where_all_is_quarantined(batch, &attempted.quarantined_in_a_row);
                    return Ok(Outcome::Recorded);
                }
                Err(RecordError::Store(StoreError::PositionMoved)) => {
                    tracing::warn!("a position has moved since its batch was read; the batch is discarded");
                    self.cache.clear();
                    self.reopen(batch.iter());
                    self.metrics.discarded("position_moved", records_of(batch));
                    return Ok(Outcome::Discarded);
                }
                Err(RecordError::Store(error)) if error.is_disturbance() => {
                    disturbances += 1;
                    self.metrics.disturbed();
                    self.facts_are_old = true;
                    if disturbances >= MOST_DISTURBANCES {
                        return Err(RecordError::NeverUndisturbed(disturbances));
                    }
                    self.forget(batch);
                    // Two writers of the same entities part ways sooner when they do not run in step.
                    tokio::time::sleep(Duration::from_millis(u64::from(disturbances.min(20)))).await;
                }
                Err(RecordError::Store(error)) if error.class() == Class::TryAgain => {
                    tracing::warn!(%error, "recording is tried again");
                    self.metrics.failed();
                    self.connection = None;
                    self.forget(batch);
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        // What cannot be recorded now is read again by the next worker.
                        () = self.links.stop.cancelled() => return Ok(Outcome::Discarded),
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Keeps what may still be recorded.
    fn keep_live(&self, batch: &mut Batch<Decoded>) {
        let before = records_of(batch);
        batch.retain(|part| part.assigned.is_live());
        let lost = before - records_of(batch);
        if lost > 0 {
            self.metrics.discarded("given_up", lost);
        }
    }

    /// The contents of the batch that Redis has seen.
    async fn hints(&mut self, batch: &Batch<Decoded>) -> HashSet<ContentHash> {
        let _stage = self.metrics.stage(Stage::Deduplicate);
        let hashes = hashes(batch);
        let seen = self.marks.seen(&hashes).await;
        let hits = seen.iter().filter(|seen| **seen).count();
        self.metrics.looked_up(hits, seen.len() - hits);
        hashes
            .into_iter()
            .zip(seen)
            .filter(|(_, seen)| *seen)
            .map(|(hash, _)| hash)
            .collect()
    }

    fn reopen<'p>(&self, parts: impl IntoIterator<Item = &'p Part<Decoded>>) {
        for part in parts {
            part.assigned.give_up();
            let _ = self
                .links
                .commands
                .send(Command::Reopen(Arc::clone(&part.assigned)));
        }
    }

    /// Gives up partitions that had too many quarantined records in a row; when they are opened again, they are stopped.
    fn stop_where_all_is_quarantined(&self, batch: &Batch<Decoded>, in_a_row: &HashMap<i32, i64>) {
        let most = i64::from(self.settings.most_quarantined_in_a_row);
        let too_many = |part: &&Part<Decoded>| {
            let in_a_row = in_a_row.get(&part.assigned.position_id);
            most > 0 && in_a_row.is_some_and(|in_a_row| *in_a_row >= most)
        };
        self.reopen(batch.iter().filter(too_many));
    }

    fn forget(&mut self, batch: &Batch<Decoded>) {
        for part in batch {
            for record in &part.records {
                if let Body::Event(sighting) = &record.body {
                    let _ = self.cache.take(&sighting.key);
                }
            }
        }
    }

    /// After the commit: mark, and tell Kafka how far recording is.
    async fn recorded(&mut self, batch: &Batch<Decoded>) {
        let recorded = batch
            .iter()
            .map(|part| (Arc::clone(&part.assigned), part.to))
            .collect();
        let _ = self.links.commands.send(Command::Recorded(recorded));
        let _stage = self.metrics.stage(Stage::Mark);
        self.marks
            .mark(&hashes(batch))
            .instrument(asking("redis", "mark"))
            .await;
    }
}

/// The number of a batch's records.
fn records_of(batch: &Batch<Decoded>) -> usize {
    batch.iter().map(|part| part.records.len()).sum()
}

/// The contents of a batch, in order.
fn hashes(batch: &Batch<Decoded>) -> Vec<ContentHash> {
    sightings(batch).map(|(_, sighting)| sighting.hash).collect()
}
