//! From sources into Kafka: read, check, encode, publish.

mod client;
pub mod door;
pub mod encode;
pub mod facts;
pub mod kafka;
mod lines;
pub mod publisher;
pub mod sources;
#[cfg(test)]
mod stand_in;
pub mod traces;
pub mod turns;
mod window;

pub use window::{LineError, MAX_ERRORS, Tally};
