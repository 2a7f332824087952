//! Which fields a fact of each kind has, and what they hold.

use redline_schemas::check::{self, Checked, MAX_COLUMN_BYTES, MAX_COLUMNS};
use redline_schemas::fact::Fact;
use redline_schemas::time::check_month;
use redline_schemas::{Amount, ColumnValue, Date, FieldError};

use super::rules::parse;

/// Bytes of a reference row's key, at most: it may hold the values of several columns.
const MAX_KEY_BYTES: usize = 4_000;

/// Checks a fact before it is accepted: the fields of its kind are there and can be used, those of other kinds are absent.
///
/// # Errors
/// The first field that is not as the contract says.
pub fn check(fact: &Fact) -> Checked {
    fact.check()?;
    if let Some(legal_entity) = &fact.legal_entity {
        check::id("legal_entity", legal_entity)?;
    }
    check_absent_fields(fact)?;
    match fact.kind.as_str() {
        "rules" => check_rules(fact),
        "reference" => check_reference(fact),
        "approval" => check_approval(fact),
        "period" => check_period(fact),
        "outcome" => check_outcome(fact),
        _ => Ok(()),
    }
}

/// No field of another kind is there.
fn check_absent_fields(fact: &Fact) -> Checked {
    let validity = ["reference", "approval"].as_slice();
    let approval = ["approval"].as_slice();
    let fields: [(&str, bool, &[&str]); 17] = [
        ("text", fact.text.is_some(), &["rules"]),
        ("table", fact.table.is_some(), &["reference"]),
        ("key", fact.key.is_some(), &["reference"]),
        ("values", fact.values.is_some(), &["reference"]),
        ("valid_from", fact.valid_from.is_some(), validity),
        ("valid_until", fact.valid_until.is_some(), validity),
        ("source", fact.source.is_some(), &["approval", "period"]),
        ("row_id", fact.row_id.is_some(), approval),
        ("column", fact.column.is_some(), approval),
        ("editor", fact.editor.is_some(), approval),
        ("approver", fact.approver.is_some(), approval),
        ("value", fact.value != ColumnValue::Null, approval),
        ("ceiling", fact.ceiling.is_some(), approval),
        ("period", fact.period.is_some(), &["period"]),
        ("state", fact.state.is_some(), &["period"]),
        ("order_id", fact.order_id.is_some(), &["outcome"]),
        ("outcome", fact.outcome.is_some(), &["outcome"]),
    ];
    let stray = fields
        .into_iter()
        .find(|(_, is_there, kinds)| *is_there && !kinds.contains(&fact.kind.as_str()));
    stray.map_or(Ok(()), |(field, _, kinds)| {
        let reason = format!("belongs to the kind {}, not to {}", kinds.join(" or "), fact.kind);
        Err(FieldError::new(field, reason))
    })
}

fn check_rules(fact: &Fact) -> Checked {
    check::text("text", needed("text", fact.text.as_deref())?)?;
    parse(fact).map(drop)
}

/// Values may be absent: their canonical form is that of no values.
fn check_reference(fact: &Fact) -> Checked {
    check::id("table", needed("table", fact.table.as_deref())?)?;
    let key = needed("key", fact.key.as_deref())?;
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        let reason = format!("needs 1 to {MAX_KEY_BYTES} bytes");
        return Err(FieldError::new("key", reason));
    }
    check::text("key", key)?;
    check_validity(fact)?;
    let Some(values) = &fact.values else {
        return Ok(());
    };
    if values.len() > MAX_COLUMNS {
        return Err(FieldError::new("values", "has more than 500 members"));
    }
    let mut bytes = 0;
    for (name, value) in values {
        check::id("values", name)?;
        check_value(&format!("values.{name}"), value)?;
        bytes += name.len() + value.to_text().map_or(0, |text| text.len());
    }
    if bytes > MAX_COLUMN_BYTES {
        return Err(FieldError::new(
            "values",
            "holds more than 64 KiB of names and values",
        ));
    }
    Ok(())
}

fn check_approval(fact: &Fact) -> Checked {
    check::source_id("source", needed("source", fact.source.as_deref())?)?;
    for (field, value) in [
        ("row_id", &fact.row_id),
        ("column", &fact.column),
        ("editor", &fact.editor),
        ("approver", &fact.approver),
    ] {
        check::id(field, needed(field, value.as_deref())?)?;
    }
    check_validity(fact)?;
    check_value("value", &fact.value)?;
    match fact.ceiling {
        None if fact.value == ColumnValue::Null => Err(FieldError::new(
            "value",
            "is missing: an approval needs `value`, `ceiling` or both",
        )),
        Some(ceiling) if ceiling < Amount::ZERO => Err(FieldError::new(
            "ceiling",
            "is negative; the greatest absolute impact is expected",
        )),
        _ => Ok(()),
    }
}

fn check_period(fact: &Fact) -> Checked {
    check::source_id("source", needed("source", fact.source.as_deref())?)?;
    let period = needed("period", fact.period.as_deref())?;
    if Date::parse(period).is_err() && check_month(period).is_err() {
        return Err(FieldError::new(
            "period",
            "is neither the last day of a period such as 2026-02-22 nor a month such as 2026-02 (years 1900 to 2200)",
        ));
    }
    check::word(
        "state",
        needed("state", fact.state.as_deref())?,
        &["closed", "open"],
    )
}

fn check_outcome(fact: &Fact) -> Checked {
    check::id("order_id", needed("order_id", fact.order_id.as_deref())?)?;
    let outcome = needed("outcome", fact.outcome.as_deref())?;
    check::word("outcome", outcome, &["fraud", "legitimate"])
}

fn check_validity(fact: &Fact) -> Checked {
    check::optional_time("valid_from", fact.valid_from)?;
    check::optional_time("valid_until", fact.valid_until)?;
    match (fact.valid_from, fact.valid_until) {
        (Some(from), Some(until)) if from >= until => Err(FieldError::new(
            "valid_until",
            "is not after `valid_from`, so that it would never be valid",
        )),
        _ => Ok(()),
    }
}

fn check_value(field: &str, value: &ColumnValue) -> Checked {
    let ColumnValue::Text(text) = value else {
        return Ok(());
    };
    if text.len() > MAX_COLUMN_BYTES {
        return Err(FieldError::new(field, "is longer than 64 KiB"));
    }
    check::text(field, text)
}

/// The value of a field that may not be absent.
pub(super) fn needed<'a>(field: &str, value: Option<&'a str>) -> Result<&'a str, FieldError> {
    value.ok_or_else(|| FieldError::new(field, "is missing"))
}
