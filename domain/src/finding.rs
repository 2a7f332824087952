//! Flags about changes: what each rule compares, and the sentence for a person.

use std::collections::BTreeMap;
use std::sync::Arc;

use redline_schemas::flag::{Flag, Position, flag_id};
use redline_schemas::row::RowEvent;
use redline_schemas::{ContentHash, Date};

use crate::change::{Change, Timing};
use crate::period::{days_late, earlier_end, local_date};
use crate::risk::Risk;
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

impl Subject<'_> {
    /// A flag about the row version as a whole.
    fn flag(&self, kind: &str, column: Option<&str>) -> Flag {
        let row = self.after;
        Flag {
            flag_id: flag_id(kind, "row", &row.source, &row.row_id, row.version, column),
            revision: 1,
            status: "standing".to_owned(),
            kind: kind.to_owned(),
            risk: Risk::Low.to_string(),
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
            modified_at: Some(row.modified_at.unwrap_or(row.observed_at)),
            period: row.period_end.map(|end| end.to_string()),
            legal_entity: row.legal_entity.clone(),
            link: row.link.clone(),
            reason: String::new(),
            details: BTreeMap::new(),
            rules_hash: self.rules.hash.clone(),
            position: self.place.position(),
        }
    }

    /// A flag about one change.
    fn change_flag(&self, kind: &str, change: &Change) -> Flag {
        let mut flag = self.flag(kind, Some(&change.column));
        flag.risk = change.risk.to_string();
        flag.before = change.before.to_text();
        flag.after = change.after.to_text();
        flag.impact = change.impact;
        flag.editor.clone_from(&change.editor);
        flag.modified_at = Some(change.modified_at);
        flag.details
            .insert("attribution".to_owned(), change.attribution.word().to_owned());
        flag.details
            .insert("timing".to_owned(), change.timing.word().to_owned());
        flag
    }

    /// `retroactive_change`: made after the earlier period end of both versions plus grace.
    pub(crate) fn retroactive(&self, change: &Change) -> Option<Flag> {
        let end = earlier_end(self.before.and_then(|row| row.period_end), self.after.period_end)?;
        let local = local_date(change.modified_at, &self.rules.time_zone);
        let late = days_late(local, end, self.rules.grace_days)?;
        let mut flag = self.change_flag("retroactive_change", change);
        flag.details.extend([
            ("days_late".to_owned(), late.to_string()),
            ("grace_days".to_owned(), self.rules.grace_days.to_string()),
            ("local_date".to_owned(), local.to_string()),
            ("period_end".to_owned(), end.to_string()),
        ]);
        let after_end = local.days().saturating_sub(end.days());
        flag.reason = format!(
            "{} on {}, {} after its period ended on {}{}",
            went(change, &self.after.row_id),
            long_date(local),
            days(after_end),
            long_date(end),
            money(change),
        );
        Some(flag)
    }

    /// `reversion`: the column has the value again that it had before its last change.
    pub(crate) fn reversion(&self, change: &Change) -> Flag {
        let mut flag = self.change_flag("reversion", change);
        flag.reason = format!(
            "{} on {}, back to the value that it had before its last change{}",
            went(change, &self.after.row_id),
            long_date(local_date(change.modified_at, &self.rules.time_zone)),
            money(change),
        );
        flag
    }

    /// `conflicting_version`: several contents came under one version.
    pub(crate) fn conflict(&self, hashes: &[ContentHash]) -> Flag {
        let mut flag = self.flag("conflicting_version", None);
        let timing = if self.after.modified_at.is_some() {
            Timing::Modified
        } else {
            Timing::Observed
        };
        let list: Vec<String> = hashes.iter().map(|hash| format!("\"{hash}\"")).collect();
        flag.details
            .insert("hashes".to_owned(), format!("[{}]", list.join(",")));
        flag.details.insert("timing".to_owned(), timing.word().to_owned());
        flag.reason = format!(
            "Version {} of {} was sent with {} different contents; the one with the latest modification stands",
            self.after.version,
            self.after.row_id,
            hashes.len(),
        );
        flag
    }
}

fn went(change: &Change, row_id: &str) -> String {
    let shown = |value: Option<String>| value.unwrap_or_else(|| "nothing".to_owned());
    let (before, after) = (shown(change.before.to_text()), shown(change.after.to_text()));
    format!("{} of {row_id} went from {before} to {after}", change.column)
}

/// "; 190.00 USD", exact, with at least two digits after the point; nothing when the impact is unknown.
fn money(change: &Change) -> String {
    let Some(impact) = change.impact else {
        return String::new();
    };
    let text = impact.to_string();
    let digits = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let padding = match digits {
        0 => ".00",
        1 => "0",
        _ => "",
    };
    format!(
        "; {text}{padding} {}",
        change.currency.as_deref().unwrap_or("without a currency")
    )
}

fn long_date(date: Date) -> String {
    date.civil()
        .map_or_else(|| date.to_string(), |day| day.strftime("%-d %B %Y").to_string())
}

fn days(count: i32) -> String {
    const WORDS: [&str; 13] = [
        "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
        "twelve",
    ];
    let word = usize::try_from(count).ok().and_then(|index| WORDS.get(index));
    let number = word.map_or_else(|| count.to_string(), |word| (*word).to_owned());
    format!("{number} day{}", if count == 1 { "" } else { "s" })
}
