//! The changes between two versions, and what they cost.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::history::Standing;
use super::values::{Read, read};
use crate::amount::Amount;
use crate::days::written;
use crate::rulebook::{FOREMAN, PRICE, QUANTITY, SOURCE, TOTAL, TRACKED, thresholds};
use crate::truth::{Change, Risk};

/// What something costs, and how bad that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Weight {
    pub impact: Option<Amount>,
    pub risk: Risk,
}

impl Weight {
    /// An impact that cannot be told.
    pub const UNKNOWN: Self = Self {
        impact: None,
        risk: Risk::High,
    };

    /// No impact, and the risk of the column or kind.
    pub fn without_impact(risk: Risk) -> Self {
        Self { impact: None, risk }
    }

    /// "Risk from impact: HIGH, MEDIUM, LOW by the source's thresholds for the currency (at or above); an absent or
    /// unlisted currency is HIGH."
    pub fn of(impact: Amount, currency: Option<&str>) -> Self {
        let risk = match currency.and_then(thresholds) {
            None => Risk::High,
            Some((_, high)) if impact.absolute() >= high => Risk::High,
            Some((medium, _)) if impact.absolute() >= medium => Risk::Medium,
            Some(_) => Risk::Low,
        };
        Self {
            impact: Some(impact),
            risk,
        }
    }
}

/// One tracked column between two versions of a row.
#[derive(Debug, Clone)]
pub(super) struct RowChange<'a> {
    pub before_version: &'a Standing<'a>,
    pub version: &'a Standing<'a>,
    pub column: &'static str,
    pub before: Read,
    pub after: Read,
    pub weight: Weight,
    pub editor: Option<&'a str>,
    pub at: Timestamp,
    pub authorised: bool,
    pub reverts: bool,
}

impl RowChange<'_> {
    /// The change as the table has it.
    pub fn stated(&self) -> Change {
        let content = self.version.content;
        Change {
            source: SOURCE.to_string(),
            entity_id: content.row_id.clone(),
            version: content.version,
            column_name: self.column.to_string(),
            before: self.before.written(),
            after: self.after.written(),
            impact: self.weight.impact.map(|impact| impact.to_string()),
            currency: content.currency.clone(),
            editor: self.editor.map(str::to_string),
            modified_at: written(self.at),
            authorised: self.authorised,
        }
    }
}

/// "A tracked column makes a change when its value differs: amounts by value, text to the letter, a missing column is
/// null." Editor and time come from `column_edits`, else from the row.
pub(super) fn between<'a>(before: &'a Standing<'a>, after: &'a Standing<'a>) -> Vec<RowChange<'a>> {
    let mut changes = Vec::new();
    for column in TRACKED {
        let value_before = read(&before.content.columns, column);
        let value_after = read(&after.content.columns, column);
        if value_before == value_after {
            continue;
        }
        let (editor, at) = match after.content.column_edits.get(column) {
            Some(edit) => (Some(edit.modified_by.as_str()), edit.modified_at),
            None => (after.content.modified_by.as_deref(), after.at()),
        };
        let weight = weigh(column, &value_before, &value_after, before, after);
        changes.push(RowChange {
            before_version: before,
            version: after,
            column,
            before: value_before,
            after: value_after,
            weight,
            editor,
            at,
            authorised: false,
            reverts: false,
        });
    }
    changes
}

fn weigh(column: &str, from: &Read, to: &Read, before: &Standing<'_>, after: &Standing<'_>) -> Weight {
    // "If the currency differs between versions, impacts are null, HIGH."
    if before.content.currency != after.content.currency {
        return Weight::UNKNOWN;
    }
    if column == FOREMAN {
        return Weight::without_impact(Risk::Low);
    }
    // "An amount column that holds other text keeps it; impact null, HIGH."
    let (Some(from), Some(to)) = (from.or_zero(), to.or_zero()) else {
        return Weight::UNKNOWN;
    };
    let currency = after.content.currency.as_deref();
    let Some(difference) = to.minus(from) else {
        return Weight::UNKNOWN;
    };
    match column {
        TOTAL => Weight::of(difference, currency),
        // "Difference times the unit price before; null and HIGH when that price is null or text or the product is out
        // of range."
        QUANTITY => match read(&before.content.columns, PRICE) {
            Read::Amount(price) => match difference.times(price) {
                Some(impact) => Weight::of(impact, currency),
                None => Weight::UNKNOWN,
            },
            Read::Nothing | Read::Text(_) => Weight::UNKNOWN,
        },
        // "Of another tracked amount: null, the column's risk."
        _ => Weight::without_impact(Risk::Low),
    }
}

/// What a row is worth: its amount, where nothing counts as zero.
pub(super) fn worth(version: &Standing<'_>) -> Weight {
    match read(&version.content.columns, TOTAL).or_zero() {
        Some(amount) => Weight::of(amount, version.content.currency.as_deref()),
        None => Weight::UNKNOWN,
    }
}

/// "The value equals the one that the column had before its last change."
pub(super) fn mark_reversions(changes: &mut [RowChange<'_>]) {
    let mut before_last: BTreeMap<&'static str, Read> = BTreeMap::new();
    changes.sort_by_key(|change| change.version.content.version);
    for change in changes {
        change.reverts = before_last
            .get(change.column)
            .is_some_and(|value| *value == change.after);
        before_last.insert(change.column, change.before.clone());
    }
}
