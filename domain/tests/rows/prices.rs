//! Contract prices: `price_within_contract`.

use redline_domain::entity::Standing;
use redline_schemas::fact::Fact;
use redline_schemas::flag::Flag;
use serde_json::{Value, json};

use crate::world::{RULES, at, findings, knowing, only, price, rules, shown, version};

const CONTRACT: &str = r#"
[sources.billing.contract_price]
table = "prices"
key = ["Work Order", "Task"]
price = "Price"
quantity = "Quantity"
"#;

/// A version of work order WO-1, task T-2.
fn work(number: i64, columns: Value) -> Standing {
    let mut all = json!({"Quantity": 10, "Price": 95, "Work Order": "WO-1", "Task": "T-2"});
    all.as_object_mut()
        .expect("an object")
        .extend(columns.as_object().expect("an object").clone());
    version(number, json!({"op": "create", "columns": all}))
}

fn agreed(value: &str) -> Fact {
    price("p", "[\"WO-1\",\"T-2\"]", value)
}

fn flags(prices: Vec<Fact>, history: Vec<Standing>) -> Vec<Flag> {
    let facts = [rules(&format!("{RULES}{CONTRACT}"))].into_iter().chain(prices);
    findings(&knowing(facts), history).flags
}

fn violations(prices: Vec<Fact>, columns: Value) -> Vec<String> {
    shown(&flags(prices, vec![work(1, columns)]))
}

#[test]
fn a_price_above_the_agreed_one_is_flagged_with_its_excess_times_the_quantity() {
    let found = flags(vec![agreed("80.50")], vec![work(1, json!({}))]);
    let flag = only(&found, "rule_violation");
    assert_eq!(
        shown(&found),
        ["rule_violation 1 price_within_contract 145 MEDIUM"]
    );
    assert_eq!(
        flag.reason,
        "Price of R-1 is 95, above the agreed price 80.5; 145.00 USD"
    );
    let details: Vec<(&str, &str)> = flag
        .details
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        details,
        [
            ("agreed_price", "80.5"),
            ("price", "95"),
            ("quantity", "10"),
            ("reference", "p"),
            ("reference_key", "[\"WO-1\",\"T-2\"]"),
            ("reference_table", "prices"),
            ("timing", "modified"),
        ]
    );
    assert!(
        violations(vec![agreed("95")], json!({})).is_empty(),
        "the agreed price itself is kept"
    );
    assert!(
        violations(vec![agreed("80")], json!({"Price": "80.00"})).is_empty(),
        "decimal text is an amount"
    );
}

#[test]
fn without_an_agreed_price_the_rule_is_kept() {
    assert!(violations(vec![], json!({})).is_empty());
    assert!(violations(vec![price("p", "[\"WO-1\",\"T-3\"]", "1")], json!({})).is_empty());
    assert!(
        violations(
            vec![agreed("1"), price("q", "[\"WO-1\",null]", "1")],
            json!({"Task": null})
        )
        .is_empty(),
        "a row that has nothing in a column of the key has no agreed price"
    );
}

#[test]
fn a_key_of_one_column_is_its_value_as_text() {
    let single = CONTRACT.replace("[\"Work Order\", \"Task\"]", "[\"Task\"]");
    let facts = [rules(&format!("{RULES}{single}")), price("p", "2", "90")];
    let found = findings(&knowing(facts), vec![work(1, json!({"Task": 2.0}))]).flags;
    assert_eq!(shown(&found), ["rule_violation 1 price_within_contract 50 LOW"]);
}

#[test]
fn nothing_counts_as_zero() {
    assert!(violations(vec![agreed("80")], json!({"Price": null})).is_empty());
    assert_eq!(
        violations(vec![agreed("80")], json!({"Quantity": null})),
        ["rule_violation 1 price_within_contract 0 LOW"]
    );
}

#[test]
fn what_is_no_amount_or_out_of_range_leaves_the_impact_unknown_and_high() {
    let high = ["rule_violation 1 price_within_contract - HIGH"];
    let above = "an unreadable price counts as above";
    assert_eq!(
        violations(vec![agreed("80")], json!({"Price": "N/A"})),
        high,
        "{above}"
    );
    assert_eq!(
        violations(vec![agreed("80")], json!({"Price": true})),
        high,
        "{above}"
    );
    assert_eq!(violations(vec![agreed("N/A")], json!({})), high);
    assert_eq!(violations(vec![agreed("80")], json!({"Quantity": "N/A"})), high);
    let wide = "9".repeat(29);
    assert_eq!(
        violations(vec![agreed("0")], json!({"Price": wide, "Quantity": 100})),
        high
    );
    assert!(
        violations(vec![agreed("100")], json!({"Quantity": "N/A"})).is_empty(),
        "a price that is kept needs no quantity"
    );
}

#[test]
fn the_price_that_is_valid_at_the_versions_own_time_counts() {
    let (mut old, mut new) = (price("a", "[\"WO-1\",\"T-2\"]", "100"), agreed("80"));
    old.valid_until = Some(at("2026-02-23T05:00:00Z"));
    new.valid_from = Some(at("2026-02-23T05:00:00Z"));
    let mut second = work(2, json!({}));
    let redline_schemas::Event::Row(row) = &mut second.event else {
        unreachable!("a row");
    };
    row.modified_at = Some(at("2026-02-23T05:00:00Z"));
    let found = flags(vec![old, new], vec![work(1, json!({})), second]);
    assert_eq!(
        shown(&found),
        ["rule_violation 2 price_within_contract 150 MEDIUM"],
        "an agreement that sinks flags a row at its next version"
    );
}

#[test]
fn of_several_rows_about_one_key_the_greatest_time_and_then_the_greatest_id_counts() {
    let with = |first: &str, second: &str, later: &str| {
        let (mut one, mut other) = (agreed("80"), agreed("100"));
        (one.id, other.id) = (first.into(), second.into());
        other.effective_at = at(later);
        violations(vec![one, other], json!({}))
    };
    assert!(with("z", "a", "2026-01-01T00:00:00Z").is_empty(), "the later one");
    assert!(
        with("a", "z", "1900-01-01T00:00:00Z").is_empty(),
        "the greatest id"
    );
    assert_eq!(with("z", "a", "1900-01-01T00:00:00Z").len(), 1);
    assert_eq!(
        with("a", "z", "2026-03-01T00:00:00Z").len(),
        1,
        "not yet effective"
    );
}
