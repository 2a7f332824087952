//! Changes: one tracked column of one row between two versions, with its impact in money.

use redline_schemas::row::RowEvent;
use redline_schemas::{Amount, ColumnValue, Timestamp};

use crate::risk::{Risk, of_impact};
use crate::rules::{ColumnType, SourceRules, TrackedColumn};

/// One tracked column of one row between two versions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The version that made the change.
    pub version: i64,
    /// The tracked column.
    pub column: String,
    /// How its text is read.
    pub column_type: ColumnType,
    /// The value before, read as the column's type says.
    pub before: ColumnValue,
    /// The value after, read as the column's type says.
    pub after: ColumnValue,
    /// Financial impact in `currency`, signed; none where it cannot be told.
    pub impact: Option<Amount>,
    /// The row's currency after the change.
    pub currency: Option<String>,
    /// How urgent a flag about this change is.
    pub risk: Risk,
    /// Who made the change.
    pub editor: Option<String>,
    /// When the change was made.
    pub modified_at: Timestamp,
    /// Whether editor and time come from the cell or from the row.
    pub attribution: Attribution,
    /// Whether the time is the source's or only that of the observation.
    pub timing: Timing,
    /// Whether an approval allows it; [`crate::entity::Findings::authorise`] says so.
    pub authorised: bool,
    /// The id of that approval.
    pub approval: Option<String>,
}

/// Where editor and time of a change come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attribution {
    /// From `column_edits`.
    Cell,
    /// From the row.
    Row,
}

impl Attribution {
    /// The word in a flag's details.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cell => "cell",
            Self::Row => "row",
        }
    }
}

/// What the time of a change is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timing {
    /// The source says when it was made.
    Modified,
    /// Nobody says; the collector's observation counts.
    Observed,
}

impl Timing {
    /// The word in a flag's details.
    pub fn word(self) -> &'static str {
        match self {
            Self::Modified => "modified",
            Self::Observed => "observed",
        }
    }
}

/// The time that counts for a version as a whole: the source's, else that of the observation.
pub fn time_of(row: &RowEvent) -> (Timestamp, Timing) {
    match row.modified_at {
        Some(time) => (time, Timing::Modified),
        None => (row.observed_at, Timing::Observed),
    }
}

/// The tracked columns that differ between two versions, in the order of their names.
pub fn between(before: &RowEvent, after: &RowEvent, rules: &SourceRules) -> Vec<Change> {
    rules
        .tracked
        .iter()
        .filter_map(|(name, column)| {
            let old = read(before, name, column.column_type);
            let new = read(after, name, column.column_type);
            (old != new).then(|| judge(before, after, rules, name, column, old, new))
        })
        .collect()
}

/// A column's value as its type says: decimal text in an amount column is that amount; a missing column is null.
pub fn read(row: &RowEvent, column: &str, column_type: ColumnType) -> ColumnValue {
    row.columns
        .get(column)
        .map_or(ColumnValue::Null, |value| read_value(value, column_type))
}

/// A value as a column's type says.
pub fn read_value(value: &ColumnValue, column_type: ColumnType) -> ColumnValue {
    match (value, column_type) {
        (ColumnValue::Text(text), ColumnType::Amount) => text
            .parse()
            .map_or_else(|_| ColumnValue::Text(text.clone()), ColumnValue::Amount),
        (value, _) => value.clone(),
    }
}

fn judge(
    before: &RowEvent,
    after: &RowEvent,
    rules: &SourceRules,
    name: &str,
    column: &TrackedColumn,
    old: ColumnValue,
    new: ColumnValue,
) -> Change {
    let (impact, risk) = impact_and_risk(before, after, rules, name, column, &old, &new);
    let edit = after.column_edits.get(name);
    let edited_at = edit.and_then(|edit| edit.modified_at);
    let known_at = edited_at.or(after.modified_at);
    Change {
        version: after.version,
        column: name.to_owned(),
        column_type: column.column_type,
        before: old,
        after: new,
        impact,
        currency: after.currency.clone(),
        risk,
        editor: edit
            .and_then(|edit| edit.modified_by.clone())
            .or_else(|| after.modified_by.clone()),
        modified_at: known_at.unwrap_or(after.observed_at),
        attribution: if edit.is_some() {
            Attribution::Cell
        } else {
            Attribution::Row
        },
        timing: if known_at.is_some() {
            Timing::Modified
        } else {
            Timing::Observed
        },
        authorised: false,
        approval: None,
    }
}

/// The impact in money, none where it cannot be told, and the risk that follows.
fn impact_and_risk(
    before: &RowEvent,
    after: &RowEvent,
    rules: &SourceRules,
    name: &str,
    column: &TrackedColumn,
    old: &ColumnValue,
    new: &ColumnValue,
) -> (Option<Amount>, Risk) {
    const UNKNOWN: (Option<Amount>, Risk) = (None, Risk::High);
    if before.currency != after.currency {
        return UNKNOWN;
    }
    if column.column_type == ColumnType::Text {
        return (None, column.risk);
    }
    let (Some(old), Some(new)) = (number(old), number(new)) else {
        return UNKNOWN;
    };
    let impact = if rules.amount.as_deref() == Some(name) {
        new.checked_sub(old)
    } else if let Some(unit) = &column.unit {
        match read(before, unit, ColumnType::Amount) {
            ColumnValue::Amount(price) => new
                .checked_sub(old)
                .and_then(|difference| difference.checked_mul(price)),
            _ => return UNKNOWN,
        }
    } else {
        return (None, column.risk);
    };
    match impact {
        Some(impact) => (
            Some(impact),
            of_impact(impact, after.currency.as_deref(), &rules.thresholds),
        ),
        None => UNKNOWN,
    }
}

/// The number in an amount column: nothing counts as zero, other text and booleans are no number.
pub(crate) fn number(value: &ColumnValue) -> Option<Amount> {
    match value {
        ColumnValue::Null => Some(Amount::ZERO),
        ColumnValue::Amount(amount) => Some(*amount),
        ColumnValue::Boolean(_) | ColumnValue::Text(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::RuleSet;
    use redline_schemas::{Event, EventKind};

    const RULES: &str = include_str!("../../configs/rules.toml");

    fn row(columns: &str, rest: &str) -> RowEvent {
        let json = format!(
            r#"{{"source":"billing","row_id":"R-1","version":1,"op":"update","observed_at":"2026-03-02T10:00:00Z","columns":{columns}{rest}}}"#
        );
        match Event::from_json(EventKind::Row, &json).unwrap() {
            Event::Row(row) => row,
            _ => unreachable!(),
        }
    }

    /// Column, before, after, impact and risk of a change.
    type Shown = (String, Option<String>, Option<String>, Option<String>, Risk);

    fn changes(before: &RowEvent, after: &RowEvent) -> Vec<Shown> {
        let set = RuleSet::parse(RULES).unwrap();
        between(before, after, set.source("billing").unwrap())
            .into_iter()
            .map(|change| {
                let impact = change.impact.map(|impact| impact.to_string());
                (
                    change.column,
                    change.before.to_text(),
                    change.after.to_text(),
                    impact,
                    change.risk,
                )
            })
            .collect()
    }

    fn one(before: &str, after: &str) -> (Option<String>, Risk) {
        const USD: &str = r#","currency":"USD""#;
        let mut found = changes(&row(before, USD), &row(after, USD));
        assert_eq!(found.len(), 1, "{found:?}");
        let (_, _, _, impact, risk) = found.remove(0);
        (impact, risk)
    }

    #[test]
    fn amounts_are_compared_by_value_and_text_to_the_letter() {
        assert_eq!(
            changes(
                &row(r#"{"Quantity":"1.50"}"#, ""),
                &row(r#"{"Quantity":1.5}"#, "")
            ),
            []
        );
        assert_eq!(
            changes(
                &row(r#"{"Foreman":"B. Lee"}"#, ""),
                &row(r#"{"Foreman":"b. lee"}"#, "")
            )
            .len(),
            1
        );
        assert_eq!(changes(&row(r#"{"Foreman":null}"#, ""), &row("{}", "")), []);
        assert_eq!(
            changes(&row(r#"{"Untracked":1}"#, ""), &row(r#"{"Untracked":2}"#, "")),
            []
        );
    }

    #[test]
    fn the_amount_columns_impact_is_after_minus_before() {
        let impact = one(
            r#"{"Redlined Total Price":950}"#,
            r#"{"Redlined Total Price":"1140.00"}"#,
        );
        assert_eq!(impact, (Some("190".into()), Risk::Medium));
    }

    #[test]
    fn a_column_with_a_unit_is_worth_its_difference_times_the_price_before() {
        let impact = one(
            r#"{"Quantity":10,"Unit Price":"95"}"#,
            r#"{"Quantity":"N/A","Unit Price":95}"#,
        );
        assert_eq!(impact, (None, Risk::High));
        let impact = one(
            r#"{"Quantity":10,"Unit Price":95}"#,
            r#"{"Quantity":-2,"Unit Price":95}"#,
        );
        assert_eq!(impact, (Some("-1140".into()), Risk::High));
        let impact = one(r#"{"Quantity":10}"#, r#"{"Quantity":12}"#);
        assert_eq!(
            impact,
            (None, Risk::High),
            "without a price the impact is unknown"
        );
        let wide = "9".repeat(29);
        let impact = one(
            &format!(r#"{{"Quantity":0,"Unit Price":{wide}}}"#),
            &format!(r#"{{"Quantity":10,"Unit Price":{wide}}}"#),
        );
        assert_eq!(impact, (None, Risk::High), "a product out of range is unknown");
    }

    #[test]
    fn a_tracked_amount_without_a_unit_and_a_text_have_the_columns_risk() {
        assert_eq!(
            one(r#"{"Unit Price":95}"#, r#"{"Unit Price":96}"#),
            (None, Risk::Low)
        );
        assert_eq!(
            one(r#"{"Unit Price":95}"#, r#"{"Unit Price":"N/A"}"#),
            (None, Risk::High)
        );
        assert_eq!(one(r#"{"Foreman":"A"}"#, r#"{"Foreman":"B"}"#), (None, Risk::Low));
    }

    #[test]
    fn a_changed_currency_leaves_the_impact_unknown() {
        let before = row(r#"{"Redlined Total Price":1}"#, r#","currency":"USD""#);
        let after = row(r#"{"Redlined Total Price":2}"#, r#","currency":"EUR""#);
        let found = changes(&before, &after);
        assert_eq!((&found[0].3, found[0].4), (&None, Risk::High));
    }

    #[test]
    fn a_currency_without_thresholds_is_high() {
        let currency = r#","currency":"EUR""#;
        let found = changes(
            &row(r#"{"Redlined Total Price":1}"#, currency),
            &row(r#"{"Redlined Total Price":2}"#, currency),
        );
        assert_eq!((found[0].3.as_deref(), found[0].4), (Some("1"), Risk::High));
    }

    #[test]
    fn editor_and_time_come_from_the_cell_where_it_knows_them() {
        let set = RuleSet::parse(RULES).unwrap();
        let after = row(
            r#"{"Quantity":2,"Foreman":"B"}"#,
            r#","modified_by":"ann","modified_at":"2026-03-02T09:00:00Z","column_edits":{"Quantity":{"modified_by":"bob","modified_at":"2026-03-02T08:00:00Z"}}"#,
        );
        let found = between(&row("{}", ""), &after, set.source("billing").unwrap());
        let who: Vec<_> = found
            .iter()
            .map(|change| {
                (
                    change.editor.as_deref(),
                    change.modified_at.to_string(),
                    change.attribution,
                    change.timing,
                )
            })
            .collect();
        assert_eq!(
            who,
            [
                (
                    Some("ann"),
                    "2026-03-02T09:00:00Z".to_owned(),
                    Attribution::Row,
                    Timing::Modified
                ),
                (
                    Some("bob"),
                    "2026-03-02T08:00:00Z".to_owned(),
                    Attribution::Cell,
                    Timing::Modified
                ),
            ]
        );
        let unsaid = between(
            &row("{}", ""),
            &row(r#"{"Quantity":2}"#, ""),
            set.source("billing").unwrap(),
        );
        assert_eq!(unsaid[0].timing, Timing::Observed);
    }
}
