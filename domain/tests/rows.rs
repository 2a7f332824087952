//! "Rules for rows" of the contract, sentence by sentence: a history, and the flags that it must make.

#![allow(clippy::expect_used, reason = "this is how a test fails")]

use std::sync::Arc;

use redline_domain::entity::{EntityState, Findings, Standing};
use redline_domain::facts::Knowledge;
use redline_domain::finding::{Ledger, Place};
use redline_schemas::fact::Fact;
use redline_schemas::flag::Flag;
use redline_schemas::{ContentHash, Event, EventKind, Timestamp};
use serde_json::{Value, json};

const RULES: &str = r#"
[sources.billing]
time_zone = "America/New_York"
amount = "Total"
[sources.billing.tracked]
"Quantity" = { type = "amount", unit = "Price" }
"Total" = { type = "amount" }
"Foreman" = { type = "text" }
[sources.billing.thresholds]
USD = { medium = "100", high = "1000" }
"#;

/// In time: the period's last day, in New York.
const IN_TIME: &str = "2026-02-23T04:59:59Z";
/// The second after it.
const PAST_END: &str = "2026-02-23T05:00:00Z";

/// A version of R-1 that is created in time; `more` wins over what is usual.
fn version(number: i64, more: Value) -> Standing {
    let mut row = json!({"source": "billing", "row_id": "R-1", "version": number, "op": "update",
        "observed_at": "2026-03-02T10:00:00Z", "modified_at": IN_TIME, "modified_by": "ann@example.com",
        "period_end": "2026-02-22", "currency": "USD",
        "columns": {"Quantity": 10, "Price": 95, "Total": 950, "Foreman": "B. Lee"}});
    for (name, value) in more.as_object().expect("an object") {
        match (value, row["columns"].get(name)) {
            (Value::Null, _) => drop(row.as_object_mut().expect("an object").remove(name)),
            (value, Some(_)) => row["columns"][name] = value.clone(),
            (value, None) => row[name] = value.clone(),
        }
    }
    let event = Event::from_json(EventKind::Row, &row.to_string()).expect("a row");
    let hash = ContentHash::of(event.canonical().as_bytes());
    let ledger = Ledger {
        topic: "redline.rows".into(),
        incarnation: "id".into(),
        partition: 0,
    };
    let place = Place {
        ledger: Arc::new(ledger),
        offset: number,
    };
    Standing {
        event,
        hash,
        place,
        hashes: vec![hash],
    }
}

fn created() -> Standing {
    version(1, json!({"op": "create"}))
}

fn flags_under(rules: &str, history: Vec<Standing>) -> Vec<Flag> {
    let mut knowledge = Knowledge::default();
    let fact = Fact::rules("rules", 0, Timestamp::FIRST, "test", rules);
    knowledge.take(&fact, ContentHash::of(b"rules")).expect("rules");
    let (mut state, mut findings) = (EntityState::default(), Findings::default());
    for standing in history {
        state.apply(standing, &knowledge, &mut findings);
    }
    findings.flags
}

/// `kind version column impact risk`, `-` for what is absent.
fn shown(flags: &[Flag]) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let mut shown: Vec<String> = flags
        .iter()
        .map(|flag| {
            let impact = flag.impact.map(|impact| impact.to_string());
            [
                flag.kind.clone(),
                flag.version.to_string(),
                or_dash(flag.column.clone()),
                or_dash(impact),
                flag.risk.clone(),
            ]
            .join(" ")
        })
        .collect();
    shown.sort();
    shown
}

fn found(history: Vec<Standing>) -> Vec<String> {
    shown(&flags_under(RULES, history))
}

#[test]
fn a_row_created_past_its_end_plus_grace_is_late_with_its_amount() {
    let created_at = |time: &str, more: Value| {
        let mut row = json!({"op": "create", "modified_at": time});
        row.as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        vec![version(1, row)]
    };
    assert_eq!(
        found(created_at(PAST_END, json!({}))),
        ["late_row 1 - 950 MEDIUM"]
    );
    assert!(
        found(created_at(IN_TIME, json!({}))).is_empty(),
        "in time to the second"
    );
    assert!(
        found(created_at(PAST_END, json!({"op": "update"}))).is_empty(),
        "only by `create`"
    );
    assert!(
        found(created_at(PAST_END, json!({"period_end": null}))).is_empty(),
        "without an end nothing is late"
    );
    assert_eq!(
        found(created_at(PAST_END, json!({"Total": "N/A"}))),
        ["late_row 1 - - HIGH"],
        "an amount that is text is unknown"
    );
    assert_eq!(
        found(created_at(PAST_END, json!({"currency": null}))),
        ["late_row 1 - 950 HIGH"],
        "a currency without thresholds is HIGH"
    );
    let graceful = RULES.replace("amount = ", "grace_days = 1\namount = ");
    assert!(
        flags_under(&graceful, created_at(PAST_END, json!({}))).is_empty(),
        "grace counts"
    );
}

#[test]
fn without_a_modification_time_the_observation_counts_and_is_said() {
    let row = version(1, json!({"op": "create", "modified_at": null}));
    let flags = flags_under(RULES, vec![row]);
    assert_eq!(shown(&flags), ["late_row 1 - 950 MEDIUM"]);
    assert_eq!(flags[0].details["timing"], "observed");
    assert_eq!(
        flags[0].modified_at.map(|time| time.to_string()).as_deref(),
        Some("2026-03-02T10:00:00Z")
    );
}

#[test]
fn a_delete_at_first_sight_makes_nothing_and_the_next_is_first_sight() {
    assert_eq!(
        found(vec![
            version(
                1,
                json!({"op": "delete", "completed": true, "modified_at": PAST_END})
            ),
            version(2, json!({"op": "create", "modified_at": PAST_END})),
        ]),
        ["late_row 2 - 950 MEDIUM"]
    );
}

#[test]
fn a_return_after_a_delete_is_never_late_and_a_second_delete_makes_nothing() {
    assert_eq!(
        found(vec![
            created(),
            version(2, json!({"op": "delete", "modified_at": PAST_END})),
            version(3, json!({"op": "delete", "modified_at": PAST_END})),
            version(4, json!({"op": "create", "modified_at": PAST_END})),
            version(5, json!({"op": "delete", "modified_at": PAST_END})),
        ]),
        ["row_deleted 2 - -950 MEDIUM", "row_deleted 5 - -950 MEDIUM"]
    );
}

#[test]
fn a_delete_is_flagged_of_a_row_that_was_completed_or_past_its_end() {
    let deleted = |before: Value, delete: Value| {
        let mut row = json!({"op": "delete"});
        row.as_object_mut()
            .expect("an object")
            .extend(delete.as_object().expect("an object").clone());
        found(vec![version(1, before), version(2, row)])
    };
    assert!(deleted(json!({}), json!({})).is_empty(), "open and in time");
    assert!(
        deleted(json!({}), json!({"completed": true})).is_empty(),
        "read before the delete"
    );
    assert_eq!(
        deleted(json!({"completed": true}), json!({})),
        ["row_deleted 2 - -950 MEDIUM"]
    );
    assert_eq!(
        deleted(
            json!({}),
            json!({"modified_at": PAST_END, "period_end": null, "currency": null, "columns": {}})
        ),
        ["row_deleted 2 - -950 MEDIUM"],
        "a delete may say nothing of the row: the version before it does"
    );
    assert_eq!(
        deleted(json!({"completed": true}), json!({"currency": "EUR"})),
        ["row_deleted 2 - - HIGH"],
        "another currency leaves the impact unknown"
    );
}

#[test]
fn a_change_of_a_row_that_was_completed_before_it_is_flagged() {
    assert_eq!(
        found(vec![
            version(1, json!({"op": "create", "completed": true})),
            version(2, json!({"completed": true, "Quantity": 12})),
        ]),
        ["completed_row_change 2 Quantity 190 MEDIUM"]
    );
    assert!(
        found(vec![
            created(),
            version(2, json!({"completed": true, "Quantity": 12}))
        ])
        .is_empty(),
        "completed is read before the change"
    );
}

#[test]
fn uncompleting_is_a_lock_change_at_any_time_and_period_and_currency_only_past_the_end() {
    let lock = |before: Value, after: Value| found(vec![version(1, before), version(2, after)]);
    assert_eq!(
        lock(json!({"completed": true}), json!({})),
        ["lock_change 2 completed - LOW"]
    );
    assert!(lock(json!({}), json!({"completed": true})).is_empty());
    let moved = json!({"period_end": "2026-03-01", "currency": "EUR"});
    assert!(lock(json!({}), moved.clone()).is_empty(), "in time");
    let mut late = moved;
    late["modified_at"] = PAST_END.into();
    assert_eq!(
        lock(json!({}), late),
        ["lock_change 2 currency - LOW", "lock_change 2 period_end - LOW"],
        "the earlier end of both counts, and grace does not"
    );
    assert_eq!(
        lock(json!({}), json!({"period_end": null, "modified_at": PAST_END})),
        ["lock_change 2 period_end - LOW"],
        "one absent end leaves the other"
    );
    assert!(
        lock(
            json!({"period_end": null}),
            json!({"period_end": null, "currency": "EUR", "modified_at": PAST_END})
        )
        .is_empty(),
        "two absent ends leave none"
    );
}

#[test]
fn a_flag_without_an_impact_has_the_risk_of_its_kind() {
    let rules = format!("{RULES}\n[sources.billing.risks]\nlock_change = \"HIGH\"\n");
    let history = vec![version(1, json!({"completed": true})), version(2, json!({}))];
    assert_eq!(
        shown(&flags_under(&rules, history)),
        ["lock_change 2 completed - HIGH"]
    );
}

#[test]
fn an_editor_that_is_unknown_or_not_allowed_is_flagged_where_the_source_names_editors() {
    let rules = RULES.replace("amount = ", "editors = [\"*@example.com\", \"api\"]\namount = ");
    let by = |row: Value| shown(&flags_under(&rules, vec![created(), version(2, row)]));
    let flagged = ["unauthorized_editor 2 Quantity 190 MEDIUM"];
    assert!(by(json!({"Quantity": 12})).is_empty());
    assert!(
        by(json!({"Quantity": 12, "modified_by": "API"})).is_empty(),
        "ASCII case is ignored"
    );
    assert_eq!(
        by(json!({"Quantity": 12, "modified_by": "eve@else.org"})),
        flagged
    );
    assert_eq!(
        by(json!({"Quantity": 12, "modified_by": null})),
        flagged,
        "nobody is not allowed"
    );
    assert_eq!(
        by(json!({"Quantity": 12, "column_edits": {"Quantity": {"modified_by": "eve"}}})),
        flagged,
        "the cell's editor wins over the row's"
    );
    assert!(
        found(vec![
            created(),
            version(2, json!({"Quantity": 12, "modified_by": null}))
        ])
        .is_empty(),
        "a source without patterns lets everybody edit"
    );
}

const OWN_RULES: &str = r#"
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
fn one_change_may_carry_several_kinds() {
    let rules = RULES.replace("amount = ", "editors = [\"nobody\"]\namount = ");
    let history = vec![
        version(1, json!({"op": "create", "completed": true})),
        version(
            2,
            json!({"completed": true, "Total": 1950, "modified_at": PAST_END}),
        ),
        version(
            3,
            json!({"completed": true, "Total": 950, "modified_at": PAST_END}),
        ),
    ];
    assert_eq!(
        shown(&flags_under(&rules, history)),
        [
            "completed_row_change 2 Total 1000 HIGH",
            "completed_row_change 3 Total -1000 HIGH",
            "retroactive_change 2 Total 1000 HIGH",
            "retroactive_change 3 Total -1000 HIGH",
            "reversion 3 Total -1000 HIGH",
            "unauthorized_editor 2 Total 1000 HIGH",
            "unauthorized_editor 3 Total -1000 HIGH",
        ]
    );
}

#[test]
fn each_reason_is_one_plain_sentence() {
    let rules = RULES.replace("amount = ", "editors = [\"api\"]\namount = ") + OWN_RULES;
    let mut history = vec![
        version(
            1,
            json!({"op": "create", "modified_at": PAST_END, "completed": true}),
        ),
        version(
            2,
            json!({"completed": true, "Quantity": 12, "modified_at": PAST_END}),
        ),
        version(
            3,
            json!({"Quantity": 12, "currency": "EUR", "period_end": "2026-03-01", "modified_at": PAST_END}),
        ),
        version(4, json!({"op": "delete", "modified_at": PAST_END})),
    ];
    history[2].hashes.push(ContentHash::of(b"another"));
    let sentences: Vec<String> = flags_under(&rules, history)
        .iter()
        .map(|flag| format!("{}: {}", flag.kind, flag.reason))
        .collect();
    insta::assert_snapshot!(sentences.join("\n"));
}
