//! Which facts are accepted: the fields of each kind.

use std::collections::BTreeMap;

use redline_domain::facts::check;
use redline_schemas::fact::Fact;
use redline_schemas::{Amount, ColumnValue};

use crate::world::{PAST_END, RULES, at, fact, period, reference, rules};

const MARCH: &str = "2026-03-01T00:00:00Z";
const APRIL: &str = "2026-04-01T00:00:00Z";

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
