//! Who may edit, by patterns and by a reference table.

use redline_schemas::fact::Fact;
use serde_json::json;

use crate::world::{
    PAST_END, at, created, findings, found_with, knowing, reference, rules, rules_with, version,
};

const FLAGGED: [&str; 1] = ["unauthorized_editor 2 Quantity 190 MEDIUM"];

fn changed_by(editor: &str, keys: &str, table: Vec<Fact>) -> Vec<String> {
    let change = json!({"Quantity": 12, "modified_by": editor});
    let facts = [rules(&rules_with(keys))].into_iter().chain(table);
    found_with(facts, vec![created(), version(2, change)])
}

const TABLE: &str = "editors_table = \"people\"";

fn people() -> Vec<Fact> {
    vec![
        reference("1", "people", "Bob@example.com"),
        reference("2", "people", "*@partner.org"),
        reference("3", "others", "eve"),
    ]
}

#[test]
fn the_keys_of_a_table_of_editors_are_patterns() {
    assert!(changed_by("bob@EXAMPLE.com", TABLE, people()).is_empty());
    assert!(changed_by("kim@partner.org", TABLE, people()).is_empty());
    assert_eq!(
        changed_by("eve", TABLE, people()),
        FLAGGED,
        "another table does not count"
    );
}

#[test]
fn a_source_with_an_empty_table_of_editors_sets_patterns_and_allows_nobody() {
    assert_eq!(changed_by("bob@example.com", TABLE, vec![]), FLAGGED);
}

#[test]
fn a_table_of_editors_adds_to_the_patterns_of_the_rules() {
    let both = "editors = [\"ann@example.com\"]\neditors_table = \"people\"";
    assert!(changed_by("ann@example.com", both, people()).is_empty());
    assert!(changed_by("bob@example.com", both, people()).is_empty());
    let history = vec![
        created(),
        version(2, json!({"Quantity": 12, "modified_by": "eve"})),
    ];
    let knowledge = knowing([rules(&rules_with(both))].into_iter().chain(people()));
    let flags = findings(&knowledge, history).flags;
    assert_eq!(flags[0].details["editors"], "[\"ann@example.com\"]");
    assert_eq!(flags[0].details["editors_table"], "people");
}

#[test]
fn an_editor_counts_while_its_row_is_valid_at_the_changes_time() {
    let change = |edited_at: &str| {
        let mut row = reference("1", "people", "ann@example.com");
        row.valid_from = Some(at("2026-02-01T00:00:00Z"));
        row.valid_until = Some(at("2026-02-20T00:00:00Z"));
        let edit = json!({"Quantity": 12, "column_edits": {"Quantity": {"modified_at": edited_at}}});
        found_with(
            [rules(&rules_with(TABLE)), row],
            vec![created(), version(2, edit)],
        )
    };
    assert_eq!(change("2026-01-31T23:59:59.999999Z"), FLAGGED);
    assert!(change("2026-02-01T00:00:00Z").is_empty());
    assert!(change("2026-02-19T23:59:59.999999Z").is_empty());
    assert_eq!(change("2026-02-20T00:00:00Z"), FLAGGED);
}

#[test]
fn the_reach_of_a_row_holds_the_times_of_its_versions_and_of_its_cells() {
    let mut state = redline_domain::entity::EntityState::default();
    let mut found = redline_domain::entity::Findings::default();
    let knowledge = knowing([]);
    let mut apply = |standing| {
        state.apply(standing, &knowledge, &mut found);
        state.reach.map(|time| time.to_string())
    };
    assert_eq!(
        apply(version(1, json!({"modified_at": PAST_END}))).as_deref(),
        Some(PAST_END)
    );
    assert_eq!(
        apply(created()).as_deref(),
        Some(PAST_END),
        "an earlier time leaves it"
    );
    let edit = json!({"column_edits": {"Foreman": {"modified_at": "2026-04-01T00:00:00Z"}}});
    assert_eq!(apply(version(3, edit)).as_deref(), Some("2026-04-01T00:00:00Z"));
    let observed = json!({"modified_at": null, "observed_at": "2026-05-01T00:00:00Z", "op": "delete"});
    assert_eq!(
        apply(version(4, observed)).as_deref(),
        Some("2026-05-01T00:00:00Z")
    );
}
