//! What flags say of a row beside the change: ADR 15, "Fields of a flag about a row".

use redline_schemas::ContentHash;
use redline_schemas::flag::Flag;
use serde_json::{Value, json};

use crate::world::{PAST_END, RULES, created, flags_under, found, only, rules_with, shown, version};

/// One flag of each kind about a version or a change that this history makes.
fn flags(change: Value) -> Vec<Flag> {
    let rules = rules_with("editors = [\"api\"]");
    let first = json!({"op": "create", "completed": true, "currency": "USD", "legal_entity": "old"});
    flags_under(&rules, vec![version(1, first), version(2, change)])
}

#[test]
fn currency_period_legal_entity_and_link_are_those_of_the_flagged_version() {
    let change = json!({"Quantity": 12, "modified_at": PAST_END, "currency": "EUR", "legal_entity": "new",
        "period_end": "2026-03-01", "link": "https://example.com/2"});
    let flags = flags(change);
    let kinds = [
        "retroactive_change",
        "completed_row_change",
        "unauthorized_editor",
    ];
    for flag in kinds.map(|kind| only(&flags, kind)) {
        assert_eq!(flag.currency.as_deref(), Some("EUR"));
        assert_eq!(flag.period.as_deref(), Some("2026-03-01"));
        assert_eq!(flag.legal_entity.as_deref(), Some("new"));
        assert_eq!(flag.link.as_deref(), Some("https://example.com/2"));
        assert_eq!(
            (flag.impact, flag.risk.as_str()),
            (None, "HIGH"),
            "the currency differs"
        );
    }
}

#[test]
fn editor_and_time_of_a_change_come_from_its_cell_and_of_other_flags_from_the_version() {
    let edit = json!({"Quantity": {"modified_by": "eve", "modified_at": "2026-02-24T00:00:00Z"}});
    let flags = flags(json!({"Quantity": 12, "modified_at": PAST_END, "column_edits": edit}));
    let of_change = only(&flags, "retroactive_change");
    assert_eq!(of_change.editor.as_deref(), Some("eve"));
    assert_eq!(
        of_change.modified_at.map(|time| time.to_string()).as_deref(),
        Some("2026-02-24T00:00:00Z")
    );
    assert_eq!(of_change.details["attribution"], "cell");
    let of_version = only(&flags, "lock_change");
    assert_eq!(of_version.editor.as_deref(), Some("ann@example.com"));
    assert_eq!(
        of_version.modified_at.map(|time| time.to_string()).as_deref(),
        Some(PAST_END)
    );
}

#[test]
fn a_lock_change_has_its_two_values_as_text() {
    let change = json!({"modified_at": PAST_END, "currency": null, "period_end": "2026-03-01"});
    let mut values: Vec<(Option<String>, Option<String>, Option<String>)> = flags(change)
        .into_iter()
        .filter(|flag| flag.kind == "lock_change")
        .map(|flag| (flag.column, flag.before, flag.after))
        .collect();
    values.sort();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        values,
        [
            (text("completed"), text("true"), text("false")),
            (text("currency"), text("USD"), None),
            (text("period_end"), text("2026-02-22"), text("2026-03-01")),
        ]
    );
}

#[test]
fn kinds_that_are_about_no_change_have_no_values() {
    let mut conflict = version(
        1,
        json!({"op": "create", "modified_at": PAST_END, "completed": true}),
    );
    conflict.hashes.push(ContentHash::of(b"another"));
    let deleted = version(2, json!({"op": "delete", "modified_at": PAST_END}));
    let rules = rules_with("calendar = \"months\"");
    let flags = flags_under(&rules, vec![conflict, deleted]);
    assert_eq!(
        shown(&flags),
        [
            "conflicting_version 1 - - LOW",
            "late_row 1 - 950 MEDIUM",
            "row_deleted 2 - -950 MEDIUM",
            "rule_violation 1 month_ends_on_its_last_day - LOW",
        ]
    );
    assert!(
        flags
            .iter()
            .all(|flag| flag.before.is_none() && flag.after.is_none())
    );
}

#[test]
fn a_conflict_is_found_at_first_sight_and_at_deletes_as_well() {
    let conflicting = |number: i64, op: &str| {
        let mut standing = version(number, json!({"op": op}));
        standing.hashes.push(ContentHash::of(b"another"));
        standing
    };
    assert_eq!(
        found(vec![
            conflicting(1, "delete"),
            conflicting(2, "create"),
            conflicting(3, "delete"),
            conflicting(4, "delete"),
        ]),
        [
            "conflicting_version 1 - - LOW",
            "conflicting_version 2 - - LOW",
            "conflicting_version 3 - - LOW",
            "conflicting_version 4 - - LOW",
        ]
    );
}

#[test]
fn without_an_amount_column_a_late_or_deleted_row_has_the_risk_of_its_kind() {
    let rules = RULES.replace(
        "amount = \"Total\"",
        "risks = { late_row = \"MEDIUM\", row_deleted = \"HIGH\" }",
    );
    let history = vec![
        version(1, json!({"op": "create", "modified_at": PAST_END})),
        version(2, json!({"op": "delete", "modified_at": PAST_END})),
    ];
    assert_eq!(
        shown(&flags_under(&rules, history)),
        ["late_row 1 - - MEDIUM", "row_deleted 2 - - HIGH"]
    );
}

#[test]
fn an_absent_amount_counts_as_zero_and_text_is_unknown() {
    let deleted = |total: Value| {
        let columns = json!({"Quantity": 10, "Total": total});
        found(vec![
            version(1, json!({"op": "create", "columns": columns})),
            version(2, json!({"op": "delete", "modified_at": PAST_END})),
        ])
    };
    assert_eq!(deleted(Value::Null), ["row_deleted 2 - 0 LOW"]);
    assert_eq!(deleted(json!("N/A")), ["row_deleted 2 - - HIGH"]);
}

#[test]
fn an_amount_column_keeps_text_that_is_no_amount() {
    let changed = |before: Value, after: Value| {
        flags_under(
            RULES,
            vec![
                version(1, json!({"op": "create", "Total": before})),
                version(2, json!({"Total": after, "modified_at": PAST_END})),
            ],
        )
    };
    let flags = changed(json!(950), json!("N/A"));
    assert_eq!(shown(&flags), ["retroactive_change 2 Total - HIGH"]);
    assert_eq!(flags[0].after.as_deref(), Some("N/A"));
    assert_eq!(
        shown(&changed(json!("N/A"), json!("TBD"))),
        ["retroactive_change 2 Total - HIGH"]
    );
    assert!(
        changed(json!("950.00"), json!(950)).is_empty(),
        "amounts by value"
    );
}

#[test]
fn an_open_row_that_changes_in_time_is_not_flagged() {
    assert!(
        found(vec![
            created(),
            version(2, json!({"Quantity": 12, "Foreman": "C. Day"}))
        ])
        .is_empty()
    );
}
