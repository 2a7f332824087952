//! Flags about a row version as a whole.

use std::collections::BTreeMap;

use redline_schemas::flag::Flag;
use redline_schemas::row::RowEvent;
use redline_schemas::{Amount, ColumnValue, ContentHash, Date};

use super::Subject;
use super::words::{json_list, long_date, money};
use crate::change::{number, read};
use crate::own_rule::{OwnRule, Verdict};
use crate::period::days_late;
use crate::risk::{Risk, of_impact};
use crate::rules::ColumnType;

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
            "Version {} of {} was sent with {} different contents; the one with the latest modification stands",
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
        if let Some((local, end)) = past_end {
            flag.details.insert("local_date".to_owned(), local.to_string());
            flag.details.insert("period_end".to_owned(), end.to_string());
        }
        if is_same_currency {
            self.weigh(&mut flag, before, |amount| Amount::ZERO.checked_sub(amount));
        } else {
            flag.risk = Risk::High.to_string();
        }
        let why = match past_end {
            Some((_, end)) => format!("after its period had ended on {}", long_date(end)),
            None => "when it was completed".to_owned(),
        };
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
            flags.push(self.lock_change("completed", Some("true".to_owned()), Some("false".to_owned())));
        }
        if self.past_end().is_none() {
            return flags;
        }
        if before.period_end != after.period_end {
            let text = |end: Option<Date>| end.map(|end| end.to_string());
            flags.push(self.lock_change("period_end", text(before.period_end), text(after.period_end)));
        }
        if before.currency != after.currency {
            flags.push(self.lock_change("currency", before.currency.clone(), after.currency.clone()));
        }
        flags
    }

    /// `rule_violation`: rules that the version violates and the version before did not; one that names the version before
    /// speaks for itself.
    pub(crate) fn rule_violations(&self) -> Vec<Flag> {
        let violations = self.rules.rules.iter().filter_map(|rule| {
            let verdict = rule.judge(self.before, self.after);
            if verdict == Verdict::Kept {
                return None;
            }
            let is_new = rule.violated.names_before()
                || self
                    .before
                    .is_none_or(|before| rule.judge(None, before) == Verdict::Kept);
            is_new.then(|| self.rule_violation(rule, verdict))
        });
        violations.collect()
    }

    fn rule_violation(&self, rule: &OwnRule, verdict: Verdict) -> Flag {
        let mut flag = self.version_flag("rule_violation", Some(&rule.name));
        if let Some(risk) = rule.risk {
            flag.risk = risk.to_string();
        }
        let values = |row: &RowEvent| {
            let named = rule.violated.columns().iter();
            let values: BTreeMap<&String, Option<String>> = named
                .map(|column| (column, read(row, column, ColumnType::Amount).to_text()))
                .collect();
            serde_json::json!(values).to_string()
        };
        flag.details
            .insert("violated".to_owned(), rule.violated.text().to_owned());
        flag.details.insert("after".to_owned(), values(self.after));
        if let Some(before) = self.before.filter(|_| rule.violated.names_before()) {
            flag.details.insert("before".to_owned(), values(before));
        }
        let why = if let Verdict::Unreadable(reason) = verdict {
            flag.risk = Risk::High.to_string();
            let why = format!("cannot be judged, because {reason}");
            flag.details.insert("unreadable".to_owned(), reason);
            why
        } else {
            flag.impact = rule.impact(self.before, self.after);
            if let Some(impact) = flag.impact {
                let risk = of_impact(impact, flag.currency.as_deref(), &self.rules.thresholds);
                flag.risk = risk.to_string();
            }
            format!("is violated: {}", rule.violated.text())
        };
        flag.reason = format!(
            "The rule {} {why}, for version {} of {}{}",
            rule.name,
            self.after.version,
            self.after.row_id,
            money(flag.impact, flag.currency.as_deref()),
        );
        flag
    }

    fn lock_change(&self, field: &str, before: Option<String>, after: Option<String>) -> Flag {
        let mut flag = self.version_flag("lock_change", Some(field));
        let local = self.local_date(self.time().0);
        flag.details.insert("local_date".to_owned(), local.to_string());
        if let Some(end) = self.end() {
            flag.details.insert("period_end".to_owned(), end.to_string());
        }
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        let row_id = &self.after.row_id;
        flag.reason = match field {
            "completed" => format!(
                "{row_id} was completed, and no longer is since {}",
                long_date(local)
            ),
            _ => format!(
                "The {} of {row_id} went from {} to {} on {}, after its period had ended",
                if field == "currency" { "currency" } else { "period" },
                shown(&before),
                shown(&after),
                long_date(local),
            ),
        };
        (flag.before, flag.after) = (before, after);
        flag
    }

    /// The day of the version and the period's end, when that day is past it; grace does not count.
    fn past_end(&self) -> Option<(Date, Date)> {
        let end = self.end()?;
        let local = self.local_date(self.time().0);
        days_late(local, end, 0).map(|_| (local, end))
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
