//! Changes of columns, and of what locks a row.

use redline_schemas::ContentHash;
use serde_json::{Value, json};

use crate::rules::OWN_RULES;
use crate::world::{PAST_END, RULES, created, flags_under, found, shown, version};

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
