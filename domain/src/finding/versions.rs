//! Flags about a row version as a whole.

use redline_schemas::flag::Flag;
use redline_schemas::row::RowEvent;
use redline_schemas::{Amount, ColumnValue, ContentHash, Date};

use super::words::{json_list, long_date, money};
use super::{Closed, Subject};
use crate::change::{number, read};
use crate::risk::{Risk, of_impact};
use crate::rules::ColumnType;

/// What a flag says of a version that came after its period.
struct PastEnd {
    details: Vec<(String, String)>,
    words: String,
}

impl Subject<'_> {
    /// A flag about the version, with what its time is.
    pub(super) fn version_flag(&self, kind: &str, column: Option<&str>) -> Flag {
        let mut flag = self.flag(kind, column);
        flag.details
            .insert("timing".to_owned(), self.time().1.word().to_owned());
        flag
    }

    /// `conflicting_version`: several contents came under one version.
    pub(crate) fn conflict(&self, hashes: &[ContentHash]) -> Flag {
        let mut flag = self.version_flag("conflicting_version", None);
        let hashes: Vec<String> = hashes.iter().map(ToString::to_string).collect();
        flag.details.insert("hashes".to_owned(), json_list(&hashes));
        flag.reason = format!(
            "Version {} of {} was sent with {} different contents; the last modified one stands, of equally late ones that \
             with the greatest hash",
            self.after.version,
            self.after.row_id,
            hashes.len(),
        );
        flag
    }

    /// `late_row`: created after its period's end plus grace. Only at first sight.
    pub(crate) fn late_row(&self) -> Option<Flag> {
        let row = self.after;
        let end = row.period_end.filter(|_| row.op == "create")?;
        let late = self.late(self.time().0, end)?;
        let mut flag = self.version_flag("late_row", None);
        flag.details.extend(late.details);
        self.weigh(&mut flag, row, Some);
        let money = money(flag.impact, flag.currency.as_deref());
        flag.reason = format!("{} was created {}{money}", row.row_id, late.words);
        Some(flag)
    }

    /// `row_deleted`: a delete of a row that was completed, or after its period's end.
    pub(crate) fn row_deleted(&self) -> Option<Flag> {
        let before = self.before?;
        let past_end = self.past_end();
        if !before.completed && past_end.is_none() {
            return None;
        }
        let mut flag = self.version_flag("row_deleted", None);
        // A delete may say nothing of the row but that it is gone.
        let is_same_currency = flag.currency.is_none() || flag.currency == before.currency;
        flag.currency = flag.currency.or_else(|| before.currency.clone());
        flag.period = flag
            .period
            .or_else(|| before.period_end.map(|end| end.to_string()));
        flag.legal_entity = flag.legal_entity.or_else(|| before.legal_entity.clone());
        flag.link = flag.link.or_else(|| before.link.clone());
        flag.details
            .insert("completed".to_owned(), before.completed.to_string());
        let why = match past_end {
            Some(past) => {
                flag.details.extend(past.details);
                past.words
            }
            None => "when it was completed".to_owned(),
        };
        if is_same_currency {
            self.weigh(&mut flag, before, |amount| Amount::ZERO.checked_sub(amount));
        } else {
            flag.risk = Risk::High.to_string();
        }
        flag.reason = format!(
            "{} was deleted on {}, {why}{}",
            self.after.row_id,
            long_date(self.local_date(self.time().0)),
            money(flag.impact, flag.currency.as_deref()),
        );
        Some(flag)
    }

    /// `lock_change`: un-completed at any time; another period or currency after the period's end.
    pub(crate) fn lock_changes(&self) -> Vec<Flag> {
        let Some(before) = self.before else {
            return Vec::new();
        };
        let after = self.after;
        let mut flags = Vec::new();
        if before.completed && !after.completed {
            flags.push(self.uncompleted());
        }
        let text = |end: Option<Date>| end.map(|end| end.to_string());
        let mut moved = Vec::new();
        if before.period_end != after.period_end {
            moved.push(("period_end", text(before.period_end), text(after.period_end)));
        }
        if before.currency != after.currency {
            moved.push(("currency", before.currency.clone(), after.currency.clone()));
        }
        if let Some(past) = (!moved.is_empty()).then(|| self.past_end()).flatten() {
            let locked = moved.into_iter();
            flags.extend(locked.map(|(field, old, new)| self.lock_change(field, old, new, &past)));
        }
        flags
    }

    /// `lock_change` of `completed`.
    fn uncompleted(&self) -> Flag {
        let mut flag = self.version_flag("lock_change", Some("completed"));
        let local = self.local_date(self.time().0);
        flag.before = Some("true".to_owned());
        flag.after = Some("false".to_owned());
        flag.details.insert("local_date".to_owned(), local.to_string());
        if let Some(end) = self.end() {
            flag.details.insert("period_end".to_owned(), end.to_string());
        }
        flag.reason = format!(
            "{} was completed, and no longer is since {}",
            self.after.row_id,
            long_date(local)
        );
        flag
    }

    /// `lock_change` of `period_end` or `currency`.
    fn lock_change(
        &self,
        field: &str,
        before: Option<String>,
        after: Option<String>,
        past: &PastEnd,
    ) -> Flag {
        let mut flag = self.version_flag("lock_change", Some(field));
        flag.details.extend(past.details.clone());
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        flag.reason = format!(
            "The {} of {} went from {} to {} on {}, {}",
            if field == "currency" { "currency" } else { "period" },
            self.after.row_id,
            shown(&before),
            shown(&after),
            long_date(self.local_date(self.time().0)),
            past.words,
        );
        (flag.before, flag.after) = (before, after);
        flag
    }

    /// What is past when the version came after its period's end, without grace, or after its period was closed.
    fn past_end(&self) -> Option<PastEnd> {
        let time = self.time().0;
        let local = self.local_date(time);
        let end = self.end();
        let ended = end.filter(|end| local > *end);
        let closed = self.closed(time);
        if ended.is_none() && closed.is_none() {
            return None;
        }
        let mut details = vec![("local_date".to_owned(), local.to_string())];
        details.extend(end.map(|end| ("period_end".to_owned(), end.to_string())));
        let words = match (ended, &closed) {
            (Some(end), _) => format!("after its {} had ended on {}", self.noun(), long_date(end)),
            (None, Some(closed)) => closed.words(),
            (None, None) => String::new(),
        };
        details.extend(closed.into_iter().flat_map(Closed::details));
        Some(PastEnd { details, words })
    }

    /// Sets impact and risk by what a row is worth; without a column that says so, the risk stays that of the kind.
    fn weigh(&self, flag: &mut Flag, row: &RowEvent, impact_of: impl Fn(Amount) -> Option<Amount>) {
        let Some(column) = &self.rules.amount else {
            return;
        };
        let value: ColumnValue = read(row, column, ColumnType::Amount);
        flag.impact = number(&value).and_then(impact_of);
        let risk = flag.impact.map_or(Risk::High, |impact| {
            of_impact(impact, flag.currency.as_deref(), &self.rules.thresholds)
        });
        flag.risk = risk.to_string();
    }
}
