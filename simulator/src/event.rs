//! Row events: what the sheet says about one row at one version.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Map, Value, json};

use crate::amount::Amount;
use crate::days::written;

/// What one cell holds, as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// JSON null.
    Null,
    /// A JSON number.
    Number(Amount),
    /// A JSON string.
    Text(String),
}

impl Cell {
    /// Text, which an amount column may read as an amount.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// The cell in JSON. Numbers of more digits than a double holds exactly are never made here.
    pub fn json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Text(text) => json!(text),
            Self::Number(amount) => number(*amount),
        }
    }
}

/// An amount as a JSON number.
pub(crate) fn number(amount: Amount) -> Value {
    let text = amount.to_string();
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

/// Who changed a cell, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellEdit {
    /// When.
    pub modified_at: Timestamp,
    /// Who.
    pub modified_by: String,
}

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// The row as it was found.
    Snapshot,
    /// The row was made.
    Create,
    /// The row was changed.
    Update,
    /// The row was removed.
    Delete,
}

impl Op {
    /// The word in events.
    pub fn word(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// Every field of an event but `observed_at`. Equal contents at one version are copies of each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The row.
    pub row_id: String,
    /// Its version.
    pub version: u64,
    /// What happened.
    pub op: Op,
    /// When it was changed, where the source knows.
    pub modified_at: Option<Timestamp>,
    /// Who changed it, where the source knows.
    pub modified_by: Option<String>,
    /// The last day of the row's period.
    pub period_end: Option<Date>,
    /// Whether the work is done.
    pub completed: bool,
    /// The currency of its amounts.
    pub currency: Option<String>,
    /// Where a person finds the row.
    pub link: Option<String>,
    /// The company that it belongs to.
    pub legal_entity: Option<String>,
    /// The cells by column.
    pub columns: BTreeMap<String, Cell>,
    /// Editor and time of single cells.
    pub column_edits: BTreeMap<String, CellEdit>,
}

/// An event about a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What it says.
    pub content: Content,
    /// When it was seen.
    pub observed_at: Timestamp,
    /// Says the same in other words: `completed` when it is false, amounts and times with zeros at their ends. The
    /// content is the same.
    pub wordy: bool,
}

impl Event {
    /// The key on the topic.
    pub fn key(&self) -> String {
        format!("{}/{}", crate::rulebook::SOURCE, self.content.row_id)
    }

    /// The event as a JSON object.
    pub fn json(&self) -> Value {
        let content = &self.content;
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| {
            object.insert(name.to_string(), value);
        };
        put("source", json!(crate::rulebook::SOURCE));
        put("row_id", json!(content.row_id));
        put("version", json!(content.version));
        put("op", json!(content.op.word()));
        put("observed_at", json!(written(self.observed_at)));
        if let Some(at) = content.modified_at {
            put("modified_at", json!(self.time(at)));
        }
        let texts = [
            ("modified_by", &content.modified_by),
            ("currency", &content.currency),
            ("link", &content.link),
            ("legal_entity", &content.legal_entity),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                put(name, json!(text));
            }
        }
        if let Some(day) = content.period_end {
            put("period_end", json!(day.to_string()));
        }
        if content.completed || self.wordy {
            put("completed", json!(content.completed));
        }
        let columns: Map<String, Value> = content
            .columns
            .iter()
            .map(|(name, cell)| (name.clone(), self.cell(cell)))
            .collect();
        put("columns", Value::Object(columns));
        if !content.column_edits.is_empty() {
            let edits: Map<String, Value> = content
                .column_edits
                .iter()
                .map(|(name, edit)| {
                    let at = self.time(edit.modified_at);
                    (
                        name.clone(),
                        json!({"modified_at": at, "modified_by": edit.modified_by}),
                    )
                })
                .collect();
            put("column_edits", Value::Object(edits));
        }
        Value::Object(object)
    }

    fn time(&self, at: Timestamp) -> String {
        let text = written(at);
        match text.strip_suffix('Z') {
            Some(rest) if self.wordy && !rest.contains('.') => format!("{rest}.000Z"),
            _ => text,
        }
    }

    fn cell(&self, cell: &Cell) -> Value {
        if let Cell::Number(amount) = cell
            && self.wordy
        {
            let text = amount.to_string();
            if !text.contains('.') && text.len() < 15 {
                return serde_json::from_str(&format!("{text}.0")).unwrap_or_else(|_| cell.json());
            }
        }
        cell.json()
    }
}
