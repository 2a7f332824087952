//! A source, its rules and facts, and versions of its rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use redline_domain::entity::{EntityState, Findings, Standing};
use redline_domain::facts::{Knowledge, check};
use redline_domain::finding::{Ledger, Place};
use redline_schemas::fact::Fact;
use redline_schemas::flag::Flag;
use redline_schemas::{ColumnValue, ContentHash, Event, EventKind, Timestamp};
use serde_json::{Value, json};

pub const RULES: &str = r#"
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
pub const IN_TIME: &str = "2026-02-23T04:59:59Z";
/// The second after it.
pub const PAST_END: &str = "2026-02-23T05:00:00Z";

/// [`RULES`] with more keys of the source.
pub fn rules_with(keys: &str) -> String {
    RULES.replace("amount = ", &format!("{keys}\namount = "))
}

/// A version of R-1 that is created in time; `more` wins over what is usual, and null removes.
pub fn version(number: i64, more: Value) -> Standing {
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

/// The first version of R-1.
pub fn created() -> Standing {
    version(1, json!({"op": "create"}))
}

/// What detection knows when facts were taken in, in their order.
pub fn knowing(facts: impl IntoIterator<Item = Fact>) -> Knowledge {
    let mut knowledge = Knowledge::default();
    for fact in facts {
        check(&fact).expect("a fact that can be accepted");
        knowledge.take(&fact, hash(&fact)).expect("a fact");
    }
    knowledge
}

pub fn hash(fact: &Fact) -> ContentHash {
    ContentHash::of(fact.canonical().as_bytes())
}

pub fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).expect("a time")
}

/// Rules in force from the beginning.
pub fn rules(text: &str) -> Fact {
    Fact::rules("rules", 0, Timestamp::FIRST, "test", text)
}

/// Rules in force from an instant on.
pub fn rules_from(id: &str, time: &str, text: &str) -> Fact {
    Fact::rules(id, 0, at(time), "test", text)
}

/// A fact of another kind, effective from the beginning.
pub fn fact(kind: &str, id: &str) -> Fact {
    Fact {
        kind: kind.into(),
        text: None,
        ..Fact::rules(id, 0, Timestamp::FIRST, "test", "")
    }
}

/// The state of a period from an instant on.
pub fn period(id: &str, end: &str, state: &str, time: &str) -> Fact {
    Fact {
        source: Some("billing".into()),
        period: Some(end.into()),
        state: Some(state.into()),
        effective_at: at(time),
        ..fact("period", id)
    }
}

/// A row of a reference table, valid for ever.
pub fn reference(id: &str, table: &str, key: &str) -> Fact {
    Fact {
        table: Some(table.into()),
        key: Some(key.into()),
        values: Some(BTreeMap::new()),
        ..fact("reference", id)
    }
}

/// An agreed price of a key.
pub fn price(id: &str, key: &str, value: &str) -> Fact {
    let values = BTreeMap::from([("price".to_owned(), ColumnValue::Text(value.into()))]);
    Fact {
        values: Some(values),
        ..reference(id, "prices", key)
    }
}

/// Everything that a history brings to light.
pub fn findings(knowledge: &Knowledge, history: Vec<Standing>) -> Findings {
    let (mut state, mut findings) = (EntityState::default(), Findings::default());
    for standing in history {
        state.apply(standing, knowledge, &mut findings);
    }
    findings
}

pub fn flags_under(text: &str, history: Vec<Standing>) -> Vec<Flag> {
    findings(&knowing([rules(text)]), history).flags
}

/// The flags of a history under facts, as [`shown`] shows them.
pub fn found_with(facts: impl IntoIterator<Item = Fact>, history: Vec<Standing>) -> Vec<String> {
    shown(&findings(&knowing(facts), history).flags)
}

/// `kind version column impact risk`, `-` for what is absent.
pub fn shown(flags: &[Flag]) -> Vec<String> {
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

pub fn found(history: Vec<Standing>) -> Vec<String> {
    shown(&flags_under(RULES, history))
}

/// The only flag of a kind.
pub fn only<'a>(flags: &'a [Flag], kind: &str) -> &'a Flag {
    let of_kind: Vec<&Flag> = flags.iter().filter(|flag| flag.kind == kind).collect();
    assert_eq!(of_kind.len(), 1, "{:?}", shown(flags));
    of_kind[0]
}
