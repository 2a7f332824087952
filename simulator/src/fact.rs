//! Facts: what detection depends on and no event says.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Map, Value, json};

use crate::amount::Amount;
use crate::days::written;
use crate::event::{Cell, number};

/// A row of a reference table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The table.
    pub table: String,
    /// The row's key.
    pub key: String,
    /// The row's values.
    pub values: BTreeMap<String, Cell>,
    /// First instant of validity.
    pub valid_from: Option<Timestamp>,
    /// First instant after validity.
    pub valid_until: Option<Timestamp>,
}

/// Somebody's consent to a change that is still to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// The row that may be changed.
    pub row_id: String,
    /// The column that may be changed.
    pub column: String,
    /// Who may change it.
    pub editor: String,
    /// Who consents.
    pub approver: String,
    /// First instant of validity.
    pub valid_from: Option<Timestamp>,
    /// First instant after validity.
    pub valid_until: Option<Timestamp>,
    /// The value that it may take.
    pub value: Option<Cell>,
    /// The greatest absolute impact.
    pub ceiling: Option<Amount>,
}

/// What a fact states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// A row of a reference table.
    Reference(Reference),
    /// An approval.
    Approval(Approval),
    /// A period was closed, or opened again.
    Period {
        /// The period's last day.
        end: Date,
        /// Whether it was closed.
        closed: bool,
    },
}

/// A recorded statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// The fact.
    pub id: String,
    /// Its version; a higher one replaces lower ones.
    pub version: u64,
    /// From when on it counts.
    pub effective_at: Timestamp,
    /// What it states.
    pub statement: Statement,
}

impl Fact {
    /// The word for what it states.
    pub fn kind(&self) -> &'static str {
        match self.statement {
            Statement::Reference(_) => "reference",
            Statement::Approval(_) => "approval",
            Statement::Period { .. } => "period",
        }
    }

    /// The key on the topic.
    pub fn key(&self) -> String {
        format!("{}/{}", self.kind(), self.id)
    }

    /// The fact as a JSON object.
    pub fn json(&self) -> Value {
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| {
            object.insert(name.to_string(), value);
        };
        put("kind", json!(self.kind()));
        put("id", json!(self.id));
        put("version", json!(self.version));
        put("effective_at", json!(written(self.effective_at)));
        put("recorded_by", json!("controller@example.com"));
        let (from, until) = match &self.statement {
            Statement::Reference(reference) => {
                put("table", json!(reference.table));
                put("key", json!(reference.key));
                let values: Map<String, Value> = reference
                    .values
                    .iter()
                    .map(|(name, cell)| (name.clone(), cell.json()))
                    .collect();
                put("values", Value::Object(values));
                (reference.valid_from, reference.valid_until)
            }
            Statement::Approval(approval) => {
                put("source", json!(crate::rulebook::SOURCE));
                put("row_id", json!(approval.row_id));
                put("column", json!(approval.column));
                put("editor", json!(approval.editor));
                put("approver", json!(approval.approver));
                if let Some(value) = &approval.value {
                    put("value", value.json());
                }
                if let Some(ceiling) = approval.ceiling {
                    put("ceiling", number(ceiling));
                }
                (approval.valid_from, approval.valid_until)
            }
            Statement::Period { end, closed } => {
                put("source", json!(crate::rulebook::SOURCE));
                put("period", json!(end.to_string()));
                put("state", json!(if *closed { "closed" } else { "open" }));
                (None, None)
            }
        };
        if let Some(from) = from {
            put("valid_from", json!(written(from)));
        }
        if let Some(until) = until {
            put("valid_until", json!(written(until)));
        }
        Value::Object(object)
    }
}
