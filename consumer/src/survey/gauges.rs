//! The figures of the whole installation, shown by one process of it.

use std::collections::HashMap;
use std::time::Duration;

use prometheus::{Gauge, GaugeVec, IntGaugeVec};
use redline_schemas::topics::Topics;
use redline_schemas::{EventKind, Timestamp};
use redline_store::positions::StopReason;
use redline_store::survey::{Installation, Waiting};
use redline_telemetry::metrics::{Error, Meter};

use super::lag::Behind;
use crate::decode::REASONS;

const PARTITION: [&str; 3] = [
    "messaging_consumer_group_name",
    "messaging_destination_name",
    "messaging_destination_partition_id",
];

/// The figures.
pub(super) struct Gauges {
    group: String,
    topics: Topics,
    lag_records: IntGaugeVec,
    lag_seconds: GaugeVec,
    partitions: IntGaugeVec,
    stopped: IntGaugeVec,
    outbox: IntGaugeVec,
    outbox_age: GaugeVec,
    dirty: IntGaugeVec,
    dirty_age: GaugeVec,
    quarantined: IntGaugeVec,
    looked: Gauge,
    /// Whether this process ever showed them: only then are they its own to take away.
    shown: bool,
}

impl Gauges {
    pub(super) fn new(meter: &Meter, group: &str, topics: &Topics) -> Result<Self, Error> {
        let meter = &meter.of("one of work, relay and serve");
        Ok(Self {
            group: group.to_owned(),
            topics: topics.clone(),
            lag_records: meter.gauges(
                "redline_lag_records",
                "Offsets of a partition, also of one that no worker reads, that Kafka has and Postgres has not recorded. \
                 Marks of transactions count among them.",
                &PARTITION,
            )?,
            lag_seconds: meter.seconds(
                "redline_lag_seconds",
                "Age of the oldest record of a partition that is not recorded, by its timestamp in Kafka; 0 where all \
                 are. It grows while a partition stands still.",
                &PARTITION,
            )?,
            partitions: meter.gauges(
                "redline_partitions",
                "Partitions of an input topic.",
                &["messaging_destination_name"],
            )?,
            stopped: meter.gauges(
                "redline_stopped_partitions",
                "Partitions that wait for an operator, by reason; see `redline position list`.",
                &["messaging_destination_name", "reason"],
            )?,
            outbox: meter.gauges("redline_outbox_messages", "Messages that wait for the relay.", &[])?,
            outbox_age: meter.seconds(
                "redline_outbox_age_seconds",
                "Age of the oldest message that waits for the relay; 0 where none does.",
                &[],
            )?,
            dirty: meter.gauges(
                "redline_dirty_keys",
                "What has to be derived again because of facts or other rows: entities (`entity`), and state keys that \
                 several of them share (`state_key`).",
                &["kind"],
            )?,
            dirty_age: meter.seconds(
                "redline_dirty_age_seconds",
                "Since when the oldest of them is to be derived again; 0 where none is.",
                &["kind"],
            )?,
            quarantined: meter.gauges(
                "redline_quarantine_open_records",
                "Quarantined records that were neither retried nor discarded, by the code of the reason.",
                &["reason"],
            )?,
            looked: meter.second(
                "redline_survey_timestamp_seconds",
                "When this process last read the figures of the whole installation; 0 where it stands by. The greatest \
                 one counts.",
            )?,
            shown: false,
        })
    }

    /// What Postgres says.
    pub(super) fn see(&mut self, installation: &Installation) {
        self.shown = true;
        let reasons = [
            StopReason::UnknownIncarnation,
            StopReason::LogStartPastPosition,
            StopReason::PositionPastLogEnd,
        ];
        self.stopped.reset();
        for kind in EventKind::ALL {
            for reason in reasons {
                let labels = [self.topics.of(kind), reason.code()];
                self.stopped.with_label_values(&labels).set(0);
            }
        }
        for (topic, reason, count) in &installation.stopped {
            self.stopped.with_label_values(&[topic, reason]).set(*count);
        }
        self.quarantined.reset();
        for reason in REASONS {
            self.quarantined.with_label_values(&[reason]).set(0);
        }
        for (reason, count) in &installation.quarantined {
            self.quarantined.with_label_values(&[reason]).set(*count);
        }
        see_waiting(&self.outbox, &self.outbox_age, &[], installation.outbox);
        for (kind, waiting) in [
            ("entity", installation.dirty_entities),
            ("state_key", installation.dirty_state_keys),
        ] {
            see_waiting(&self.dirty, &self.dirty_age, &[kind], waiting);
        }
    }

    /// How far recording is behind, and since when the oldest record of each partition waits.
    pub(super) fn see_lag(&self, behind: &[Behind], since: &HashMap<(String, i32), Timestamp>) {
        self.lag_records.reset();
        self.lag_seconds.reset();
        let mut partitions: HashMap<&str, i64> = HashMap::new();
        let now = Timestamp::now();
        for one in behind {
            *partitions.entry(one.topic.as_str()).or_insert(0) += 1;
            let partition = one.partition.to_string();
            let labels = [self.group.as_str(), one.topic.as_str(), partition.as_str()];
            self.lag_records.with_label_values(&labels).set(one.offsets());
            let since = since.get(&(one.topic.clone(), one.partition));
            let micros = since.map_or(0, |since| now.micros() - since.micros());
            let age = Duration::from_micros(u64::try_from(micros).unwrap_or(0));
            self.lag_seconds.with_label_values(&labels).set(age.as_secs_f64());
        }
        for (topic, count) in partitions {
            self.partitions.with_label_values(&[topic]).set(count);
        }
    }

    /// Everything was read.
    pub(super) fn looked(&self) {
        let micros = u64::try_from(Timestamp::now().micros()).unwrap_or(0);
        self.looked.set(Duration::from_micros(micros).as_secs_f64());
    }

    /// Shows nothing any more, but when it was last known.
    pub(super) fn clear(&mut self) {
        if !std::mem::take(&mut self.shown) {
            return;
        }
        for vec in [
            &self.lag_records,
            &self.partitions,
            &self.stopped,
            &self.outbox,
            &self.dirty,
            &self.quarantined,
        ] {
            vec.reset();
        }
        for vec in [&self.lag_seconds, &self.outbox_age, &self.dirty_age] {
            vec.reset();
        }
    }
}

fn see_waiting(counts: &IntGaugeVec, ages: &GaugeVec, labels: &[&str], waiting: Waiting) {
    counts.with_label_values(labels).set(waiting.count);
    ages.with_label_values(labels).set(waiting.age.as_secs_f64());
}
