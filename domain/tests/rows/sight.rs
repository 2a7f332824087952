//! First sight, deletes and returns.

use serde_json::{Value, json};

use crate::world::{IN_TIME, PAST_END, RULES, created, flags_under, found, shown, version};

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
