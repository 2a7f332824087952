//! The consumer: poll -> decode -> deduplicate -> detect -> record -> mark, and the relay behind it.
//!
//! The delivery contract: a record takes effect in Postgres exactly once, whatever dies and whenever. The position
//! of a partition moves in the same transaction as the effects, by compare-and-set; so does every entity that was
//! read. Whoever comes second records nothing, discards its batch and reads on from the position. Kafka's
//! committed offsets and Redis's marks are advice: nothing depends on them.

#[cfg(all(
    any(feature = "break-marks", feature = "break-outbox", feature = "break-numbers"),
    not(debug_assertions)
))]
compile_error!("a deliberate break must never be released: leave the features break-... out");

pub mod backtest;
pub mod batch;
mod bounded;
mod cache;
pub mod cluster;
mod decode;
mod decoder;
pub mod deduplicate;
mod derivation;
mod deriver;
pub mod detect;
mod facts;
mod headers;
mod incarnation;
mod kafka;
pub mod metrics;
mod opening;
mod patience;
mod recall;
mod recorder;
pub mod rederive;
pub mod redis_connection;
pub mod relay;
pub mod retention;
pub mod settings;
pub mod span;
mod sums;
pub mod survey;
mod traces;
pub mod worker;
mod writers;

pub use decode::{REASONS, RETRY_HEADER, remedy};
pub use facts::knowledge;
pub use recorder::RecordError;
pub use redis::Client as RedisClient;
