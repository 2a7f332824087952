//! Flags: what each rule compares, and the sentence for a person.
//!
//! [`changes`] are about one tracked column, [`versions`] about a row version as a whole, [`moves`] about natural keys.

mod changes;
mod moves;
mod versions;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use redline_schemas::flag::{Flag, Position, flag_id};
use redline_schemas::row::RowEvent;
use redline_schemas::{Date, Timestamp};

use self::words::{days, long_date};
use crate::change::Timing;
use crate::period::{days_late, earlier_end, local_date};
use crate::rules::SourceRules;

/// A partition of one incarnation of a topic.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ledger {
    /// Topic name.
    pub topic: String,
    /// Topic id.
    pub incarnation: String,
    /// Partition, from 0.
    pub partition: i32,
}

/// Where a version was accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The partition.
    pub ledger: Arc<Ledger>,
    /// The offset in it.
    pub offset: i64,
}

impl Place {
    fn position(&self) -> Position {
        Position {
            topic: self.ledger.topic.clone(),
            incarnation: self.ledger.incarnation.clone(),
            partition: self.ledger.partition,
            offset: self.offset,
        }
    }
}

/// What flags of one row version have in common.
pub(crate) struct Subject<'a> {
    pub(crate) before: Option<&'a RowEvent>,
    pub(crate) after: &'a RowEvent,
    pub(crate) place: &'a Place,
    pub(crate) rules: &'a SourceRules,
}

/// What a flag says of something that came after a period's end plus grace.
struct Lateness {
    details: [(String, String); 4],
    words: String,
}

impl Subject<'_> {
    /// A flag about the row version as a whole.
    fn flag(&self, kind: &str, column: Option<&str>) -> Flag {
        let row = self.after;
        Flag {
            flag_id: flag_id(kind, "row", &row.source, &row.row_id, row.version, column),
            revision: 1,
            status: "standing".to_owned(),
            kind: kind.to_owned(),
            risk: self.rules.risk_of(kind).to_string(),
            entity_type: "row".to_owned(),
            source: row.source.clone(),
            entity_id: row.row_id.clone(),
            version: row.version,
            column: column.map(str::to_owned),
            before: None,
            after: None,
            impact: None,
            currency: row.currency.clone(),
            score: None,
            editor: row.modified_by.clone(),
            modified_at: Some(self.time().0),
            period: row.period_end.map(|end| end.to_string()),
            legal_entity: row.legal_entity.clone(),
            link: row.link.clone(),
            reason: String::new(),
            details: BTreeMap::new(),
            rules_hash: self.rules.hash.clone(),
            position: self.place.position(),
        }
    }

    /// The time that counts for the version as a whole: the source's, else that of the observation.
    fn time(&self) -> (Timestamp, Timing) {
        match self.after.modified_at {
            Some(time) => (time, Timing::Modified),
            None => (self.after.observed_at, Timing::Observed),
        }
    }

    /// The earlier period end of both versions.
    fn end(&self) -> Option<Date> {
        earlier_end(self.before.and_then(|row| row.period_end), self.after.period_end)
    }

    /// How late an instant is after a period's end plus grace; none when it is in time.
    fn late(&self, time: Timestamp, end: Date) -> Option<Lateness> {
        let local = self.local_date(time);
        let grace_days = self.rules.grace_days;
        let late = days_late(local, end, grace_days)?;
        let details = [
            ("days_late", late.to_string()),
            ("grace_days", grace_days.to_string()),
            ("local_date", local.to_string()),
            ("period_end", end.to_string()),
        ];
        Some(Lateness {
            details: details.map(|(name, value)| (name.to_owned(), value)),
            words: format!(
                "on {}, {} after its period ended on {}",
                long_date(local),
                days(local.days().saturating_sub(end.days())),
                long_date(end),
            ),
        })
    }

    /// The day of an instant in the source's time zone.
    fn local_date(&self, time: Timestamp) -> Date {
        local_date(time, &self.rules.time_zone)
    }
}
