//! What dies, stops, lies or goes away in the middle of a run changes nothing in the end.
//!
//! Each test sends a known stream, lets a fault happen while the stream is being recorded, heals it, waits until it
//! is quiet, has the checker look at everything, and compares changes and standing flags with those of the same
//! stream without a fault.

#![allow(clippy::expect_used, clippy::panic, reason = "this is how a test fails")]
#![allow(
    clippy::disallowed_methods,
    reason = "Kafka as foreign clients see it, not as ours do"
)]

mod bounded;
mod copy;
mod database;
mod derived;
mod feed;
mod fence;
mod foreign;
mod incarnation;
mod log_bounds;
mod offsets;
mod outbox;
mod redis;
mod relay;
mod restarts;
mod rolling;
mod running;
mod source;
mod stream;
mod turns;
mod workers;
