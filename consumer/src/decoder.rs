//! Decodes batches while the one before is recorded.
//!
//! A record whose schema is not known yet holds up its own partition only: what precedes it goes on, and the partition
//! is read again from there a moment later. A registry that is away is waited for so without end; an id that it does
//! not know only as long as the partition's patience lasts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use redline_schemas::registry::SchemaRegistry;
use tokio::sync::mpsc as channels;
use tracing::Instrument as _;

use crate::batch::{Assigned, Batch, Decoded, Part, RawRecord};
use crate::cluster::Cluster;
use crate::decode::{decode, is_retried, schema_id, schema_ids};
use crate::kafka::{Command, InFlight};
use crate::metrics::{Metrics, Stage};
use crate::patience::Patience;
use crate::traces::{BatchTraces, step};
use crate::writers::{SchemaId, Unknown, WriterSchemas};

/// Pause before a service that is away is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// The one who decodes.
pub(crate) struct Decoder<R> {
    writers: WriterSchemas<R>,
    cluster: Cluster,
    commands: mpsc::Sender<Command>,
    in_flight: Arc<InFlight>,
    metrics: Metrics,
    patience: Patience,
    /// The consumer group.
    group: String,
    /// Partitions that were held up, and where each is read again, by the numbers of their positions.
    held: HashMap<i32, (Arc<Assigned>, i64)>,
}

impl<R: SchemaRegistry + Send + Sync + 'static> Decoder<R> {
    /// A decoder that knows no schema yet.
    pub(crate) fn new(
        writers: WriterSchemas<R>,
        cluster: Cluster,
        commands: mpsc::Sender<Command>,
        in_flight: Arc<InFlight>,
        metrics: Metrics,
        group: String,
    ) -> Self {
        Self {
            writers,
            cluster,
            commands,
            in_flight,
            metrics,
            patience: Patience::default(),
            group,
            held: HashMap::new(),
        }
    }

    /// Decodes until one of the channels is closed.
    pub(crate) async fn run(
        mut self,
        mut raw: channels::Receiver<Batch<RawRecord>>,
        decoded: channels::Sender<(Batch<Decoded>, BatchTraces)>,
    ) {
        while let Some(mut batch) = raw.recv().await {
            let position_ids: Vec<i32> = batch.iter().map(|part| part.assigned.position_id).collect();
            batch.retain(|part| self.continues(part));
            self.keep_known_incarnations(&mut batch).await;
            self.hold_up(&mut batch).await;
            let known = self.writers.known().clone();
            let traces = BatchTraces::begin(&batch, &self.group);
            let step = traces.span().in_scope(|| step("decode"));
            // Decoding is computation: it must not hold up the tasks beside it.
            let stage = self.metrics.stage(Stage::Decode);
            let decoding = tokio::task::spawn_blocking(move || decode(batch, &known)).instrument(step);
            let Ok(batch) = decoding.await else {
                return;
            };
            drop(stage);
            let kept: Vec<i32> = batch.iter().map(|part| part.assigned.position_id).collect();
            self.in_flight
                .ended(position_ids.into_iter().filter(|id| !kept.contains(id)));
            if !batch.is_empty() && decoded.send((batch, traces)).await.is_err() {
                return;
            }
        }
    }

    /// Whether a part is not one that was already on its way when its partition was held up before it.
    fn continues(&mut self, part: &Part<RawRecord>) -> bool {
        let position_id = part.assigned.position_id;
        let continues = match self.held.get(&position_id) {
            Some((assigned, offset)) => *offset == part.from || !Arc::ptr_eq(assigned, &part.assigned),
            None => true,
        };
        if continues {
            self.held.remove(&position_id);
        }
        continues
    }

    /// Discards what was fetched from a topic that has another id than when its partition was opened. Asks after the
    /// batch was fetched, so that nothing of a topic that was made again is recorded under the old one's name.
    async fn keep_known_incarnations(&self, batch: &mut Batch<RawRecord>) {
        let topics: BTreeSet<String> = batch
            .iter()
            .map(|part| part.assigned.ledger.topic.clone())
            .collect();
        if topics.is_empty() {
            return;
        }
        let ids = loop {
            match self.cluster.topic_ids(topics.iter().cloned().collect()).await {
                Ok(ids) => break ids,
                Err(error) => tracing::warn!(%error, "waiting for Kafka"),
            }
            if batch.iter().all(|part| !part.assigned.is_live()) {
                batch.clear();
                return;
            }
            tokio::time::sleep(PAUSE).await;
        };
        batch.retain(|part| {
            let is_same = ids.get(&part.assigned.ledger.topic) == Some(&part.assigned.topic_id);
            if !is_same {
                part.assigned.give_up();
                let _ = self.commands.send(Command::Reopen(Arc::clone(&part.assigned)));
            }
            is_same
        });
    }

    /// Learns the schemas of a batch. A part of it ends before its first record whose schema is to be waited for.
    async fn hold_up(&mut self, batch: &mut Batch<RawRecord>) {
        self.writers.forget_misses(&schema_ids(batch, is_retried));
        let unknown = self.writers.learn(&schema_ids(batch, |_| true)).await;
        if unknown.is_empty() {
            for part in batch.iter() {
                self.patience.end(part.assigned.position_id);
            }
            return;
        }
        let mut missed = BTreeSet::new();
        for part in batch.iter_mut() {
            match self.wait_or_miss(part, &unknown) {
                Wait::Nothing => {}
                Wait::From(first) => self.end_before(part, first),
                Wait::NoLonger(ids) => missed.extend(ids),
            }
        }
        if !missed.is_empty() {
            tracing::warn!(
                ?missed,
                "the registry does not know these schema ids; their records are quarantined"
            );
            self.writers.miss(&missed);
        }
        batch.retain(|part| part.to > part.from);
    }

    fn wait_or_miss(&mut self, part: &Part<RawRecord>, unknown: &BTreeMap<SchemaId, Unknown>) -> Wait {
        let position_id = part.assigned.position_id;
        let kind = part.assigned.kind;
        let lacking: Vec<(usize, SchemaId)> = part
            .records
            .iter()
            .enumerate()
            .filter_map(|(index, record)| Some((index, schema_id(record, kind)?)))
            .filter(|(_, id)| unknown.contains_key(id))
            .collect();
        let Some((first, _)) = lacking.first() else {
            self.patience.end(position_id);
            return Wait::Nothing;
        };
        if lacking.iter().any(|(_, id)| unknown[id] == Unknown::Away) {
            // Only waiting for an id that the registry denies is counted.
            self.patience.end(position_id);
            return Wait::From(*first);
        }
        if self.patience.may_wait(position_id) {
            return Wait::From(*first);
        }
        Wait::NoLonger(lacking.into_iter().map(|(_, id)| id).collect())
    }

    /// Ends a part before one of its records, and has the partition read again from there.
    fn end_before(&mut self, part: &mut Part<RawRecord>, first: usize) {
        part.to = match first {
            0 => part.from,
            _ => part.records.get(first).map_or(part.to, |record| record.offset),
        };
        part.records.truncate(first);
        let assigned = &part.assigned;
        self.held
            .insert(assigned.position_id, (Arc::clone(assigned), part.to));
        let until = Instant::now() + PAUSE;
        let _ = self
            .commands
            .send(Command::Hold(Arc::clone(assigned), part.to, until));
    }
}

/// What is to be done about schemas that a part lacks.
enum Wait {
    /// It lacks none.
    Nothing,
    /// Wait from this record on.
    From(usize),
    /// These were waited for long enough.
    NoLonger(Vec<SchemaId>),
}
