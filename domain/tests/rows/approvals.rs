//! Approvals: what they fit, what they suppress, and in which order they are used.

use proptest::prelude::*;
use redline_domain::approval::Approval;
use redline_domain::entity::{Findings, Standing};
use redline_schemas::fact::Fact;
use redline_schemas::{Amount, ColumnValue};
use serde_json::{Value, json};

use crate::world::{
    PAST_END, RULES, at, created, fact, findings, flags_under, knowing, rules, rules_with, shown, version,
};

/// Boss allows Ann to set the quantity of R-1 to 12, from 20 February 2026 on.
fn granted(id: &str) -> Fact {
    Fact {
        effective_at: at("2026-02-20T00:00:00Z"),
        source: Some("billing".into()),
        row_id: Some("R-1".into()),
        column: Some("Quantity".into()),
        editor: Some("ann@example.com".into()),
        approver: Some("boss@example.com".into()),
        value: ColumnValue::Text("12".into()),
        ..fact("approval", id)
    }
}

fn ceiling(amount: &str) -> Fact {
    Fact {
        value: ColumnValue::Null,
        ceiling: Some(amount.parse().expect("an amount")),
        ..granted("a")
    }
}

/// A change of the quantity to 12 past the period's end, worth 190, with what else it says.
fn change(more: Value) -> Vec<Standing> {
    let mut row = json!({"Quantity": 12, "modified_at": PAST_END});
    row.as_object_mut()
        .expect("an object")
        .extend(more.as_object().expect("an object").clone());
    vec![created(), version(2, row)]
}

fn authorised(text: &str, history: Vec<Standing>, facts: &[Fact]) -> Findings {
    let approvals: Vec<Approval> = facts
        .iter()
        .map(|fact| Approval::of(fact).expect("an approval"))
        .collect();
    let mut found = findings(&knowing([rules(text)]), history);
    found.authorise(&approvals);
    found
}

/// Whether an approval fits the change of [`change`].
fn fits(approval: Fact, more: Value) -> bool {
    let found = authorised(RULES, change(more), &[approval]);
    let is_authorised = found.changes[0].authorised;
    assert_eq!(found.flags.is_empty(), is_authorised, "{:?}", shown(&found.flags));
    is_authorised
}

#[test]
fn an_authorised_change_stays_and_names_its_approval() {
    let found = authorised(RULES, change(json!({})), &[granted("a")]);
    assert!(found.flags.is_empty());
    assert_eq!(found.changes.len(), 1);
    assert!(found.changes[0].authorised);
    assert_eq!(found.changes[0].approval.as_deref(), Some("a"));
}

#[test]
fn an_approval_suppresses_three_kinds_of_flags_and_no_other() {
    let text = rules_with("editors = [\"nobody\"]")
        + "[[sources.billing.rules]]\nname = \"many\"\nviolated = 'after[\"Quantity\"] > 11'\n";
    let history = || {
        vec![
            version(1, json!({"op": "create", "completed": true, "Quantity": 12})),
            version(2, json!({"completed": true, "modified_by": "ann@example.com"})),
            version(3, json!({"Quantity": 12, "modified_at": PAST_END, "Total": 1})),
        ]
    };
    let kinds = |found: &Findings| {
        let mut lines = shown(&found.flags);
        lines.retain(|line| line.contains(" 3 "));
        lines
    };
    let plain = findings(&knowing([rules(&text)]), history());
    let found = authorised(&text, history(), &[granted("a")]);
    let gone: Vec<String> = kinds(&plain)
        .into_iter()
        .filter(|line| !kinds(&found).contains(line))
        .collect();
    assert_eq!(
        gone,
        [
            "completed_row_change 3 Quantity 190 MEDIUM",
            "retroactive_change 3 Quantity 190 MEDIUM",
            "unauthorized_editor 3 Quantity 190 MEDIUM",
        ]
    );
    assert_eq!(
        kinds(&found),
        [
            "completed_row_change 3 Total -949 MEDIUM",
            "lock_change 3 completed - LOW",
            "retroactive_change 3 Total -949 MEDIUM",
            "reversion 3 Quantity 190 MEDIUM",
            "rule_violation 3 many - LOW",
            "unauthorized_editor 3 Total -949 MEDIUM",
        ],
        "other kinds and other columns stay"
    );
}

#[test]
fn an_approval_is_granted_no_later_than_the_change_and_valid_at_it() {
    let timed = |set: fn(&mut Fact, redline_schemas::Timestamp), time: &str| {
        let mut approval = granted("a");
        set(&mut approval, at(time));
        fits(approval, json!({}))
    };
    assert!(timed(|a, time| a.effective_at = time, PAST_END));
    assert!(!timed(
        |a, time| a.effective_at = time,
        "2026-02-23T05:00:00.000001Z"
    ));
    assert!(timed(|a, time| a.valid_from = Some(time), PAST_END));
    assert!(!timed(
        |a, time| a.valid_from = Some(time),
        "2026-02-23T05:00:00.000001Z"
    ));
    assert!(timed(
        |a, time| a.valid_until = Some(time),
        "2026-02-23T05:00:00.000001Z"
    ));
    assert!(!timed(|a, time| a.valid_until = Some(time), PAST_END));
}

#[test]
fn an_approval_is_by_another_person_than_the_editor_and_for_that_editor() {
    let people = |editor: &str, approver: &str, by: Value| {
        let approval = Fact {
            editor: Some(editor.into()),
            approver: Some(approver.into()),
            ..granted("a")
        };
        fits(approval, json!({"modified_by": by}))
    };
    assert!(
        people("ANN@example.com", "boss", json!("ann@EXAMPLE.com")),
        "ASCII case is ignored"
    );
    assert!(!people("ann", "Ann", json!("ann")), "by oneself");
    assert!(!people("bob", "boss", json!("ann")), "for somebody else");
    assert!(!people("ann", "boss", Value::Null), "nobody made the change");
}

#[test]
fn an_approval_is_for_one_column() {
    let other = Fact {
        column: Some("Total".into()),
        ..granted("a")
    };
    assert!(!fits(other, json!({})));
}

#[test]
fn the_value_is_read_as_the_columns_type_says() {
    let valued = |value: ColumnValue| {
        fits(
            Fact {
                value,
                ..granted("a")
            },
            json!({}),
        )
    };
    assert!(valued(ColumnValue::Text("12.00".into())));
    assert!(valued(ColumnValue::Amount("12".parse().expect("an amount"))));
    assert!(!valued(ColumnValue::Text("13".into())));
    let text = |value: &str| {
        let approval = Fact {
            column: Some("Foreman".into()),
            value: ColumnValue::Text(value.into()),
            ..granted("a")
        };
        let history = change(json!({"Quantity": 10, "Foreman": "1.50"}));
        authorised(RULES, history, &[approval]).changes[0].authorised
    };
    assert!(text("1.50"));
    assert!(!text("1.5"), "text to the letter");
}

#[test]
fn a_ceiling_is_the_greatest_absolute_impact_and_an_unknown_impact_never_passes() {
    assert!(fits(ceiling("190"), json!({})));
    assert!(!fits(ceiling("189.999999999"), json!({})));
    assert!(fits(ceiling("190"), json!({"Quantity": 8})), "minus 190");
    assert!(!fits(ceiling("190"), json!({"Quantity": 7})));
    assert!(
        !fits(ceiling("190"), json!({"currency": "EUR"})),
        "another currency: unknown"
    );
}

#[test]
fn value_and_ceiling_must_both_hold() {
    let both = |value: &str, ceiling: &str| {
        let approval = Fact {
            value: ColumnValue::Text(value.into()),
            ceiling: Some(ceiling.parse::<Amount>().expect("an amount")),
            ..granted("a")
        };
        fits(approval, json!({}))
    };
    assert!(both("12", "190"));
    assert!(!both("12", "189"));
    assert!(!both("13", "190"));
}

/// Quantity 10, 12, 10, 12: two changes to 12.
fn twice(first: &str, second: &str) -> Vec<Standing> {
    vec![
        created(),
        version(2, json!({"Quantity": 12, "modified_at": first})),
        version(3, json!({"modified_at": first})),
        version(4, json!({"Quantity": 12, "modified_at": second})),
    ]
}

fn used(history: Vec<Standing>, approvals: &[Fact]) -> Vec<(i64, Option<String>)> {
    let found = authorised(RULES, history, approvals);
    let to_twelve = found.changes.into_iter().filter(|change| change.version != 3);
    to_twelve
        .map(|change| (change.version, change.approval))
        .collect()
}

#[test]
fn an_approval_is_used_once_by_the_earliest_change_that_it_fits() {
    let (early, late) = ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z");
    let a = Some("a".to_owned());
    assert_eq!(
        used(twice(early, late), &[granted("a")]),
        [(2, a.clone()), (4, None)]
    );
    assert_eq!(
        used(twice(late, early), &[granted("a")]),
        [(2, None), (4, a.clone())],
        "by time, not by version"
    );
    assert_eq!(
        used(twice(early, early), &[granted("a")]),
        [(2, a), (4, None)],
        "ties by version"
    );
}

#[test]
fn a_change_takes_the_fitting_approval_with_the_least_time_and_id() {
    let (early, late) = ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z");
    let of = |first: &str, second: &str| [(2, Some(first.to_owned())), (4, Some(second.to_owned()))];
    assert_eq!(
        used(twice(early, late), &[granted("b"), granted("a")]),
        of("a", "b")
    );
    let later = Fact {
        effective_at: at("2026-02-21T00:00:00Z"),
        ..granted("a")
    };
    assert_eq!(used(twice(early, late), &[later, granted("b")]), of("b", "a"));
}

#[test]
fn a_change_that_is_not_flagged_takes_an_approval_too() {
    let history = twice("2026-02-22T00:00:00Z", "2026-03-02T00:00:00Z");
    assert_eq!(
        shown(&authorised(RULES, history.clone(), &[granted("a")]).flags),
        shown(&flags_under(RULES, history)),
        "it is used up by the change in time"
    );
}

#[test]
fn a_fact_that_lacks_what_approvals_need_is_none() {
    assert!(Approval::of(&granted("a")).is_some());
    assert!(
        Approval::of(&Fact {
            approver: None,
            ..granted("a")
        })
        .is_none()
    );
    assert!(
        Approval::of(&Fact {
            value: ColumnValue::Null,
            ..granted("a")
        })
        .is_none()
    );
    assert!(Approval::of(&fact("tick", "a")).is_none());
}

proptest! {
    #[test]
    fn the_order_of_approvals_and_changes_does_not_matter(
        grants in proptest::collection::vec((0_u32..4, 10_i64..14, 0_i64..4), 0..8),
        quantities in proptest::collection::vec(10_i64..14, 1..8),
        seed in any::<u64>(),
    ) {
        let approvals: Vec<Approval> = grants
            .iter()
            .enumerate()
            .filter_map(|(number, (day, quantity, ceiling))| {
                Approval::of(&Fact {
                    effective_at: at(&format!("2026-02-2{day}T00:00:00Z")),
                    value: ColumnValue::Amount(Amount::from_units(i128::from(*quantity) * 1_000_000_000)?),
                    ceiling: Amount::from_units(i128::from(*ceiling) * 95_000_000_000),
                    ..granted(&format!("a{number}"))
                })
            })
            .collect();
        let mut history = vec![created()];
        for (number, quantity) in (2..).zip(&quantities) {
            let minute = (number * 7) % 5;
            let time = format!("2026-02-23T05:0{minute}:00Z");
            history.push(version(number, json!({"Quantity": quantity, "modified_at": time})));
        }
        let mut first = findings(&knowing([rules(RULES)]), history);
        let mut second = first.clone();
        first.authorise(&approvals);
        let mut shuffled = approvals;
        let length = shuffled.len().max(1);
        let by = usize::try_from(seed % 8).unwrap_or(0);
        shuffled.rotate_left(by % length);
        if seed % 2 == 0 {
            shuffled.reverse();
        }
        second.changes.reverse();
        second.authorise(&shuffled);
        second.changes.reverse();
        prop_assert_eq!(first, second);
    }
}
