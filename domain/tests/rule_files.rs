//! Rule files: what they may say, and how each misuse is refused, with line, key and remedy.

#![allow(clippy::expect_used, reason = "this is how a test fails")]

use redline_domain::calendar::Calendar;
use redline_domain::period::Grace;
use redline_domain::rules::RuleSet;

const SHIPPED: &str = include_str!("../../configs/rules.toml");

/// The shipped file with its examples in comments switched on: whatever looks like a key or a table behind a `#`.
fn shipped_with_its_examples() -> String {
    let is_example = |line: &str| {
        let rest = line.strip_prefix("# ").unwrap_or_default();
        rest.starts_with('[') || rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))
    };
    SHIPPED
        .lines()
        .map(|line| if is_example(line) { &line[2..] } else { line })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_shipped_example_is_read_and_so_are_its_examples_in_comments() {
    let set = RuleSet::parse(SHIPPED).expect("the shipped file");
    let billing = set.source("billing").expect("billing");
    assert_eq!(billing.amount.as_deref(), Some("Redlined Total Price"));
    assert_eq!(billing.tracked["Quantity"].unit.as_deref(), Some("Unit Price"));
    assert!(billing.rules.is_empty() && billing.calendar.is_none() && billing.contract_price.is_none());

    let text = shipped_with_its_examples();
    let set = RuleSet::parse(&text).expect("the examples");
    let billing = set.source("billing").expect("billing");
    assert!(
        billing.calendar.is_some() && billing.contract_price.is_some(),
        "{text}"
    );
    assert!(!billing.natural_key.is_empty() && billing.editors_table.is_some());
    assert_eq!(billing.rules.len(), 1);
}

#[test]
fn every_key_is_read() {
    let text = r#"
[sources.a]
calendar = { weeks_ending = "friday" }
grace_days = { business = 2, holidays = "us" }
amount = "Total"
read = ["Foreman"]
natural_key = ["Order", "Task"]
moved_within_days = 3
editors = ["*@example.com"]
editors_table = "people"
risks = { row_moved = "HIGH" }
[sources.a.tracked]
"Quantity" = { type = "amount", unit = "Price" }
[sources.a.contract_price]
table = "prices"
key = ["Order", "Region"]
price = "Charged"
quantity = "Count"
value = "cost"
[sources.b]
calendar = "months"
grace_days = 4
"#;
    let set = RuleSet::parse(text).expect("rules");
    let a = set.source("a").expect("a");
    assert_eq!(
        a.calendar.map(Calendar::rule_name).as_deref(),
        Some("week_ends_on_friday")
    );
    assert_eq!(
        a.grace,
        Grace::Business {
            days: 2,
            holidays: Some("us".into())
        }
    );
    assert_eq!(
        (a.moved_within_days, a.editors_table.as_deref()),
        (3, Some("people"))
    );
    assert_eq!(
        a.contract_price.as_ref().map(|price| price.value.as_str()),
        Some("cost")
    );
    assert_eq!(
        a.read_columns().into_iter().collect::<Vec<_>>(),
        [
            "Charged", "Count", "Foreman", "Order", "Price", "Quantity", "Region", "Task", "Total"
        ],
        "everything that detection reads"
    );
    let b = set.source("b").expect("b");
    assert_eq!(
        (b.calendar, &b.grace, b.moved_within_days),
        (Some(Calendar::Months), &Grace::Days(4), 7)
    );
}

fn refusal(text: &str) -> String {
    RuleSet::parse(text).expect_err("refused").to_string()
}

/// Each file, and how its refusal begins.
fn assert_refused(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let refusal = refusal(text);
        assert!(refusal.starts_with(expected), "\n{refusal}\n{expected}");
    }
}

#[test]
fn unknown_keys_are_refused_with_those_that_there_are() {
    assert_refused(&[
        (
            "[source.a]",
            "line 1: source cannot be used: unknown field `source`, expected `sources`",
        ),
        (
            "[sources.a]\n\ncolour = 1",
            "line 3: sources.a.colour cannot be used: unknown field `colour`, expected one of `time_zone`",
        ),
        (
            "[sources.a.tracked]\n\"Unit Price\" = { type = \"amount\", units = \"x\" }",
            "line 2: sources.a.tracked.\"Unit Price\".units cannot be used: unknown field `units`, expected one of `type`",
        ),
        (
            "[sources.a.contract_price]\ntables = \"t\"",
            "line 2: sources.a.contract_price.tables cannot be used: unknown field",
        ),
        (
            "[[sources.a.rules]]\nnames = \"r\"",
            "line 2: sources.a.rules.0.names cannot be used: unknown field",
        ),
        (
            "[sources.a.risks]\nreversion = \"HIGH\"",
            "line 2: sources.a.risks.reversion is none of conflicting_version",
        ),
    ]);
}

#[test]
fn values_of_another_kind_are_refused() {
    assert_refused(&[
        (
            "[sources.a]\namount = 1",
            "line 2: sources.a.amount cannot be used: invalid type: integer `1`, expected a string",
        ),
        (
            "[sources.a.tracked]\nq = { type = \"money\" }",
            "line 2: sources.a.tracked.q.type cannot be used: unknown variant `money`, expected `amount` or `text`",
        ),
        (
            "[sources.a.risks]\nlate_row = \"URGENT\"",
            "line 2: sources.a.risks.late_row cannot be used: unknown variant `URGENT`",
        ),
        ("[sources.a\n", "line 1: "),
        ("[[sources.a.rules]]\nname = \"r\"", "line 1: sources.a.rules"),
        (
            "[sources.a]\ntime_zone = \"Mars\"",
            "line 2: sources.a.time_zone is no IANA time zone such as \"America/New_York\"",
        ),
        (
            "[sources.a.tracked]\nq = { type = \"text\", unit = \"p\" }",
            "line 2: sources.a.tracked.q.unit needs type = \"amount\" beside it",
        ),
    ]);
}

#[test]
fn grace_and_calendars_that_cannot_be_are_refused() {
    let grace = "line 2: sources.a.grace_days is neither a number of days nor a table such as { business = 2, holidays = \"us\" }";
    let calendar =
        "line 2: sources.a.calendar is neither \"months\" nor a table such as { weeks_ending = \"sunday\" }";
    assert_refused(&[
        (
            "[sources.a]\ngrace_days = -1",
            "line 2: sources.a.grace_days is not a number of days from 0 to 3660",
        ),
        (
            "[sources.a]\ngrace_days = 9999999999",
            "line 2: sources.a.grace_days is not a number of days from 0 to 3660",
        ),
        ("[sources.a]\ngrace_days = \"two\"", grace),
        ("[sources.a]\ngrace_days = { holidays = \"us\" }", grace),
        (
            "[sources.a]\ngrace_days = { business = 1, weekends = true }",
            grace,
        ),
        (
            "[sources.a]\ngrace_days = { business = 9999 }",
            "line 2: sources.a.grace_days.business is not a number of days",
        ),
        (
            "[sources.a]\ngrace_days = { business = 1, holidays = \"\" }",
            "line 2: sources.a.grace_days.holidays is \"\"; the name of a reference table",
        ),
        (
            "[sources.a]\ncalendar = \"quarters\"",
            "line 2: sources.a.calendar is \"quarters\"; \"months\" or a table",
        ),
        ("[sources.a]\ncalendar = 4", calendar),
        ("[sources.a]\ncalendar = { weeks = \"sunday\" }", calendar),
        (
            "[sources.a]\ncalendar = { weeks_ending = \"Sun\" }",
            "line 2: sources.a.calendar.weeks_ending is \"Sun\"; a day from \"monday\" to \"sunday\" is expected",
        ),
    ]);
}

#[test]
fn thresholds_that_are_not_ordered_are_refused() {
    assert_refused(&[
        (
            "[sources.a.thresholds]\nUSD = { medium = \"9\", high = \"1\" }",
            "line 2: sources.a.thresholds.USD is not ordered: 0 <= medium <= high is expected",
        ),
        (
            "[sources.a.thresholds]\nUSD = { medium = \"-1\", high = \"1\" }",
            "line 2: sources.a.thresholds.USD is not ordered",
        ),
        (
            "[sources.a.thresholds]\nUSD = { medium = \"x\", high = \"1\" }",
            "line 2: sources.a.thresholds.USD.medium is not a decimal number",
        ),
        (
            "[sources.a.thresholds]\nusd = { medium = \"1\", high = \"2\" }",
            "line 2: sources.a.thresholds.usd is no currency code such as USD",
        ),
    ]);
}

#[test]
fn patterns_of_editors_that_another_one_covers_are_refused() {
    assert_refused(&[
        (
            "[sources.a]\neditors = [\"\"]",
            "line 2: sources.a.editors.0 is \"\"; a pattern is a name",
        ),
        (
            "[sources.a]\neditors = [\n  \"ann\",\n  \"ANN\"]",
            "line 4: sources.a.editors.1 is \"ANN\", whose editors \"ann\" allows already: remove it",
        ),
        (
            "[sources.a]\neditors = [\"ann@example.com\", \"*@example.com\"]",
            "line 2: sources.a.editors.0 is \"ann@example.com\", whose editors \"*@example.com\" allows already",
        ),
        (
            "[sources.a]\neditors = [\"*@example.com\", \"a*@example.com\"]",
            "line 2: sources.a.editors.1 is \"a*@example.com\"",
        ),
        (
            "[sources.a]\neditors = [\"a\", \"b\", \"*\"]",
            "line 2: sources.a.editors.0 is \"a\"",
        ),
        (
            "[sources.a]\neditors_table = \"\"",
            "line 2: sources.a.editors_table is \"\"; the name of a reference table",
        ),
    ]);
    for kept in [
        "[\"a*\", \"*b\"]",
        "[\"*@a.org\", \"*@b.org\"]",
        "[\"a*c\", \"ab\"]",
        "[]",
    ] {
        RuleSet::parse(&format!("[sources.a]\neditors = {kept}"))
            .expect("patterns that only overlap in part");
    }
}

#[test]
fn keys_of_rows_that_cannot_be_are_refused() {
    assert_refused(&[
        (
            "[sources.a]\nnatural_key = []",
            "line 2: sources.a.natural_key holds no column: leave natural_key out",
        ),
        (
            "[sources.a]\nnatural_key = [\"A\", \"A\"]",
            "line 2: sources.a.natural_key holds \"A\" twice: remove one of them",
        ),
        (
            "[sources.a]\nnatural_key = [\"\"]",
            "line 2: sources.a.natural_key holds \"\"",
        ),
        (
            "[sources.a]\nmoved_within_days = 3",
            "line 2: sources.a.moved_within_days needs natural_key beside it",
        ),
        (
            "[sources.a]\nnatural_key = [\"A\"]\nmoved_within_days = -1",
            "line 3: sources.a.moved_within_days is not a number of days from 0 to 3660",
        ),
        (
            "[sources.a.contract_price]\ntable = \"t\"\nkey = [\"A\", \"A\"]\nprice = \"p\"\nquantity = \"q\"",
            "line 3: sources.a.contract_price.key holds \"A\" twice",
        ),
        (
            "[sources.a.contract_price]\ntable = \"t\"\nkey = []\nprice = \"p\"\nquantity = \"q\"",
            "line 3: sources.a.contract_price.key holds no column",
        ),
        (
            "[sources.a.contract_price]\ntable = \"\"\nkey = [\"k\"]\nprice = \"p\"\nquantity = \"q\"",
            "line 2: sources.a.contract_price.table is \"\"; a name is expected",
        ),
        (
            "[sources.a.contract_price]\ntable = \"t\"",
            "line 1: sources.a.contract_price cannot be used: missing field `key`",
        ),
    ]);
}

/// A source with one rule of its own, in the third line.
fn own_rule(name: &str, violated: &str) -> String {
    format!(
        "[sources.a]\nnatural_key = [\"Q\"]\n[[sources.a.rules]]\nname = \"{name}\"\nviolated = '{violated}'"
    )
}

#[test]
fn rules_of_ones_own_that_cannot_be_are_refused() {
    let refused = |name: &str, violated: &str, expected: &str| {
        assert_refused(&[(&own_rule(name, violated), expected)]);
    };
    for name in [
        "price_within_contract",
        "month_ends_on_its_last_day",
        "week_ends_on_sunday",
        "week_ends_on_monday",
    ] {
        let expected = format!(
            "line 4: sources.a.rules.0.name is {name:?}, the name of a built-in rule: choose another one"
        );
        refused(name, "1 > 2", &expected);
    }
    RuleSet::parse(&own_rule("week_ends_on_payday", "after[\"Q\"] > 1"))
        .expect("a name that no calendar brings");
    refused(
        "r",
        "after[\"P\"] > 1",
        "line 5: sources.a.rules.0.violated names the column \"P\", which the source does not read: add it to `read` or `tracked`",
    );
    refused(
        "r",
        "after[\"Q\"] >",
        "line 5: sources.a.rules.0.violated does not compile: ",
    );
    refused(
        "r",
        "after > 1",
        "line 5: sources.a.rules.0.violated names `after` without a column: after[\"Quantity\"] is expected",
    );
    for endless in [
        "while true { }",
        "loop { }",
        "do { } while true",
        "for x in 1 { }",
    ] {
        let word = endless.split(' ').next().unwrap_or_default();
        let expected = format!(
            "line 5: sources.a.rules.0.violated holds `{word}`: a rule is one expression that ends, without loops"
        );
        refused("r", endless, &expected);
    }
    assert_refused(&[(
        "[sources.a]\nread = [\"Q\"]\n[[sources.a.rules]]\nname = \"r\"\nviolated = 'after[\"Q\"] > 2'\n[[sources.a.rules]]\nname = \"r\"\nviolated = '1 > 2'",
        "line 7: sources.a.rules.1.name is there twice: \"r\"; each rule needs a name of its own",
    )]);
}

#[test]
fn the_hash_covers_one_source_and_not_the_order_of_keys() {
    let hash = |text: &str| {
        let set = RuleSet::parse(text).expect("rules");
        set.source("a").expect("a").hash.clone()
    };
    let first = hash("[sources.a]\ngrace_days = 1\namount = \"x\"");
    assert_eq!(
        first,
        hash("[sources.b]\n[sources.a]\namount = \"x\"\ngrace_days = 1")
    );
    assert_ne!(first, hash("[sources.a]\ngrace_days = 2\namount = \"x\""));
}
