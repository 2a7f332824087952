//! What a worker and a relay measure of themselves; see [`crate::survey`] for what is true of the whole installation.
//!
//! Per batch, never per record, but for one local histogram. Counters of outcomes, flags and quarantined records rise after
//! the commit that recorded them and at no other time: a batch that is discarded or tried again adds nothing.

mod recorded;
mod relay;

use std::time::Duration;

use prometheus::{Histogram, HistogramTimer, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use redline_schemas::EventKind;
use redline_schemas::topics::Topics;
use redline_store::record::Outcome;
use redline_telemetry::health::Health;
use redline_telemetry::metrics::messaging::{Operation, Operations, SYSTEM};
use redline_telemetry::metrics::{DURATIONS, Error, Meter};

pub(crate) use self::recorded::Recorded;
pub use self::relay::RelayMetrics;
pub(crate) use self::relay::Turned;
use crate::batch::{Batch, RawRecord};
use crate::decode::REASONS;

/// The kinds of flags; docs/flags.md has one heading each.
const KINDS: [&str; 10] = [
    "retroactive_change",
    "completed_row_change",
    "lock_change",
    "late_row",
    "row_deleted",
    "row_moved",
    "unauthorized_editor",
    "rule_violation",
    "reversion",
    "conflicting_version",
];
const RISKS: [&str; 3] = ["LOW", "MEDIUM", "HIGH"];
/// Upper bounds of records in a batch, and of its bytes.
const BATCH_RECORDS: [f64; 9] = [1.0, 5.0, 25.0, 100.0, 500.0, 1_000.0, 2_500.0, 5_000.0, 25_000.0];
const BATCH_BYTES: [f64; 8] = [
    1_024.0,
    8_192.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    8_388_608.0,
    33_554_432.0,
];
/// Upper bounds of the seconds from Kafka's timestamp of a record to its commit. The objective is among them.
const DELAYS: [f64; 11] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Asks for everything that a worker, a relay and a survey measure, for the reference.
///
/// # Errors
/// When a name is that of another metric.
pub fn describe(meter: &Meter) -> Result<(), Error> {
    let topics = Topics::default();
    Metrics::new(meter, "redline", &topics, 0)?;
    crate::deduplicate::failures(meter)?;
    RelayMetrics::new(meter, &Health::default(), &[])?;
    crate::survey::describe(meter, &topics)
}

/// A step of the pipeline.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stage {
    Decode,
    Deduplicate,
    Load,
    Detect,
    Record,
    Mark,
}

impl Stage {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Decode, "decode"),
        (Self::Deduplicate, "deduplicate"),
        (Self::Load, "load"),
        (Self::Detect, "detect"),
        (Self::Record, "record"),
        (Self::Mark, "mark"),
    ];
}

/// How many partitions of a worker are in which state.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) struct Partitions {
    pub(crate) opening: i64,
    pub(crate) waiting: i64,
    pub(crate) reading: i64,
    pub(crate) held: i64,
}

/// What a worker measures of itself. Clones share it.
#[derive(Clone)]
pub(crate) struct Metrics {
    group: String,
    consumed: IntCounterVec,
    operations: Operations,
    processed: HistogramVec,
    stages: [Histogram; Stage::ALL.len()],
    batch_records: Histogram,
    batch_bytes: Histogram,
    records: IntCounterVec,
    quarantined: IntCounterVec,
    flags: IntCounterVec,
    delays: HistogramVec,
    discarded: IntCounterVec,
    disturbances: IntCounter,
    failures: IntCounter,
    partitions: IntGaugeVec,
    paused: IntGauge,
    cache: Cache,
    mark_lookups: [IntCounter; 2],
    derived: IntCounter,
    derived_keys: IntCounter,
    deriving: HistogramVec,
}

#[derive(Clone)]
struct Cache {
    bytes: IntGauge,
    entities: IntGauge,
    lookups: [IntCounter; 2],
}

impl Metrics {
    /// Asks for what a worker measures.
    pub(crate) fn new(
        meter: &Meter,
        group: &str,
        topics: &Topics,
        cache_limit: usize,
    ) -> Result<Self, Error> {
        let meter = &meter.of("work");
        let stages = meter.histograms(
            "redline_stage_duration_seconds",
            "Time of one step of the pipeline for one batch: `decode`, `deduplicate` (asking Redis), `load` (what is \
             known of its entities), `detect`, `record` (the transaction), `mark` (telling Redis). A batch that is tried \
             again takes some of them again.",
            &["stage"],
            &DURATIONS,
        )?;
        let metrics = Self {
            group: group.to_owned(),
            consumed: meter.counters(
                "messaging_client_consumed_messages_total",
                "Records that Kafka delivered to this worker. Records that are read again, after a partition was opened \
                 anew, count again; `redline_records_total` counts what was recorded.",
                &[
                    "messaging_system",
                    "messaging_operation_name",
                    "messaging_consumer_group_name",
                    "messaging_destination_name",
                    "messaging_destination_partition_id",
                ],
            )?,
            operations: Operations::new(meter)?,
            processed: meter.histograms(
                "messaging_process_duration_seconds",
                "Time from a decoded batch to its end, with all attempts to record it. `error_type` is empty where it \
                 was recorded, else `discarded`.",
                &[
                    "messaging_system",
                    "messaging_operation_name",
                    "messaging_consumer_group_name",
                    "error_type",
                ],
                &DURATIONS,
            )?,
            stages: Stage::ALL.map(|(_, name)| stages.with_label_values(&[name])),
            batch_records: meter.histogram(
                "redline_batch_records",
                "Records in a batch that was read.",
                &BATCH_RECORDS,
            )?,
            batch_bytes: meter.histogram(
                "redline_batch_bytes",
                "Bytes of memory that the records of a batch that was read take, about.",
                &BATCH_BYTES,
            )?,
            records: meter.counters(
                "redline_records_total",
                "Records that were recorded in Postgres, each once, by outcome: `accepted`, `duplicate` or \
                 `quarantined`. Their sum is what was read.",
                &["messaging_destination_name", "outcome"],
            )?,
            quarantined: meter.counters(
                "redline_quarantined_records_total",
                "Records that were quarantined, by the code of the reason.",
                &["messaging_destination_name", "reason"],
            )?,
            flags: meter.counters(
                "redline_flags_total",
                "Revisions of flags that were recorded: `raised` (new), `revised` or `withdrawn`.",
                &["kind", "risk", "change"],
            )?,
            delays: meter.histograms(
                "redline_record_delay_seconds",
                "Time from a record's timestamp in Kafka, which is its producer's clock unless the topic says \
                 otherwise, to the commit that recorded it.",
                &["messaging_destination_name"],
                &DELAYS,
            )?,
            discarded: meter.counters(
                "redline_discarded_records_total",
                "Records that were read and not recorded by this worker, because their partition had another owner \
                 (`given_up`) or position (`position_moved`). Whoever owns it now records them.",
                &["reason"],
            )?,
            disturbances: meter.counter(
                "redline_disturbances_total",
                "Attempts to record a batch that were detected again because another writer came first.",
            )?,
            failures: meter.counter(
                "redline_recording_failures_total",
                "Attempts to record a batch that failed because Postgres was in trouble; they are tried again.",
            )?,
            partitions: meter.gauges(
                "redline_worker_partitions",
                "Partitions that are assigned to this worker, by state: `opening`, `waiting` (stopped, or to be opened \
                 again), `reading`, `held` (waits for a schema).",
                &["state"],
            )?,
            paused: meter.gauge(
                "redline_worker_paused",
                "1 while the worker's partitions are paused because recording is slower than reading.",
            )?,
            cache: Cache::new(meter, cache_limit)?,
            mark_lookups: both(&meter.counters(
                "redline_mark_lookups_total",
                "Contents that Redis was asked about: `hit` (seen before, which Postgres then confirms) or `miss`.",
                &["result"],
            )?),
            derived: meter.counter(
                "redline_derived_entities_total",
                "Entities that this worker judged again because of facts.",
            )?,
            derived_keys: meter.counter(
                "redline_derived_state_keys_total",
                "State keys, which several entities share, that this worker derived again.",
            )?,
            deriving: meter.histograms(
                "redline_derive_duration_seconds",
                "Time of one transaction that derives again: some entities (`entity`), or one state key (`state_key`).",
                &["kind"],
                &DURATIONS,
            )?,
        };
        metrics.expect(topics);
        Ok(metrics)
    }

    /// Makes what never happened a 0, so that its first time is seen as a rise.
    fn expect(&self, topics: &Topics) {
        for kind in EventKind::ALL {
            let topic = topics.of(kind);
            for outcome in [Outcome::Accepted, Outcome::Duplicate, Outcome::Quarantined] {
                self.records.with_label_values(&[topic, outcome.word()]);
            }
            for reason in REASONS {
                self.quarantined.with_label_values(&[topic, reason]);
            }
            self.delays.with_label_values(&[topic]);
        }
        for (kind, risk) in KINDS.iter().flat_map(|kind| RISKS.map(|risk| (*kind, risk))) {
            for change in ["raised", "revised", "withdrawn"] {
                self.flags.with_label_values(&[kind, risk, change]);
            }
        }
        for reason in ["given_up", "position_moved"] {
            self.discarded.with_label_values(&[reason]);
        }
        for kind in ["entity", "state_key"] {
            self.deriving.with_label_values(&[kind]);
        }
        self.see_partitions(Partitions::default(), false);
    }

    /// A batch was read.
    pub(crate) fn read(&self, batch: &Batch<RawRecord>, records: usize, bytes: usize) {
        for part in batch {
            let partition = part.assigned.ledger.partition.to_string();
            let topic = part.assigned.ledger.topic.as_str();
            let labels = [SYSTEM, "poll", self.group.as_str(), topic, partition.as_str()];
            self.consumed
                .with_label_values(&labels)
                .inc_by(part.records.len() as u64);
        }
        let as_float = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        self.batch_records.observe(as_float(records));
        self.batch_bytes.observe(as_float(bytes));
    }

    /// Measures a step until the answer is dropped.
    pub(crate) fn stage(&self, stage: Stage) -> HistogramTimer {
        self.stages[stage as usize].start_timer()
    }

    /// A batch came to its end.
    pub(crate) fn processed(&self, time: Duration, recorded: bool) {
        let error_type = if recorded { "" } else { "discarded" };
        self.processed
            .with_label_values(&[SYSTEM, "process", self.group.as_str(), error_type])
            .observe(time.as_secs_f64());
    }

    /// Kafka was told how far recording is.
    pub(crate) fn committed(&self, time: Duration, failed: bool) {
        let error_type = failed.then_some("commit_failed");
        self.operations.took(Operation::Commit, time, error_type);
    }

    /// Records are left to whoever owns their partition now.
    pub(crate) fn discarded(&self, reason: &str, records: usize) {
        self.discarded.with_label_values(&[reason]).inc_by(records as u64);
    }

    /// Another writer came first.
    pub(crate) fn disturbed(&self) {
        self.disturbances.inc();
    }

    /// Postgres was in trouble.
    pub(crate) fn failed(&self) {
        self.failures.inc();
    }

    /// How this worker's partitions are.
    pub(crate) fn see_partitions(&self, partitions: Partitions, paused: bool) {
        let Partitions {
            opening,
            waiting,
            reading,
            held,
        } = partitions;
        for (state, count) in [
            ("opening", opening),
            ("waiting", waiting),
            ("reading", reading),
            ("held", held),
        ] {
            self.partitions.with_label_values(&[state]).set(count);
        }
        self.paused.set(paused.into());
    }

    /// How many entities of a batch were remembered, and how many were not.
    pub(crate) fn remembered(&self, hits: usize, misses: usize) {
        count_both(&self.cache.lookups, hits, misses);
    }

    /// What is remembered now.
    pub(crate) fn see_cache(&self, entities: usize, bytes: usize) {
        self.cache.entities.set(whole(entities));
        self.cache.bytes.set(whole(bytes));
    }

    /// How many contents of a batch Redis has seen, and how many it has not.
    pub(crate) fn looked_up(&self, hits: usize, misses: usize) {
        count_both(&self.mark_lookups, hits, misses);
    }

    /// Entities were derived again.
    pub(crate) fn derived(&self, entities: usize, time: Duration) {
        self.derived.inc_by(entities as u64);
        self.deriving
            .with_label_values(&["entity"])
            .observe(time.as_secs_f64());
    }

    /// A state key was derived again.
    pub(crate) fn derived_key(&self, time: Duration) {
        self.derived_keys.inc();
        self.deriving
            .with_label_values(&["state_key"])
            .observe(time.as_secs_f64());
    }
}

impl Cache {
    fn new(meter: &Meter, limit: usize) -> Result<Self, Error> {
        meter
            .gauge(
                "redline_cache_limit_bytes",
                "Bytes of remembered entities, at most (work.cache_bytes).",
            )?
            .set(whole(limit));
        Ok(Self {
            bytes: meter.gauge("redline_cache_bytes", "Bytes of remembered entities, about.")?,
            entities: meter.gauge("redline_cache_entities", "Entities that are remembered.")?,
            lookups: both(&meter.counters(
                "redline_cache_lookups_total",
                "Entities that were looked for among the remembered ones: `hit`, or `miss` (loaded from Postgres).",
                &["result"],
            )?),
        })
    }
}

fn both(vec: &IntCounterVec) -> [IntCounter; 2] {
    ["hit", "miss"].map(|result| vec.with_label_values(&[result]))
}

fn count_both([hit, miss]: &[IntCounter; 2], hits: usize, misses: usize) {
    hit.inc_by(hits as u64);
    miss.inc_by(misses as u64);
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_flag_that_is_documented_is_shown_before_its_first_one() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/flags.md");
        let page = std::fs::read_to_string(page).unwrap();
        let documented: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(documented, KINDS);
    }

    #[test]
    fn the_stages_stand_in_the_order_of_their_numbers() {
        for (number, (stage, _)) in Stage::ALL.iter().enumerate() {
            assert_eq!(*stage as usize, number);
        }
    }
}
