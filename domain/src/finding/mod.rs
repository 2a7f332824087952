//! Flags: what each rule compares, and the sentence for a person.
//!
//! [`changes`] are about one tracked column, [`versions`] about a row version as a whole, [`moves`] about natural keys, [`violations`]
//! about rules.

mod changes;
mod moves;
mod versions;
mod violations;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use redline_schemas::flag::{Flag, Position, flag_id};
use redline_schemas::row::RowEvent;
use redline_schemas::{Date, Timestamp};

pub(crate) use self::words::long_date;
use self::words::{days, json_list};
use crate::change::{Timing, time_of};
use crate::facts::Knowledge;
use crate::period::{Grace, earlier_end, late, local_date};
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
    pub(crate) knowledge: &'a Knowledge,
}

/// What a flag says of something that came after a period's end plus grace.
struct Lateness {
    details: Vec<(String, String)>,
    words: String,
}

/// What a flag says of something that came after its period was closed.
struct Closed {
    /// The id of the fact.
    by: String,
    /// The period's last day.
    end: Date,
}

impl Closed {
    fn details(self) -> [(String, String); 2] {
        [
            ("closed_by".to_owned(), self.by),
            ("closed_period".to_owned(), self.end.to_string()),
        ]
    }

    fn words(&self) -> String {
        format!("after the period of {} was closed", long_date(self.end))
    }
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

    /// The time that counts for the version as a whole.
    fn time(&self) -> (Timestamp, Timing) {
        time_of(self.after)
    }

    /// The earlier period end of both versions.
    fn end(&self) -> Option<Date> {
        earlier_end(self.before.and_then(|row| row.period_end), self.after.period_end)
    }

    /// How late an instant is after a period's end plus grace; none when it is in time. Holidays are those of the version's
    /// own time.
    fn late(&self, time: Timestamp, end: Date) -> Option<Lateness> {
        let local = self.local_date(time);
        let grace = &self.rules.grace;
        let own_time = self.time().0;
        let late = late(local, end, grace, |day| self.is_holiday(day, own_time))?;
        let mut details = vec![
            ("days_late".to_owned(), late.days.to_string()),
            ("grace_days".to_owned(), grace.days().to_string()),
            ("local_date".to_owned(), local.to_string()),
            ("period_end".to_owned(), end.to_string()),
        ];
        if let Grace::Business { holidays, .. } = grace {
            details.push(("grace".to_owned(), "business".to_owned()));
            let days: Vec<String> = late.holidays.iter().map(ToString::to_string).collect();
            details.extend(
                holidays
                    .is_some()
                    .then(|| ("holidays".to_owned(), json_list(&days))),
            );
        }
        Some(Lateness {
            details,
            words: format!(
                "on {}, {} after its {} ended on {}",
                long_date(local),
                days(local.days().saturating_sub(end.days())),
                self.noun(),
                long_date(end),
            ),
        })
    }

    fn is_holiday(&self, day: Date, time: Timestamp) -> bool {
        let Grace::Business {
            holidays: Some(table),
            ..
        } = &self.rules.grace
        else {
            return false;
        };
        self.knowledge.reference(table, &day.to_string(), time).is_some()
    }

    /// Whether the period before or the one after was closed at an instant.
    fn closed(&self, time: Timestamp) -> Option<Closed> {
        let before = self.before.and_then(|row| row.period_end);
        let ends = before.into_iter().chain(self.after.period_end);
        ends.into_iter().find_map(|end| {
            let by = self
                .knowledge
                .closed_by(&self.after.source, end, time)?
                .to_owned();
            Some(Closed { by, end })
        })
    }

    /// What the source's periods are called.
    fn noun(&self) -> &'static str {
        self.rules
            .calendar
            .map_or("period", crate::calendar::Calendar::noun)
    }

    /// The day of an instant in the source's time zone.
    fn local_date(&self, time: Timestamp) -> Date {
        local_date(time, &self.rules.time_zone)
    }
}
