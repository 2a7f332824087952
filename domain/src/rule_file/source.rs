//! The rules of one source, from its table.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use redline_schemas::Amount;

use super::Refusal;
use super::tables::{
    BusinessTable, CalendarTable, ContractPriceTable, GraceTable, SourceTable, ThresholdsTable, WeeksTable,
};
use crate::calendar::{Calendar, WEEKDAYS};
use crate::contract_price::ContractPrice;
use crate::editors::Editors;
use crate::own_rule::own_rules;
use crate::period::Grace;
use crate::risk::{Risk, Thresholds};
use crate::rules::{ColumnType, SourceRules, TrackedColumn};

/// Kinds of flags that may have no impact, and so a risk of their own.
const KINDS_WITH_A_RISK: [&str; 6] = [
    "conflicting_version",
    "late_row",
    "lock_change",
    "row_deleted",
    "row_moved",
    "rule_violation",
];
/// Days between a delete and a first sight within which a row counts as moved.
const DEFAULT_MOVED_WITHIN_DAYS: i32 = 7;
/// Greatest number of days of any setting: ten years.
const MOST_DAYS: i32 = 3_660;
/// The name of the agreed price in a table of contract prices.
const DEFAULT_PRICE_VALUE: &str = "price";

pub(super) fn source_rules(table: SourceTable, hash: String) -> Result<SourceRules, Refusal> {
    check_tracked(&table.tracked)?;
    check_risks(&table.risks)?;
    let moved_within_days = moved_within_days(&table)?;
    let mut rules = SourceRules {
        time_zone: time_zone(table.time_zone.as_deref())?,
        calendar: table.calendar.map(calendar).transpose()?,
        grace: table.grace_days.map_or(Ok(Grace::NONE), grace)?,
        amount: table.amount,
        tracked: table.tracked,
        thresholds: thresholds(&table.thresholds)?,
        editors: table.editors.map(editors).transpose()?,
        editors_table: table
            .editors_table
            .map(|name| table_name("editors_table", name))
            .transpose()?,
        read: table.read,
        natural_key: table.natural_key.map_or(Ok(Vec::new()), natural_key)?,
        moved_within_days,
        contract_price: table.contract_price.map(contract_price).transpose()?,
        rules: Vec::new(),
        risks: table.risks,
        hash,
    };
    rules.rules = own_rules(&rules, &table.rules)?;
    Ok(rules)
}

fn time_zone(name: Option<&str>) -> Result<TimeZone, Refusal> {
    let Some(name) = name else {
        return Ok(TimeZone::UTC);
    };
    TimeZone::get(name)
        .map_err(|_| Refusal::new(["time_zone"], "is no IANA time zone such as \"America/New_York\""))
}

fn calendar(table: CalendarTable) -> Result<Calendar, Refusal> {
    match table {
        CalendarTable::Named(name) if name == "months" => Ok(Calendar::Months),
        CalendarTable::Named(name) => Err(Refusal::new(
            ["calendar"],
            format!("is {name:?}; \"months\" or a table such as {{ weeks_ending = \"sunday\" }} is expected"),
        )),
        CalendarTable::Weeks(WeeksTable { weeks_ending }) => WEEKDAYS
            .iter()
            .find(|(word, _)| *word == weeks_ending)
            .map(|(_, weekday)| Calendar::WeeksEnding(*weekday))
            .ok_or_else(|| {
                let reason = format!("is {weeks_ending:?}; a day from \"monday\" to \"sunday\" is expected");
                Refusal::new(["calendar", "weeks_ending"], reason)
            }),
    }
}

fn grace(table: GraceTable) -> Result<Grace, Refusal> {
    let in_range = |days: i64| {
        i32::try_from(days)
            .ok()
            .filter(|days| (0..=MOST_DAYS).contains(days))
    };
    let reason = format!("is not a number of days from 0 to {MOST_DAYS}");
    match table {
        GraceTable::Days(days) => in_range(days)
            .map(Grace::Days)
            .ok_or_else(|| Refusal::new(["grace_days"], reason)),
        GraceTable::Business(BusinessTable { business, holidays }) => Ok(Grace::Business {
            days: in_range(business).ok_or_else(|| Refusal::new(["grace_days", "business"], reason))?,
            holidays: match holidays {
                Some(name) if name.is_empty() => {
                    let reason = "is \"\"; the name of a reference table is expected, or leave it out";
                    return Err(Refusal::new(["grace_days", "holidays"], reason));
                }
                holidays => holidays,
            },
        }),
    }
}

fn check_tracked(tracked: &BTreeMap<String, TrackedColumn>) -> Result<(), Refusal> {
    let stray = tracked
        .iter()
        .find(|(_, column)| column.unit.is_some() && column.column_type == ColumnType::Text);
    stray.map_or(Ok(()), |(name, _)| {
        let reason = "needs type = \"amount\" beside it";
        Err(Refusal::new(["tracked", name, "unit"], reason))
    })
}

fn check_risks(risks: &BTreeMap<String, Risk>) -> Result<(), Refusal> {
    let stray = risks
        .keys()
        .find(|kind| !KINDS_WITH_A_RISK.contains(&kind.as_str()));
    stray.map_or(Ok(()), |kind| {
        let reason = format!("is none of {}", KINDS_WITH_A_RISK.join(", "));
        Err(Refusal::new(["risks", kind], reason))
    })
}

fn editors(patterns: Vec<String>) -> Result<Editors, Refusal> {
    Editors::new(patterns).map_err(|bad| Refusal::new(["editors", &bad.place.to_string()], bad.reason))
}

fn natural_key(columns: Vec<String>) -> Result<Vec<String>, Refusal> {
    check_columns(&columns, "leave natural_key out where rows have none")
        .map_err(|reason| Refusal::new(["natural_key"], reason))?;
    Ok(columns)
}

fn moved_within_days(table: &SourceTable) -> Result<i32, Refusal> {
    let refuse = |reason: String| Err(Refusal::new(["moved_within_days"], reason));
    match table.moved_within_days {
        None => Ok(DEFAULT_MOVED_WITHIN_DAYS),
        Some(_) if table.natural_key.is_none() => {
            refuse("needs natural_key beside it, the columns by which a row is known".to_owned())
        }
        Some(days) if !(0..=MOST_DAYS).contains(&days) => {
            refuse(format!("is not a number of days from 0 to {MOST_DAYS}"))
        }
        Some(days) => Ok(days),
    }
}

fn contract_price(table: ContractPriceTable) -> Result<ContractPrice, Refusal> {
    let named = |key: &str, name: String| match name.is_empty() {
        true => Err(Refusal::new(
            ["contract_price", key],
            "is \"\"; a name is expected",
        )),
        false => Ok(name),
    };
    check_columns(
        &table.key,
        "name the columns whose values are the key of the table",
    )
    .map_err(|reason| Refusal::new(["contract_price", "key"], reason))?;
    Ok(ContractPrice {
        table: named("table", table.table)?,
        key: table.key,
        price: named("price", table.price)?,
        quantity: named("quantity", table.quantity)?,
        value: named(
            "value",
            table.value.unwrap_or_else(|| DEFAULT_PRICE_VALUE.to_owned()),
        )?,
    })
}

/// Columns that make a key: at least one, none of them without a name or twice.
fn check_columns(columns: &[String], remedy: &str) -> Result<(), String> {
    if columns.is_empty() {
        return Err(format!("holds no column: {remedy}"));
    }
    let mut seen = BTreeSet::new();
    for column in columns {
        if column.is_empty() {
            return Err("holds \"\"; the name of a column is expected".to_owned());
        }
        if !seen.insert(column) {
            return Err(format!("holds {column:?} twice: remove one of them"));
        }
    }
    Ok(())
}

fn table_name(key: &str, name: String) -> Result<String, Refusal> {
    match name.is_empty() {
        true => Err(Refusal::new(
            [key],
            "is \"\"; the name of a reference table is expected",
        )),
        false => Ok(name),
    }
}

fn thresholds(tables: &BTreeMap<String, ThresholdsTable>) -> Result<BTreeMap<String, Thresholds>, Refusal> {
    tables
        .iter()
        .map(|(currency, limits)| Ok((currency.clone(), limits_of(currency, limits)?)))
        .collect()
}

fn limits_of(currency: &str, table: &ThresholdsTable) -> Result<Thresholds, Refusal> {
    let read = |key: &str, text: &str| {
        text.parse::<Amount>()
            .map_err(|error| Refusal::new(["thresholds", currency, key], error.to_string()))
    };
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(Refusal::new(
            ["thresholds", currency],
            "is no currency code such as USD (ISO 4217, three capital letters)",
        ));
    }
    let limits = Thresholds {
        medium: read("medium", &table.medium)?,
        high: read("high", &table.high)?,
    };
    if limits.medium < Amount::ZERO || limits.medium > limits.high {
        return Err(Refusal::new(
            ["thresholds", currency],
            "is not ordered: 0 <= medium <= high is expected",
        ));
    }
    Ok(limits)
}
