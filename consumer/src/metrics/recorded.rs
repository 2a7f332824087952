//! What a transaction recorded, counted before its commit and added after it.

use std::collections::BTreeMap;
use std::time::Duration;

use redline_schemas::Timestamp;
use redline_store::record::{Outcome, Recording};

use super::Metrics;
use crate::batch::{Batch, Decoded};

/// What a transaction recorded.
#[derive(Default, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    records: BTreeMap<(String, &'static str), u64>,
    quarantined: BTreeMap<(String, &'static str), u64>,
    flags: BTreeMap<(String, String, &'static str), u64>,
}

impl Recorded {
    /// Counts.
    pub(crate) fn of(recording: &Recording) -> Self {
        let mut recorded = Self::default();
        for range in &recording.ranges {
            let mut outcomes = [0; 3];
            for record in &range.records {
                outcomes[record.outcome as usize] += 1;
            }
            for outcome in [Outcome::Accepted, Outcome::Duplicate, Outcome::Quarantined] {
                let key = (range.ledger.topic.clone(), outcome.word());
                *recorded.records.entry(key).or_insert(0) += outcomes[outcome as usize];
            }
        }
        for record in &recording.quarantined {
            let key = (record.ledger.topic.clone(), record.reason);
            *recorded.quarantined.entry(key).or_insert(0) += 1;
        }
        recorded.add_flags(recording.entities.iter().flat_map(|update| &update.flags));
        recorded
    }

    /// Counts revisions of flags that were derived again.
    pub(crate) fn of_flags<'f>(flags: impl Iterator<Item = &'f redline_schemas::flag::Flag>) -> Self {
        let mut recorded = Self::default();
        recorded.add_flags(flags);
        recorded
    }

    fn add_flags<'f>(&mut self, flags: impl Iterator<Item = &'f redline_schemas::flag::Flag>) {
        for flag in flags {
            let change = match (flag.status.as_str(), flag.revision) {
                ("withdrawn", _) => "withdrawn",
                (_, 1) => "raised",
                _ => "revised",
            };
            let key = (flag.kind.clone(), flag.risk.clone(), change);
            *self.flags.entry(key).or_insert(0) += 1;
        }
    }
}

impl Metrics {
    /// A transaction was committed.
    pub(crate) fn recorded(&self, recorded: &Recorded) {
        for ((topic, outcome), count) in &recorded.records {
            self.records
                .with_label_values(&[topic.as_str(), outcome])
                .inc_by(*count);
        }
        for ((topic, reason), count) in &recorded.quarantined {
            self.quarantined
                .with_label_values(&[topic.as_str(), reason])
                .inc_by(*count);
        }
        for ((kind, risk, change), count) in &recorded.flags {
            self.flags
                .with_label_values(&[kind.as_str(), risk, change])
                .inc_by(*count);
        }
    }

    /// How long the records of a batch, which is recorded now, were on their way.
    pub(crate) fn delayed(&self, batch: &Batch<Decoded>) {
        let now = Timestamp::now().micros();
        for part in batch {
            let delays = self
                .delays
                .with_label_values(&[part.assigned.ledger.topic.as_str()])
                .local();
            for record in &part.records {
                let Some(then) = record.kafka_timestamp else {
                    continue;
                };
                // A producer whose clock is ahead makes no negative time.
                let micros = u64::try_from(now - then.micros()).unwrap_or(0);
                delays.observe(Duration::from_micros(micros).as_secs_f64());
            }
        }
    }
}
