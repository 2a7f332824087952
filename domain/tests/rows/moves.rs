//! Natural keys: rows that were deleted here and seen first there.

use proptest::prelude::*;
use redline_domain::entity::Standing;
use redline_domain::natural_key::{Contribution, Role, moved};
use redline_schemas::fact::Fact;
use redline_schemas::flag::Flag;
use serde_json::{Value, json};

use crate::world::{PAST_END, findings, knowing, rules, rules_from, rules_with, shown, version};

const KEY: &str = "natural_key = [\"Work Order\", \"Task\"]\nmoved_within_days = 7";

/// A version of a row of work order 7, task T.
fn work(row_id: &str, number: i64, op: &str, time: &str) -> Standing {
    keyed(row_id, number, op, time, json!({"Work Order": 7, "Task": "T"}))
}

fn keyed(row_id: &str, number: i64, op: &str, time: &str, columns: Value) -> Standing {
    let more = json!({"row_id": row_id, "op": op, "modified_at": time, "columns": columns});
    version(number, more)
}

/// What rows contribute, each with its history.
fn contributions(
    facts: impl IntoIterator<Item = Fact>,
    rows: Vec<(&str, Vec<Standing>)>,
) -> Vec<(String, Contribution)> {
    let knowledge = knowing(facts);
    rows.into_iter()
        .flat_map(|(row_id, history)| {
            let found = findings(&knowledge, history);
            assert!(
                found.flags.iter().all(|flag| flag.kind != "row_moved"),
                "a row alone does not know whether it was moved"
            );
            found
                .contributions
                .into_iter()
                .map(move |contribution| (row_id.to_owned(), contribution))
        })
        .collect()
}

fn moves(rows: Vec<(&str, Vec<Standing>)>) -> Vec<Flag> {
    moved(&contributions([rules(&rules_with(KEY))], rows))
}

/// A row that is deleted at an instant.
fn gone(row_id: &str, time: &str) -> Vec<Standing> {
    vec![
        work(row_id, 1, "create", "2026-02-01T00:00:00Z"),
        work(row_id, 2, "delete", time),
    ]
}

/// A row that is seen first at an instant.
fn came(row_id: &str, time: &str) -> Vec<Standing> {
    vec![work(row_id, 5, "create", time)]
}

const NOON: &str = "2026-02-10T12:00:00Z";

#[test]
fn a_row_at_first_sight_was_moved_when_another_one_with_its_natural_key_was_deleted_before() {
    let flags = moves(vec![
        ("old", gone("old", NOON)),
        ("new", came("new", "2026-02-11T12:00:00Z")),
    ]);
    assert_eq!(shown(&flags), ["row_moved 5 - - LOW"]);
    let flag = &flags[0];
    assert_eq!(flag.entity_id, "new");
    assert_eq!((&flag.before, &flag.after), (&None, &None));
    assert_eq!(
        flag.reason,
        "new came on 11 February 2026 with the natural key of old, which was deleted on 10 February 2026"
    );
    let details: Vec<(&str, &str)> = flag
        .details
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        details,
        [
            ("deleted_at", NOON),
            ("deleted_row_id", "old"),
            ("deleted_version", "2"),
            ("moved_within_days", "7"),
            ("natural_key", r#"[["Task","T"],["Work Order","7"]]"#),
            ("timing", "modified"),
        ]
    );
}

#[test]
fn a_delete_counts_at_the_same_instant_and_up_to_seven_times_24_hours_before() {
    let came_at = |time: &str| moves(vec![("old", gone("old", NOON)), ("new", came("new", time))]).len();
    assert_eq!(came_at("2026-02-10T11:59:59.999999Z"), 0, "before the delete");
    assert_eq!(came_at(NOON), 1);
    assert_eq!(came_at("2026-02-17T12:00:00Z"), 1);
    assert_eq!(came_at("2026-02-17T12:00:00.000001Z"), 0);
}

#[test]
fn the_days_are_those_of_the_rules_of_the_row_at_first_sight() {
    let two = rules_with(&KEY.replace('7', "2"));
    let facts = || {
        [
            rules(&rules_with(KEY)),
            rules_from("two", "2026-02-12T00:00:00Z", &two),
        ]
    };
    let came_at = |time: &str| {
        let rows = vec![("old", gone("old", NOON)), ("new", came("new", time))];
        moved(&contributions(facts(), rows)).len()
    };
    assert_eq!(came_at("2026-02-12T12:00:00Z"), 1);
    assert_eq!(came_at("2026-02-12T12:00:00.000001Z"), 0);
}

#[test]
fn seven_days_are_the_default_and_a_source_without_a_natural_key_contributes_nothing() {
    let rows = |time| vec![("old", gone("old", NOON)), ("new", came("new", time))];
    let default = rules_with("natural_key = [\"Task\", \"Work Order\"]");
    let with = |text: &str, time| moved(&contributions([rules(text)], rows(time))).len();
    assert_eq!(with(&default, "2026-02-17T12:00:00Z"), 1);
    assert_eq!(with(&default, "2026-02-17T12:00:01Z"), 0);
    assert!(contributions([rules(&rules_with(""))], rows(NOON)).is_empty());
}

#[test]
fn of_several_deletes_the_latest_counts_and_ties_go_to_the_greatest_row_and_version() {
    let from = |rows: Vec<(&str, Vec<Standing>)>| moves(rows)[0].details["deleted_row_id"].clone();
    let new = || ("new", came("new", "2026-02-11T12:00:00Z"));
    let later = "2026-02-10T12:00:01Z";
    assert_eq!(
        from(vec![("b", gone("b", NOON)), ("a", gone("a", later)), new()]),
        "a"
    );
    assert_eq!(
        from(vec![("b", gone("b", NOON)), ("a", gone("a", NOON)), new()]),
        "b"
    );
    let mut twice = gone("old", NOON);
    twice.push(work("old", 3, "create", NOON));
    twice.push(work("old", 4, "delete", NOON));
    assert_eq!(
        moves(vec![("old", twice), new()])[0].details["deleted_version"],
        "4"
    );
}

#[test]
fn a_row_is_not_moved_from_itself_nor_at_a_return() {
    let mut history = gone("old", NOON);
    history.push(work("old", 3, "create", "2026-02-11T00:00:00Z"));
    assert!(moves(vec![("old", history.clone())]).is_empty());
    assert!(
        moves(vec![("old", history), ("other", gone("other", NOON))]).is_empty(),
        "a return is no first sight, and the first sights lie before the deletes"
    );
}

#[test]
fn a_delete_of_a_row_that_is_gone_or_before_first_sight_does_not_count() {
    let new = || ("new", came("new", "2026-02-11T12:00:00Z"));
    let unseen = vec![work("old", 1, "delete", NOON)];
    assert!(moves(vec![("old", unseen), new()]).is_empty());
    let mut again = gone("old", "2026-01-01T00:00:00Z");
    again.push(work("old", 3, "delete", NOON));
    assert!(
        moves(vec![("old", again), new()]).is_empty(),
        "it was gone since January"
    );
}

#[test]
fn a_delete_has_the_natural_key_of_the_version_before_it() {
    let rows = |columns: Value| {
        let old = vec![
            work("old", 1, "create", "2026-02-01T00:00:00Z"),
            keyed("old", 2, "delete", NOON, columns),
        ];
        moves(vec![("old", old), ("new", came("new", NOON))]).len()
    };
    assert_eq!(rows(json!({})), 1);
    assert_eq!(rows(json!({"Work Order": 8})), 1);
}

#[test]
fn natural_keys_are_equal_by_source_names_and_values_as_text() {
    let pair = |columns: Value, key: &str| {
        let old = vec![
            keyed("old", 1, "create", "2026-02-01T00:00:00Z", columns),
            keyed("old", 2, "delete", NOON, json!({})),
        ];
        let rows = vec![("old", old), ("new", came("new", NOON))];
        moved(&contributions([rules(&rules_with(key))], rows)).len()
    };
    assert_eq!(pair(json!({"Work Order": "7", "Task": "T"}), KEY), 1, "as text");
    assert_eq!(
        pair(json!({"Work Order": "7.0", "Task": "T"}), KEY),
        0,
        "an untracked column as it was sent"
    );
    assert_eq!(pair(json!({"Work Order": 8, "Task": "T"}), KEY), 0);
    assert_eq!(pair(json!({"Work Order": 7}), KEY), 0, "a missing one is null");
    let tracked = "natural_key = [\"Quantity\"]";
    let quantity = |text: Value| {
        let of = |row: &str, number, op, text: Value| keyed(row, number, op, NOON, json!({"Quantity": text}));
        let old = vec![of("old", 1, "create", text), of("old", 2, "delete", Value::Null)];
        let rows = vec![("old", old), ("new", vec![of("new", 1, "create", json!(1.5))])];
        moved(&contributions([rules(&rules_with(tracked))], rows)).len()
    };
    assert_eq!(quantity(json!("1.50")), 1, "a tracked column is read by its type");
    assert_eq!(quantity(json!("1.51")), 0);
}

#[test]
fn the_order_of_the_columns_in_the_rules_does_not_matter() {
    let other = rules_with("natural_key = [\"Task\", \"Work Order\"]");
    let facts = [
        rules(&rules_with(KEY)),
        rules_from("other", "2026-02-11T00:00:00Z", &other),
    ];
    let rows = vec![
        ("old", gone("old", NOON)),
        ("new", came("new", "2026-02-11T12:00:00Z")),
    ];
    assert_eq!(moved(&contributions(facts, rows)).len(), 1);
}

#[test]
fn without_any_value_there_is_no_natural_key() {
    let empty = |row, number, op| keyed(row, number, op, NOON, json!({"Other": 1}));
    let old = vec![empty("old", 1, "create"), empty("old", 2, "delete")];
    let rows = vec![("old", old), ("new", vec![empty("new", 1, "create")])];
    assert!(contributions([rules(&rules_with(KEY))], rows).is_empty());
}

#[test]
fn row_deleted_and_late_row_stand_beside_it_and_its_risk_is_that_of_the_kind() {
    let text = rules_with(&format!("{KEY}\nrisks = {{ row_moved = \"MEDIUM\" }}"));
    let knowledge = knowing([rules(&text)]);
    let old = findings(&knowledge, gone("old", PAST_END));
    let new = findings(&knowledge, came("new", PAST_END));
    assert_eq!(shown(&old.flags), ["row_deleted 2 - 0 LOW"]);
    assert_eq!(shown(&new.flags), ["late_row 5 - 0 LOW"]);
    let all: Vec<(String, Contribution)> = old
        .contributions
        .into_iter()
        .map(|contribution| ("old".to_owned(), contribution))
        .chain(
            new.contributions
                .into_iter()
                .map(|contribution| ("new".to_owned(), contribution)),
        )
        .collect();
    assert_eq!(shown(&moved(&all)), ["row_moved 5 - - MEDIUM"]);
}

#[test]
fn a_contribution_survives_json() {
    let all = contributions(
        [rules(&rules_with(KEY))],
        vec![("old", gone("old", NOON)), ("new", came("new", NOON))],
    );
    let roles: Vec<Role> = all.iter().map(|(_, contribution)| contribution.role).collect();
    assert_eq!(roles, [Role::FirstSight, Role::Deleted, Role::FirstSight]);
    for (_, contribution) in all {
        let text = contribution.to_json().expect("JSON");
        assert_eq!(
            Contribution::from_json(&text).expect("a contribution"),
            contribution
        );
        // printf '%s' '["billing",[["Task","T"],["Work Order","7"]]]' | sha256sum
        assert_eq!(
            contribution.state_key,
            "natural_key/ef32d37f84b60891f907b15f7834a43434a89ee5be2b5c6b4bd02133aa431a37"
        );
    }
}

proptest! {
    #[test]
    fn the_order_of_contributions_does_not_matter(
        rows in proptest::collection::vec((0_u32..6, 0_u32..6, any::<bool>()), 1..8),
        by in 0_usize..8,
        backwards in any::<bool>(),
    ) {
        let names: Vec<String> = (0..rows.len()).map(|number| format!("row-{number}")).collect();
        let histories = names
            .iter()
            .zip(&rows)
            .map(|(name, (came, gone, is_deleted))| {
                let time = |day: &u32| format!("2026-02-1{day}T00:00:00Z");
                let mut history = vec![work(name, 1, "create", &time(came))];
                if *is_deleted {
                    history.push(work(name, 2, "delete", &time(gone)));
                }
                (name.as_str(), history)
            })
            .collect();
        let two = rules_with(&KEY.replace('7', "2"));
        let all = contributions([rules(&two)], histories);
        let mut shuffled = all.clone();
        let length = shuffled.len();
        shuffled.rotate_left(by % length);
        if backwards {
            shuffled.reverse();
        }
        prop_assert_eq!(moved(&all), moved(&shuffled));
    }
}
