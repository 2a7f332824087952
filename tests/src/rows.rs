//! Events to send.

use redline_schemas::{Event, EventKind};
use redline_simulator::Message;
use serde_json::Value;

/// The contract's example row.
pub const EXAMPLE: &str = r#"{"source":"billing","row_id":"R-1001","version":7,"op":"update","observed_at":"2026-03-02T10:00:00Z","modified_at":"2026-03-02T09:58:11Z","modified_by":"ann@example.com","period_end":"2026-02-22","completed":true,"currency":"USD","link":"https://sheets.example.com/r/1001","columns":{"Quantity":12,"Unit Price":95,"Redlined Total Price":"1140.00","Foreman":"B. Lee"}}"#;

/// The contract's example row as a value to change.
pub fn example() -> Value {
    serde_json::from_str(EXAMPLE).expect("the example is JSON")
}

/// What the contract's example row was before: a version earlier, with another quantity.
pub fn before_example() -> Value {
    let mut row = example();
    row["version"] = 6.into();
    row["columns"]["Quantity"] = 10.into();
    row
}

/// A version of a billing row with this quantity at 95 USD each, changed days after its period's end.
pub fn billing(row_id: &str, version: i64, quantity: i64) -> Value {
    let mut row = example();
    row["row_id"] = row_id.into();
    row["version"] = version.into();
    row["completed"] = false.into();
    row["columns"]["Quantity"] = quantity.into();
    row["columns"]["Redlined Total Price"] = (quantity * 95).to_string().into();
    row
}

/// Reads a row as the door does.
///
/// # Panics
/// When it is no row.
pub fn row(json: &Value) -> Event {
    event(EventKind::Row, json)
}

/// Reads an event or a fact as the door does.
///
/// # Panics
/// When it is none of this kind.
pub fn event(kind: EventKind, json: &Value) -> Event {
    let text = json.to_string();
    Event::from_json(kind, &text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Reads what the simulator sends.
///
/// # Panics
/// When it breaks the contract.
pub fn message(message: &Message) -> Event {
    let kind = match message {
        Message::Event(_) => EventKind::Row,
        Message::Fact(_) => EventKind::Fact,
    };
    event(kind, &message.json())
}
