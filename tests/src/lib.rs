//! Redline as a whole, on real Kafka, registry, Postgres and Redis: what the tests start it with, what they send
//! it, and the checker that reads nothing but topics and tables.
//!
//! A test makes an [`Installation`], which shares nothing with any other: it has its own database, topics,
//! consumer group and marks. Its processes are the real binary. Whatever a test waits for is a condition with a
//! limit; nothing sleeps for a fixed time and hopes.
//!
//! Everything here panics with a sentence when it cannot go on: that is how a test fails.

#![allow(clippy::expect_used, clippy::panic, reason = "this is how a test fails")]
#![allow(
    clippy::disallowed_methods,
    reason = "Kafka as foreign clients see it, not as ours do"
)]
#![allow(
    clippy::print_stderr,
    reason = "a test that fails shows what happened on the error stream"
)]

pub mod checker;
pub mod cluster;
mod database;
mod demo;
mod door;
pub mod examples;
mod harness;
mod http;
mod installation;
mod kafka;
pub mod pace;
mod process;
mod prometheus;
mod proxy;
mod random;
mod registry;
pub mod rows;
mod secure;
mod services;
mod settings;
mod wait;

pub use demo::Demo;
pub use door::{Answer, Door};
pub use harness::{StandsStill, harness, is_ours, stand_still};
pub use http::client as http_client;
pub use installation::{Installation, Plan};
pub use kafka::{Kafka, Raw, Read};
pub use process::{Ended, Process};
pub use prometheus::{Prometheus, Target};
pub use proxy::{Proxy, Stop};
pub use random::Random;
pub use registry::Registry;
pub use secure::{Secure, Variables};
pub use services::Services;
pub use wait::until;
