//! Rules of one's own, of a calendar and of contract prices.

use redline_domain::entity::Standing;
use redline_schemas::{ColumnValue, Event};
use serde_json::{Value, json};

use crate::world::{
    IN_TIME, PAST_END, RULES, created, flags_under, found_with, rules, rules_from, rules_with, shown, version,
};

pub const OWN_RULES: &str = r#"
[[sources.billing.rules]]
name = "total_is_quantity_times_price"
violated = 'after["Total"] != after["Quantity"] * after["Price"]'
[[sources.billing.rules]]
name = "doubled"
violated = 'after["Total"] > 2 * before["Total"]'
risk = "MEDIUM"
[[sources.billing.rules]]
name = "dear"
violated = 'after["Total"] > 5000'
impact = 'after["Total"] - 5000'
"#;

fn violations(history: Vec<Standing>) -> Vec<String> {
    let flags = flags_under(&format!("{RULES}{OWN_RULES}"), history);
    let mut shown = shown(&flags);
    shown.retain(|line| line.starts_with("rule_violation"));
    shown
}

#[test]
fn a_rule_is_flagged_where_it_is_violated_and_was_not_at_the_version_before() {
    assert_eq!(
        violations(vec![
            created(),
            version(2, json!({"Total": 900})),
            version(3, json!({"Total": 901})),
            version(4, json!({"op": "delete", "Total": 950})),
            version(5, json!({"Total": 902})),
            version(6, json!({})),
            version(7, json!({"Quantity": 9})),
        ]),
        [
            "rule_violation 2 total_is_quantity_times_price -50 LOW",
            "rule_violation 7 total_is_quantity_times_price 95 LOW",
        ],
        "deleted versions are passed over"
    );
    assert_eq!(
        violations(vec![version(1, json!({"Total": 0}))]),
        ["rule_violation 1 total_is_quantity_times_price -950 MEDIUM"],
        "first sight is judged too"
    );
}

#[test]
fn a_rule_that_names_the_version_before_flags_each_version_where_it_is_true_and_is_silent_at_first_sight() {
    let total =
        |number: i64, total: i64| version(number, json!({"Total": total, "Quantity": total, "Price": 1}));
    assert_eq!(
        violations(vec![total(1, 1), total(2, 3), total(3, 7), total(4, 14)]),
        [
            "rule_violation 2 doubled - MEDIUM",
            "rule_violation 3 doubled - MEDIUM"
        ]
    );
}

#[test]
fn a_rule_may_say_what_its_violation_costs() {
    assert_eq!(
        violations(vec![version(
            1,
            json!({"Total": 6500, "Quantity": 65, "Price": 100})
        )]),
        ["rule_violation 1 dear 1500 HIGH"]
    );
}

#[test]
fn a_rule_that_cannot_be_judged_counts_as_violated_and_says_why() {
    let flags = flags_under(
        &format!("{RULES}{OWN_RULES}"),
        vec![
            version(1, json!({"Total": "N/A"})),
            version(2, json!({"Total": "n/a"})),
        ],
    );
    let mut lines = shown(&flags);
    lines.retain(|line| line.starts_with("rule_violation 1"));
    assert_eq!(
        lines,
        [
            "rule_violation 1 dear - HIGH",
            "rule_violation 1 total_is_quantity_times_price - HIGH"
        ]
    );
    assert_eq!(flags[0].details["unreadable"], "\"N/A\" is no amount");
    assert_eq!(
        flags[0].details["after"],
        r#"{"Price":"95","Quantity":"10","Total":"N/A"}"#
    );
}

#[test]
fn a_period_that_ends_on_another_day_than_the_calendar_says_is_a_violation_without_impact() {
    let ends = |calendar: &str, end: Value| {
        let rules = rules_with(&format!("calendar = {calendar}"));
        shown(&flags_under(&rules, vec![version(1, json!({"period_end": end}))]))
    };
    let weeks = "{ weeks_ending = \"sunday\" }";
    assert!(ends(weeks, json!("2026-02-22")).is_empty());
    assert_eq!(
        ends(weeks, json!("2026-02-21")),
        ["rule_violation 1 week_ends_on_sunday - LOW"]
    );
    assert_eq!(
        ends("{ weeks_ending = \"friday\" }", json!("2026-02-22")),
        ["rule_violation 1 week_ends_on_friday - LOW"]
    );
    assert!(ends("\"months\"", json!("2028-02-29")).is_empty());
    assert_eq!(
        ends("\"months\"", json!("2028-02-28")),
        ["rule_violation 1 month_ends_on_its_last_day - LOW"]
    );
    assert!(
        ends(weeks, Value::Null).is_empty(),
        "a version without a period keeps it"
    );
}

#[test]
fn the_risk_of_a_calendars_violation_is_that_of_the_kind_and_its_sentence_names_the_day() {
    let rules = rules_with("calendar = { weeks_ending = \"sunday\" }\nrisks = { rule_violation = \"HIGH\" }");
    let flags = flags_under(&rules, vec![version(1, json!({"period_end": "2026-02-21"}))]);
    assert_eq!(shown(&flags), ["rule_violation 1 week_ends_on_sunday - HIGH"]);
    assert_eq!(
        flags[0].reason,
        "Version 1 of R-1 has a period that ends on 2026-02-21, but weeks end on Sunday"
    );
}

#[test]
fn a_violation_that_goes_on_is_flagged_once() {
    let rules = rules_with("calendar = \"months\"");
    let history = vec![
        version(1, json!({"period_end": "2026-02-28"})),
        version(2, json!({"period_end": "2026-02-27"})),
        version(3, json!({"period_end": "2026-02-26"})),
        version(4, json!({"period_end": "2026-02-28"})),
        version(5, json!({"period_end": "2026-02-27"})),
    ];
    assert_eq!(
        shown(&flags_under(&rules, history)),
        [
            "rule_violation 2 month_ends_on_its_last_day - LOW",
            "rule_violation 5 month_ends_on_its_last_day - LOW"
        ]
    );
}

/// Two versions with a total of 990, one before and one after the instant at which other rules come into force.
fn across(before: &str, after: &str) -> Vec<String> {
    let facts = [
        rules(&format!("{RULES}{before}")),
        rules_from("second", "2026-02-23T00:00:00Z", &format!("{RULES}{after}")),
    ];
    let history = vec![
        version(1, json!({"Total": 990, "modified_at": "2026-02-22T23:59:59Z"})),
        version(2, json!({"Total": 990, "modified_at": "2026-02-23T00:00:00Z"})),
    ];
    found_with(facts, history)
}

fn limit(name: &str, limit: i64) -> String {
    format!("[[sources.billing.rules]]\nname = \"{name}\"\nviolated = 'after[\"Total\"] > {limit}'\n")
}

#[test]
fn the_version_before_is_judged_under_the_rules_of_its_own_time_by_the_rule_of_the_same_name() {
    assert_eq!(
        across("", &limit("dear", 900)),
        ["rule_violation 2 dear - LOW"],
        "where the rule was not yet in force it was not violated"
    );
    assert_eq!(
        across(&limit("dear", 1000), &limit("dear", 900)),
        ["rule_violation 2 dear - LOW"],
        "a limit that sinks flags a row at its next version"
    );
    assert_eq!(
        across(&limit("dear", 900), &limit("dear", 950)),
        ["rule_violation 1 dear - LOW"],
        "it was violated before"
    );
    assert_eq!(
        across(&limit("dear", 900), &limit("costly", 900)),
        ["rule_violation 1 dear - LOW", "rule_violation 2 costly - LOW"],
        "another name is another rule"
    );
}

#[test]
fn an_event_is_judged_under_the_rules_in_force_at_its_own_time() {
    let rules_text = format!("{RULES}{}", limit("dear", 900));
    let facts = || [rules_from("late", "2026-02-23T05:00:00Z", &rules_text)];
    let at = |time: &str| found_with(facts(), vec![version(1, json!({"modified_at": time}))]);
    assert!(at(IN_TIME).is_empty());
    assert_eq!(at(PAST_END), ["rule_violation 1 dear - LOW"]);
    let observed = version(1, json!({"modified_at": null}));
    assert_eq!(
        found_with(facts(), vec![observed]),
        ["rule_violation 1 dear - LOW"],
        "without a modification time the observation counts"
    );
}

/// What a rule finds in two versions of a row whose columns hold these values too.
fn found_by(violated: &str, before: Value, after: Value) -> Vec<String> {
    let text = format!(
        "{}[[sources.billing.rules]]\nname = \"own\"\nviolated = '{violated}'\n",
        rules_with("read = [\"Note\"]")
    );
    let mut history = vec![created(), version(2, json!({}))];
    for (standing, columns) in history.iter_mut().zip([before, after]) {
        if let Event::Row(row) = &mut standing.event {
            for (name, value) in columns.as_object().expect("columns") {
                let value = match value {
                    Value::String(text) => ColumnValue::Text(text.clone()),
                    number => ColumnValue::Amount(number.to_string().parse().expect("an amount")),
                };
                row.columns.insert(name.clone(), value);
            }
        }
    }
    let mut lines = shown(&flags_under(&text, history));
    lines.retain(|line| line.starts_with("rule_violation"));
    lines
}

#[test]
fn a_column_is_read_by_its_type_and_one_without_a_type_as_it_was_sent() {
    let violated = ["rule_violation 2 own - LOW"];
    let changed = "after[\"Foreman\"] != before[\"Foreman\"]";
    assert_eq!(
        found_by(changed, json!({"Foreman": "007"}), json!({"Foreman": "7"})),
        violated
    );
    let noted = "after[\"Note\"] == \"1001\"";
    assert_eq!(found_by(noted, json!({}), json!({"Note": "1001"})), violated);
    assert!(found_by(noted, json!({}), json!({"Note": "1001.0"})).is_empty());
    let above = "after[\"Note\"] > 1000";
    assert_eq!(
        found_by(above, json!({}), json!({"Note": 1001})),
        violated,
        "a number is an amount"
    );
    assert_eq!(
        found_by(above, json!({}), json!({"Note": "1001"})),
        ["rule_violation 2 own - HIGH"],
        "text is none"
    );
    assert_eq!(
        found_by("after[\"Price\"] > 100", json!({}), json!({"Price": "100.50"})),
        violated,
        "a unit is read as an amount"
    );
}
