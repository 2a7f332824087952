//! The contract: events, facts and flags with their Avro schemas, canonical form, wire framing and topics.
//!
//! One file an event. Nothing here does I/O, except the registry client behind the feature `registry`.

pub mod amount;
pub mod avro;
pub mod canonical;
pub mod check;
#[cfg(feature = "registry")]
pub mod compiled;
pub mod event;
pub mod fact;
pub mod flag;
mod json;
pub mod order;
pub mod payout;
pub mod person;
#[cfg(feature = "registry")]
pub mod registry;
pub mod row;
pub mod time;
pub mod topics;
pub mod view;

pub use amount::Amount;
pub use canonical::ContentHash;
pub use check::FieldError;
pub use event::{EntityKey, Event, EventKind};
pub use row::ColumnValue;
pub use time::{Date, Timestamp};
