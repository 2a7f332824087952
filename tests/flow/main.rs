//! The way of an event through the whole system, on real services: from a request to a flag, and what happens to
//! events that are no events.

#![allow(clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

mod bad_input;
mod demo;
mod doctor;
mod facts;
mod limits;
mod migrate;
mod path;
mod quarantine;
mod read_model;
mod rederive;
mod registry;
mod replay;
mod restored;
mod retention;
mod rights;
mod saying;
mod sheet;
mod totals;

use std::time::Duration;

use redline_tests::{Installation, Process};

/// How long the system may take to come to rest.
const REST: Duration = Duration::from_secs(60);

/// A worker and a relay.
fn worker_and_relay(redline: &Installation) -> Vec<Process> {
    vec![redline.work(), redline.relay()]
}

/// Stops the processes, which must end well, and removes the installation.
async fn end(redline: Installation, processes: Vec<Process>) {
    redline.stop(processes).await;
    redline.remove().await;
}
