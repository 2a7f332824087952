//! What a batch brings about, as it is handed to the transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use ethnum::I256;
use redline_domain::change::Change;
use redline_domain::entity::EntityState;
use redline_domain::finding::Ledger;
use redline_domain::natural_key::Contribution;
use redline_schemas::flag::Flag;
use redline_schemas::{ContentHash, EntityKey, Timestamp};

use crate::facts::NewFact;
use crate::outbox::Message;
use crate::quarantine::Quarantined;

/// What became of a record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Outcome {
    /// Its content is new.
    Accepted = 0,
    /// Its content was accepted before.
    Duplicate = 1,
    /// It cannot be accepted; its bytes are kept.
    Quarantined = 2,
}

impl Outcome {
    /// The word in tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Quarantined => "quarantined",
        }
    }
}

/// What became of one record, for the control totals and, later, the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordOutcome {
    /// Offset in the partition.
    pub offset: i64,
    /// What became of it.
    pub outcome: Outcome,
    /// Hash of its content; of its raw value when it could not be read.
    pub hash: ContentHash,
}

/// By what sums are kept.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SumKey {
    /// Last day of the period, or `YYYY-MM`.
    pub period: Option<String>,
    /// ISO 4217.
    pub currency: Option<String>,
    /// What became of the records.
    pub outcome: Outcome,
}

/// An exact sum, in 256 bits: no batch can overflow it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sum {
    /// Records in the sum.
    pub records: i64,
    /// Units of 10^-9.
    pub units: I256,
}

/// A contiguous range of offsets of one partition.
#[derive(Clone, Debug)]
pub struct Range {
    /// The ledger's number.
    pub position_id: i32,
    /// The partition.
    pub ledger: Arc<Ledger>,
    /// Where the position must stand.
    pub from: i64,
    /// Where it will stand.
    pub to: i64,
    /// Greatest min(event time, Kafka timestamp) accepted in the range.
    pub watermark: Option<Timestamp>,
    /// Every record of the range.
    pub records: Vec<RecordOutcome>,
    /// Sums of the range.
    pub sums: BTreeMap<SumKey, Sum>,
}

impl Range {
    /// Quarantined records behind its last good one.
    pub fn quarantined_last(&self) -> i64 {
        let last = self.records.iter().rev();
        let quarantined = last.take_while(|record| record.outcome == Outcome::Quarantined);
        i64::try_from(quarantined.count()).unwrap_or(i64::MAX)
    }

    /// Whether it has no good record.
    pub fn is_quarantined(&self) -> bool {
        let mut records = self.records.iter();
        records.all(|record| record.outcome == Outcome::Quarantined)
    }
}

/// An entity that the batch changes.
#[derive(Clone, Debug)]
pub struct EntityUpdate {
    /// What it is.
    pub key: EntityKey,
    /// Its number; none before its first record.
    pub entity: Option<i64>,
    /// The revision that was read; 0 before its first record.
    pub revision: i64,
    /// What detection will need of its past.
    pub state: EntityState,
    /// Versions whose content was accepted.
    pub accepted: Vec<AcceptedVersion>,
    /// Contents that were observed earlier than was known.
    pub observed_earlier: Vec<(i64, ContentHash, Timestamp)>,
    /// Changes to write.
    pub changes: Vec<Change>,
    /// Whether `changes` replaces all recorded changes of the entity above its horizon.
    pub derived_again: bool,
    /// The version up to which its findings are final, where it was derived again and has one.
    pub horizon: Option<i64>,
    /// New revisions of flags.
    pub flags: Vec<Flag>,
    /// What the entity contributes to state that crosses entities; where it was derived again, instead of all that is
    /// recorded of it.
    pub contributions: Vec<Contribution>,
}

/// A version whose content was accepted.
#[derive(Clone, Debug)]
pub struct AcceptedVersion {
    /// Its version.
    pub version: i64,
    /// Hash of its content.
    pub hash: ContentHash,
    /// When it was observed, as sent; rows only.
    pub observed_at: Option<Timestamp>,
    /// The least time at which its content was observed within the batch; rows only.
    pub least_observed_at: Option<Timestamp>,
    /// Canonical form of its content.
    pub content: String,
    /// The ledger's number.
    pub position_id: i32,
    /// Offset in the partition.
    pub offset: i64,
}

/// Everything that one batch brings about.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// Moves of positions, one a partition.
    pub ranges: Vec<Range>,
    /// Changed entities, sorted by key.
    pub entities: Vec<EntityUpdate>,
    /// Records that could not be accepted.
    pub quarantined: Vec<Quarantined>,
    /// What the relay has to publish.
    pub messages: Vec<Message>,
    /// The generation of facts under which all this was judged.
    pub generation: i64,
    /// Facts that are new.
    pub facts: Vec<NewFact>,
    /// Sources whose rows they touch, each from an instant on.
    pub touched: BTreeMap<String, Timestamp>,
}
