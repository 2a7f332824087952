//! The contract's sentences, each with the smallest history that shows it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::judge;
use crate::amount::Amount;
use crate::event::{Cell, Content, Event, Op};
use crate::fact::{Approval, Fact, Reference, Statement};
use crate::rulebook::{FOREMAN, PRICE, QUANTITY, TOTAL};
use crate::settings::Grace;
use crate::truth::{Change, Flag, Risk};

const NO_GRACE: Grace = Grace::CalendarDays(0);
const BUSINESS: Grace = Grace::BusinessDays(2);

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn number(text: &str) -> Cell {
    Cell::Number(Amount::parse(text).unwrap())
}

/// A version of the row of the contract's example, in the week that ends on 2026-02-22.
fn row(version: u64, op: Op, modified_at: &str) -> Event {
    let columns = [(QUANTITY, "12"), (PRICE, "95"), (TOTAL, "1140")];
    let mut columns: BTreeMap<String, Cell> = columns
        .into_iter()
        .map(|(name, text)| (name.to_string(), number(text)))
        .collect();
    columns.insert(FOREMAN.to_string(), Cell::text("B. Lee"));
    columns.insert("Work Order".to_string(), Cell::text("WO-1"));
    columns.insert("Task".to_string(), Cell::text("T-2"));
    let content = Content {
        row_id: "R-1001".to_string(),
        version,
        op,
        modified_at: Some(at(modified_at)),
        modified_by: Some("ann@example.com".to_string()),
        period_end: Some(jiff::civil::date(2026, 2, 22)),
        completed: false,
        currency: Some("USD".to_string()),
        link: None,
        legal_entity: None,
        columns,
        column_edits: BTreeMap::new(),
    };
    Event {
        content,
        observed_at: at("2026-03-20T00:00:00Z"),
        wordy: false,
    }
}

fn first() -> Event {
    row(1, Op::Create, "2026-02-16T12:00:00Z")
}

fn with(mut event: Event, cells: &[(&str, Cell)]) -> Event {
    for (column, cell) in cells {
        event.content.columns.insert((*column).to_string(), cell.clone());
    }
    event
}

/// The second version, with these cells, at this instant.
fn second(modified_at: &str, cells: &[(&str, Cell)]) -> Event {
    with(row(2, Op::Update, modified_at), cells)
}

fn of_kind<'a>(flags: &'a [Flag], kind: &str) -> Vec<&'a Flag> {
    flags.iter().filter(|flag| flag.kind == kind).collect()
}

fn found(grace: Grace, events: &[Event], facts: &[Fact]) -> (Vec<Change>, Vec<Flag>) {
    judge(grace, events, facts)
}

fn retroactive(grace: Grace, modified_at: &str, facts: &[Fact]) -> bool {
    let events = [first(), second(modified_at, &[(FOREMAN, Cell::text("C. Wu"))])];
    !of_kind(&found(grace, &events, facts).1, "retroactive_change").is_empty()
}

fn holiday(day: &str) -> Fact {
    let reference = Reference {
        table: "us".to_string(),
        key: day.to_string(),
        values: BTreeMap::new(),
        valid_from: None,
        valid_until: None,
    };
    Fact {
        id: day.to_string(),
        version: 0,
        effective_at: at("1900-01-01T00:00:00Z"),
        statement: Statement::Reference(reference),
    }
}

fn period(id: &str, effective_at: &str, closed: bool) -> Fact {
    let end = jiff::civil::date(2026, 2, 22);
    Fact {
        id: id.to_string(),
        version: 0,
        effective_at: at(effective_at),
        statement: Statement::Period { end, closed },
    }
}

#[test]
fn in_new_york_a_change_passes_until_the_last_second_of_the_period_and_no_longer() {
    assert!(!retroactive(NO_GRACE, "2026-02-23T04:59:59Z", &[]));
    assert!(!retroactive(NO_GRACE, "2026-02-23T04:59:59.999999Z", &[]));
    assert!(retroactive(NO_GRACE, "2026-02-23T05:00:00Z", &[]));
}

#[test]
fn grace_in_business_days_passes_over_weekends_and_holidays() {
    // The end is a Sunday, so that Tuesday the 24th is the second business day.
    assert!(!retroactive(BUSINESS, "2026-02-25T04:59:59Z", &[]));
    assert!(retroactive(BUSINESS, "2026-02-25T05:00:00Z", &[]));
    let facts = [holiday("2026-02-24")];
    assert!(!retroactive(BUSINESS, "2026-02-26T04:59:59Z", &facts));
    assert!(retroactive(BUSINESS, "2026-02-26T05:00:00Z", &facts));
}

#[test]
fn a_change_between_close_and_reopening_is_retroactive_and_no_other() {
    let facts = [
        period("a", "2026-02-17T00:00:00Z", true),
        period("b", "2026-02-18T00:00:00Z", false),
    ];
    assert!(!retroactive(NO_GRACE, "2026-02-16T23:59:59Z", &facts));
    assert!(retroactive(NO_GRACE, "2026-02-17T00:00:00Z", &facts));
    assert!(!retroactive(NO_GRACE, "2026-02-18T00:00:00Z", &facts));
    let tie = [
        period("a", "2026-02-17T00:00:00Z", true),
        period("b", "2026-02-17T00:00:00Z", false),
    ];
    assert!(!retroactive(NO_GRACE, "2026-02-17T12:00:00Z", &tie));
}

#[test]
fn the_impact_of_the_total_is_after_minus_before_and_of_the_quantity_it_times_the_price_before() {
    let cells = [
        (QUANTITY, number("10")),
        (PRICE, number("100")),
        (TOTAL, Cell::text("1000.00")),
    ];
    let (changes, flags) = found(NO_GRACE, &[first(), second("2026-02-17T00:00:00Z", &cells)], &[]);
    let impacts: BTreeMap<&str, Option<&str>> = changes
        .iter()
        .map(|change| (change.column_name.as_str(), change.impact.as_deref()))
        .collect();
    assert_eq!(impacts[TOTAL], Some("-140"));
    assert_eq!(impacts[QUANTITY], Some("-190"));
    assert_eq!(impacts[PRICE], None);
    assert!(flags.is_empty(), "{flags:?}");
}

#[test]
fn nothing_counts_as_zero_but_is_another_value_than_zero() {
    let empty = with(first(), &[(TOTAL, Cell::Null)]);
    let filled = second("2026-02-24T00:00:00Z", &[(TOTAL, number("0"))]);
    let (changes, flags) = found(NO_GRACE, &[empty, filled], &[]);
    assert_eq!(
        (changes[0].before.as_deref(), changes[0].after.as_deref()),
        (None, Some("0"))
    );
    assert_eq!(changes[0].impact.as_deref(), Some("0"));
    assert_eq!(of_kind(&flags, "retroactive_change")[0].risk, Risk::Low);
}

#[test]
fn risk_is_at_or_above_a_threshold_and_high_without_one() {
    let risk = |total: &str, currency: Option<&str>| {
        let mut events = [first(), second("2026-02-24T00:00:00Z", &[(TOTAL, number(total))])];
        for event in &mut events {
            event.content.currency = currency.map(str::to_string);
        }
        let (_, flags) = found(NO_GRACE, &events, &[]);
        of_kind(&flags, "retroactive_change")[0].risk
    };
    assert_eq!(risk("1239.99", Some("USD")), Risk::Low);
    assert_eq!(risk("1240", Some("USD")), Risk::Medium);
    assert_eq!(risk("140.01", Some("USD")), Risk::Medium);
    assert_eq!(risk("140", Some("USD")), Risk::High);
    assert_eq!(risk("1141", Some("GBP")), Risk::High);
    assert_eq!(risk("1141", None), Risk::High);
}

#[test]
fn another_currency_makes_impacts_unknown_and_high() {
    let mut euro = second("2026-02-24T00:00:00Z", &[(TOTAL, number("1141"))]);
    euro.content.currency = Some("EUR".to_string());
    let (changes, flags) = found(NO_GRACE, &[first(), euro], &[]);
    assert_eq!(
        (changes[0].impact.as_deref(), changes[0].currency.as_deref()),
        (None, Some("EUR"))
    );
    assert_eq!(of_kind(&flags, "retroactive_change")[0].risk, Risk::High);
    let lock = of_kind(&flags, "lock_change")[0];
    assert_eq!(
        (lock.before.as_deref(), lock.after.as_deref()),
        (Some("USD"), Some("EUR"))
    );
}

#[test]
fn a_delete_weighs_minus_the_amount_and_takes_what_it_does_not_say_from_before() {
    let mut delete = row(2, Op::Delete, "2026-02-24T00:00:00Z");
    delete.content.columns.clear();
    delete.content.currency = None;
    delete.content.period_end = None;
    let (changes, flags) = found(NO_GRACE, &[first(), delete.clone()], &[]);
    assert!(changes.is_empty() && flags.len() == 1);
    assert_eq!(flags[0].impact.as_deref(), Some("-1140"));
    assert_eq!(flags[0].period.as_deref(), Some("2026-02-22"));
    assert_eq!(
        (flags[0].currency.as_deref(), flags[0].risk),
        (Some("USD"), Risk::High)
    );
    delete.content.currency = Some("EUR".to_string());
    let (_, flags) = found(NO_GRACE, &[first(), delete], &[]);
    assert_eq!((flags[0].impact.as_deref(), flags[0].risk), (None, Risk::High));
}

#[test]
fn a_version_is_compared_with_the_one_before_by_version_whatever_the_time() {
    let later_known = second("2026-02-18T00:00:00Z", &[(FOREMAN, Cell::text("B"))]);
    let mut third = with(
        row(3, Op::Update, "2026-02-17T00:00:00Z"),
        &[(FOREMAN, Cell::text("C"))],
    );
    third.observed_at = at("2026-02-17T00:00:00Z");
    let (changes, _) = found(NO_GRACE, &[third, first(), later_known], &[]);
    let values: Vec<_> = changes
        .iter()
        .map(|change| (change.version, change.before.as_deref().unwrap()))
        .collect();
    assert_eq!(values, [(2, "B. Lee"), (3, "B")]);
}

#[test]
fn of_two_contents_the_one_without_a_time_does_not_stand() {
    let timed = second("2026-02-17T00:00:00Z", &[(FOREMAN, Cell::text("Timed"))]);
    let mut timeless = with(timed.clone(), &[(FOREMAN, Cell::text("Timeless"))]);
    timeless.content.modified_at = None;
    let (changes, flags) = found(NO_GRACE, &[first(), timeless, timed], &[]);
    assert_eq!(changes[0].after.as_deref(), Some("Timed"));
    assert_eq!(of_kind(&flags, "conflicting_version").len(), 1);
}

#[test]
fn an_approval_is_used_by_the_first_change_in_time() {
    let change =
        |version, time: &str, total: &str| with(row(version, Op::Update, time), &[(TOTAL, number(total))]);
    let approval = Approval {
        row_id: "R-1001".to_string(),
        column: TOTAL.to_string(),
        editor: "Ann@example.com".to_string(),
        approver: "ben@example.com".to_string(),
        valid_from: None,
        valid_until: None,
        value: None,
        ceiling: Some(Amount::whole(10)),
    };
    let fact = Fact {
        id: "A".to_string(),
        version: 0,
        effective_at: at("2026-02-23T00:00:00Z"),
        statement: Statement::Approval(approval),
    };
    // The third version is the earlier one.
    let events = [
        first(),
        change(2, "2026-02-25T00:00:00Z", "1141"),
        change(3, "2026-02-24T00:00:00Z", "1142"),
    ];
    let (changes, flags) = found(NO_GRACE, &events, &[fact]);
    let authorised: Vec<_> = changes
        .iter()
        .map(|change| (change.version, change.authorised))
        .collect();
    assert!(authorised.contains(&(3, true)) && authorised.contains(&(2, false)));
    let versions: Vec<u64> = of_kind(&flags, "retroactive_change")
        .iter()
        .map(|flag| flag.version)
        .collect();
    assert_eq!(versions, [2]);
}

#[test]
fn a_row_is_moved_when_it_is_created_again_within_seven_times_twenty_four_hours() {
    let moved = |created: &str| {
        let delete = row(2, Op::Delete, "2026-02-17T10:00:00Z");
        let mut again = row(1, Op::Create, created);
        again.content.row_id = "R-2".to_string();
        let (_, flags) = found(NO_GRACE, &[first(), delete, again], &[]);
        let moved: Vec<String> = of_kind(&flags, "row_moved")
            .iter()
            .map(|f| f.entity_id.clone())
            .collect();
        moved == ["R-2"]
    };
    assert!(moved("2026-02-17T10:00:00Z"));
    assert!(moved("2026-02-24T10:00:00Z"));
    assert!(!moved("2026-02-24T10:00:00.000001Z"));
    assert!(!moved("2026-02-17T09:59:59Z"));
}

#[test]
fn a_rule_is_flagged_where_it_was_not_violated_before() {
    let wrong = |version, total: &str| {
        let time = format!("2026-02-17T00:0{version}:00Z");
        with(row(version, Op::Update, &time), &[(TOTAL, number(total))])
    };
    let events = [
        first(),
        wrong(2, "1140.01"),
        wrong(3, "5"),
        wrong(4, "1140"),
        wrong(5, "5"),
    ];
    let (_, flags) = found(NO_GRACE, &events, &[]);
    let flags = of_kind(&flags, "rule_violation");
    let these: Vec<_> = flags
        .iter()
        .map(|flag| (flag.version, flag.impact.as_deref().unwrap(), flag.risk))
        .collect();
    assert_eq!(these, [(2, "0.01", Risk::Low), (5, "-1135", Risk::High)]);
    // At first sight as well.
    let (_, flags) = found(NO_GRACE, &[with(first(), &[(TOTAL, Cell::text("N/A"))])], &[]);
    assert_eq!(
        (flags[0].kind.as_str(), flags[0].risk),
        ("rule_violation", Risk::High)
    );
}

#[test]
fn a_row_without_a_period_is_never_late_and_one_absent_end_leaves_the_other() {
    let mut none = second("2026-03-24T00:00:00Z", &[(FOREMAN, Cell::text("C"))]);
    none.content.period_end = None;
    let (_, flags) = found(NO_GRACE, &[first(), none.clone()], &[]);
    assert_eq!(of_kind(&flags, "retroactive_change").len(), 1);
    let mut without = first();
    without.content.period_end = None;
    let (_, flags) = found(NO_GRACE, &[without, none], &[]);
    assert!(flags.is_empty(), "{flags:?}");
}
