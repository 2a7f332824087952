//! From sources into Kafka: read, check, encode, publish.

pub mod door;
pub mod encode;
pub mod facts;
pub mod kafka;
mod lines;
pub mod publisher;
pub mod sources;
#[cfg(test)]
mod stand_in;
mod window;

pub use window::{LineError, MAX_ERRORS, Tally};
