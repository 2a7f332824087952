//! What facts say, as of an instant, and which rows a fact has judged again.

use std::collections::BTreeMap;

use proptest::prelude::*;
use redline_domain::facts::{Knowledge, check};
use redline_schemas::fact::Fact;
use redline_schemas::{Amount, ColumnValue, ContentHash, Date};

use crate::world::{
    PAST_END, RULES, at, fact, hash, knowing, period, price, reference, rules, rules_from, rules_with,
};

type Touched = BTreeMap<String, String>;

fn take(knowledge: &mut Knowledge, fact: &Fact) -> Touched {
    let touched = knowledge.take(fact, hash(fact)).expect("a fact");
    touched
        .into_iter()
        .map(|(source, from)| (source, from.to_string()))
        .collect()
}

fn from(sources: &[(&str, &str)]) -> Touched {
    sources
        .iter()
        .map(|(source, time)| ((*source).to_owned(), (*time).to_owned()))
        .collect()
}

fn again(fact: &Fact, version: i64) -> Fact {
    Fact {
        version,
        ..fact.clone()
    }
}

const FIRST: &str = "1900-01-01T00:00:00Z";
const MARCH: &str = "2026-03-01T00:00:00Z";
const APRIL: &str = "2026-04-01T00:00:00Z";

#[test]
fn rules_touch_the_sources_whose_part_differs_from_the_first_instant_on_at_which_it_does() {
    let mut knowledge = Knowledge::default();
    let other = "\n[sources.other]\n";
    let first = rules(&format!("{RULES}{other}"));
    assert_eq!(
        take(&mut knowledge, &first),
        from(&[("billing", FIRST), ("other", FIRST)])
    );
    let changed = format!("{}{other}", rules_with("grace_days = 1"));
    assert_eq!(
        take(&mut knowledge, &rules_from("march", MARCH, &changed)),
        from(&[("billing", MARCH)])
    );
    assert!(
        take(&mut knowledge, &rules_from("april", APRIL, &changed)).is_empty(),
        "nothing differs from the rules of March"
    );
    let without = rules_with("grace_days = 1");
    assert_eq!(
        take(&mut knowledge, &again(&rules_from("april", APRIL, &without), 1)),
        from(&[("other", APRIL)]),
        "a source that is no longer named"
    );
    assert_eq!(
        take(
            &mut knowledge,
            &again(&rules_from("march", MARCH, &first.text.clone().expect("text")), 1)
        ),
        from(&[("billing", MARCH)]),
        "up to April the rules are the first ones again"
    );
}

#[test]
fn rules_that_move_in_time_touch_from_the_earlier_instant_on() {
    let changed = rules_with("grace_days = 1");
    let mut knowledge = knowing([rules(RULES), rules_from("second", APRIL, &changed)]);
    assert_eq!(
        take(&mut knowledge, &again(&rules_from("second", MARCH, &changed), 1)),
        from(&[("billing", MARCH)])
    );
    assert_eq!(
        take(&mut knowledge, &again(&rules_from("second", APRIL, &changed), 2)),
        from(&[("billing", MARCH)])
    );
}

#[test]
fn rules_that_cannot_be_read_are_refused_and_leave_what_stands() {
    let mut knowledge = knowing([rules(RULES)]);
    let broken = again(&rules("[sources.billing]\ncolour = 1"), 1);
    let error = knowledge.take(&broken, hash(&broken)).expect_err("refused");
    assert_eq!(error.field, "text");
    assert!(
        error.reason.contains("line 2: sources.billing.colour"),
        "{}",
        error.reason
    );
    assert!(knowledge.rules().of("billing", at(MARCH)).is_some());
}

#[test]
fn the_highest_version_of_an_id_stands_and_at_one_version_the_greatest_hash() {
    let grace = |days: i32| rules(&rules_with(&format!("grace_days = {days}")));
    let days = |facts: [(Fact, i64, u8); 2]| {
        let mut knowledge = Knowledge::default();
        for (fact, version, byte) in facts {
            let taken = knowledge.take(&again(&fact, version), ContentHash([byte; 32]));
            taken.expect("a fact");
        }
        let rules = knowledge.rules().of("billing", at(MARCH));
        rules.map(|rules| rules.grace.days())
    };
    assert_eq!(days([(grace(1), 1, 9), (grace(2), 2, 1)]), Some(2));
    assert_eq!(days([(grace(2), 2, 1), (grace(1), 1, 9)]), Some(2));
    assert_eq!(days([(grace(1), 1, 1), (grace(2), 1, 2)]), Some(2));
    assert_eq!(days([(grace(2), 1, 2), (grace(1), 1, 1)]), Some(2));
}

#[test]
fn a_period_touches_its_source_from_the_earlier_of_old_and_new() {
    let mut knowledge = knowing([rules(RULES)]);
    let close = period("c", "2026-02-22", "closed", APRIL);
    assert_eq!(take(&mut knowledge, &close), from(&[("billing", APRIL)]));
    assert!(take(&mut knowledge, &close).is_empty(), "a duplicate");
    assert!(
        take(&mut knowledge, &again(&close, 1)).is_empty(),
        "the same again"
    );
    let earlier = Fact {
        effective_at: at(MARCH),
        ..again(&close, 2)
    };
    assert_eq!(take(&mut knowledge, &earlier), from(&[("billing", MARCH)]));
    let moved = Fact {
        source: Some("other".into()),
        effective_at: at(APRIL),
        ..again(&close, 3)
    };
    assert_eq!(
        take(&mut knowledge, &moved),
        from(&[("billing", MARCH), ("other", APRIL)])
    );
    let end = Date::parse("2026-02-22").expect("a day");
    assert!(
        !knowledge.is_closed("billing", end, at(APRIL)),
        "as if it had never been said"
    );
    assert_eq!(knowledge.closed_by("other", end, at(APRIL)), Some("c"));
}

const READERS: &str = r#"
[sources.a.contract_price]
table = "prices"
key = ["K"]
price = "P"
quantity = "Q"
[sources.b]
editors_table = "people"
[sources.c]
grace_days = { business = 1, holidays = "us" }
[sources.d]
"#;

#[test]
fn a_reference_row_touches_the_sources_that_look_into_its_table_from_when_it_counts() {
    let mut knowledge = knowing([rules(READERS)]);
    assert_eq!(take(&mut knowledge, &price("p", "k", "1")), from(&[("a", FIRST)]));
    assert_eq!(
        take(&mut knowledge, &reference("e", "people", "ann")),
        from(&[("b", FIRST)])
    );
    assert_eq!(
        take(&mut knowledge, &reference("h", "us", "2026-07-03")),
        from(&[("c", FIRST)])
    );
    assert!(take(&mut knowledge, &reference("n", "nobody", "k")).is_empty());
    let later = Fact {
        valid_from: Some(at(MARCH)),
        ..price("q", "k", "2")
    };
    assert_eq!(take(&mut knowledge, &later), from(&[("a", MARCH)]));
    let effective = Fact {
        effective_at: at(APRIL),
        ..again(&later, 1)
    };
    assert_eq!(
        take(&mut knowledge, &effective),
        from(&[("a", MARCH)]),
        "the earlier of old and new"
    );
    assert!(
        take(&mut knowledge, &again(&effective, 2)).is_empty(),
        "the same again"
    );
    let moved = Fact {
        table: Some("people".into()),
        ..again(&effective, 3)
    };
    assert_eq!(
        take(&mut knowledge, &moved),
        from(&[("a", APRIL), ("b", APRIL)]),
        "a row that moves from table to table"
    );
}

#[test]
fn a_table_is_read_by_every_rule_set_that_ever_named_it() {
    let without = READERS.replace("editors_table = \"people\"", "");
    let mut knowledge = knowing([rules(READERS), rules_from("later", MARCH, &without)]);
    assert_eq!(
        take(&mut knowledge, &reference("e", "people", "ann")),
        from(&[("b", FIRST)])
    );
}

#[test]
fn a_replaced_row_is_as_if_it_had_never_been_said() {
    let mut knowledge = knowing([price("p", "k", "1")]);
    let before = knowledge.clone();
    take(&mut knowledge, &again(&price("p", "other", "2"), 1));
    assert!(knowledge.reference("prices", "k", at(MARCH)).is_none());
    let row = knowledge.reference("prices", "other", at(MARCH)).expect("a row");
    assert_eq!(
        (row.id, &row.values["price"]),
        ("p", &ColumnValue::Text("2".into()))
    );
    assert!(
        before.reference("prices", "k", at(MARCH)).is_some(),
        "a copy stays as it was"
    );
}

#[test]
fn kinds_that_are_not_wide_touch_nothing() {
    let mut knowledge = knowing([rules(RULES)]);
    for kind in ["approval", "outcome", "tick"] {
        assert!(take(&mut knowledge, &fact(kind, "x")).is_empty());
    }
}

#[test]
fn many_rows_are_taken_in_while_copies_are_held() {
    let mut knowledge = knowing([rules(READERS)]);
    let mut copies = Vec::new();
    for number in 0..20_000 {
        take(
            &mut knowledge,
            &price(&format!("p{number}"), &format!("k{number}"), "1"),
        );
        if number % 1_000 == 0 {
            copies.push(knowledge.clone());
        }
    }
    assert!(knowledge.reference("prices", "k19999", at(MARCH)).is_some());
    assert!(copies[0].reference("prices", "k1", at(MARCH)).is_none());
}

proptest! {
    #[test]
    fn the_order_of_facts_does_not_matter(
        said in proptest::collection::vec((0_usize..3, 0_i64..3, 0_u8..3, 1_u32..5), 1..12),
        by in 0_usize..12,
    ) {
        let facts: Vec<Fact> = said
            .iter()
            .enumerate()
            .map(|(number, (id, version, kind, month))| {
                let (id, time) = (format!("id{id}"), format!("2026-0{month}-01T00:00:00Z"));
                let fact = match kind {
                    0 => rules_from(&id, &time, &rules_with(&format!("grace_days = {number}"))),
                    1 => period(&id, "2026-02-22", if number % 2 == 0 { "open" } else { "closed" }, &time),
                    _ => Fact { effective_at: at(&time), ..price(&id, "k", &number.to_string()) },
                };
                again(&fact, *version)
            })
            .collect();
        let mut shuffled = facts.clone();
        let length = shuffled.len();
        shuffled.rotate_left(by % length);
        let (one, other) = (knowing(facts), knowing(shuffled));
        let end = Date::parse("2026-02-22").expect("a day");
        for month in 1..6 {
            let time = at(&format!("2026-0{month}-01T00:00:00Z"));
            let hash = |knowledge: &Knowledge| knowledge.rules().of("billing", time).map(|rules| rules.hash.clone());
            prop_assert_eq!(hash(&one), hash(&other));
            prop_assert_eq!(one.closed_by("billing", end, time), other.closed_by("billing", end, time));
            prop_assert_eq!(one.reference("prices", "k", time), other.reference("prices", "k", time));
        }
    }
}

fn refused(fact: Fact) -> String {
    check(&fact).expect_err("refused").to_string()
}

fn approval() -> Fact {
    Fact {
        source: Some("billing".into()),
        row_id: Some("R-1".into()),
        column: Some("Quantity".into()),
        editor: Some("ann".into()),
        approver: Some("boss".into()),
        ceiling: Some(Amount::ZERO),
        ..fact("approval", "a")
    }
}

#[test]
fn what_each_kind_needs_is_accepted() {
    let outcome = Fact {
        order_id: Some("O-1".into()),
        outcome: Some("fraud".into()),
        ..fact("outcome", "o")
    };
    for fact in [
        rules(RULES),
        reference("r", "us", "2026-07-03"),
        Fact {
            values: None,
            ..reference("r", "us", "2026-07-03")
        },
        approval(),
        Fact {
            approver: Some("ann".into()),
            ..approval()
        },
        period("p", "2026-02-22", "closed", PAST_END),
        period("p", "2026-02", "open", PAST_END),
        outcome,
        fact("tick", "t"),
    ] {
        assert_eq!(check(&fact), Ok(()), "{fact:?}");
    }
}

#[test]
fn what_a_kind_lacks_or_cannot_use_is_refused_by_field() {
    let valid = |from: &str, until: &str| Fact {
        valid_from: Some(at(from)),
        valid_until: Some(at(until)),
        ..approval()
    };
    for (fact, expected) in [
        (fact("rules", "r"), "`text` is missing"),
        (
            rules("[x]"),
            "`text` is refused: line 1: x cannot be used: unknown field `x`, expected `sources`",
        ),
        (
            Fact {
                table: None,
                ..reference("r", "t", "k")
            },
            "`table` is missing",
        ),
        (
            Fact {
                key: None,
                ..reference("r", "t", "k")
            },
            "`key` is missing",
        ),
        (reference("r", "t", ""), "`key` needs 1 to 4000 bytes"),
        (
            Fact {
                source: None,
                ..approval()
            },
            "`source` is missing",
        ),
        (
            Fact {
                source: Some("a/b".into()),
                ..approval()
            },
            "`source` contains `/`",
        ),
        (
            Fact {
                row_id: None,
                ..approval()
            },
            "`row_id` is missing",
        ),
        (
            Fact {
                column: None,
                ..approval()
            },
            "`column` is missing",
        ),
        (
            Fact {
                editor: None,
                ..approval()
            },
            "`editor` is missing",
        ),
        (
            Fact {
                approver: None,
                ..approval()
            },
            "`approver` is missing",
        ),
        (
            Fact {
                ceiling: None,
                ..approval()
            },
            "`value` is missing: an approval needs `value`, `ceiling` or both",
        ),
        (
            Fact {
                ceiling: "-1".parse().ok(),
                ..approval()
            },
            "`ceiling` is negative",
        ),
        (valid(MARCH, MARCH), "`valid_until` is not after `valid_from`"),
        (valid(APRIL, MARCH), "`valid_until` is not after `valid_from`"),
        (
            period("p", "2026-02-30", "closed", MARCH),
            "`period` is neither the last day",
        ),
        (
            period("p", "2026-13", "closed", MARCH),
            "`period` is neither the last day",
        ),
        (
            period("p", "2026-02-22", "shut", MARCH),
            "`state` is not one of closed, open",
        ),
        (fact("outcome", "o"), "`order_id` is missing"),
        (
            Fact {
                order_id: Some("O".into()),
                outcome: Some("maybe".into()),
                ..fact("outcome", "o")
            },
            "`outcome` is not one of fraud, legitimate",
        ),
        (fact("opinion", "o"), "`kind` is not one of"),
    ] {
        let error = refused(fact);
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn a_field_of_another_kind_is_refused() {
    let stray = |field: &str, set: fn(&mut Fact)| {
        let mut tick = fact("tick", "t");
        set(&mut tick);
        let error = refused(tick);
        assert!(
            error.starts_with(&format!("`{field}` belongs to the kind ")),
            "{error}"
        );
    };
    stray("text", |fact| fact.text = Some(String::new()));
    stray("table", |fact| fact.table = Some("t".into()));
    stray("key", |fact| fact.key = Some("k".into()));
    stray("values", |fact| fact.values = Some(BTreeMap::new()));
    stray("valid_from", |fact| fact.valid_from = Some(fact.effective_at));
    stray("valid_until", |fact| fact.valid_until = Some(fact.effective_at));
    stray("source", |fact| fact.source = Some("s".into()));
    stray("row_id", |fact| fact.row_id = Some("r".into()));
    stray("column", |fact| fact.column = Some("c".into()));
    stray("editor", |fact| fact.editor = Some("e".into()));
    stray("approver", |fact| fact.approver = Some("a".into()));
    stray("value", |fact| fact.value = ColumnValue::Boolean(true));
    stray("ceiling", |fact| fact.ceiling = Some(Amount::ZERO));
    stray("period", |fact| fact.period = Some("2026-02".into()));
    stray("state", |fact| fact.state = Some("open".into()));
    stray("order_id", |fact| fact.order_id = Some("o".into()));
    stray("outcome", |fact| fact.outcome = Some("fraud".into()));
    let owned = Fact {
        source: Some("billing".into()),
        ..reference("r", "t", "k")
    };
    assert_eq!(
        refused(owned),
        "`source` belongs to the kind approval or period, not to reference"
    );
}
