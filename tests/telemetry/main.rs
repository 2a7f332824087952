//! What a running Redline says about itself, on real services.

#![allow(clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

mod alerts;
mod dashboards;
mod health;
mod jaeger;
mod lag;
mod logs;
mod queries;
mod receiver;
mod sampling;
mod silence;
mod stopping;
mod way;

use std::time::Duration;

use redline_tests::{Door, Installation, Process};

/// How long the system may take to come to rest.
const REST: Duration = Duration::from_secs(60);

/// Variables of a process that sends its spans to this collector, and soon.
fn traced<'v>(endpoint: &'v str, more: &[(&'v str, &'v str)]) -> Vec<(&'v str, &'v str)> {
    let mut variables = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    variables.extend(more);
    variables
}

/// A door, a worker and a relay with these variables.
async fn all_roles(redline: &Installation, variables: &[(&str, &str)]) -> (Door, Vec<Process>) {
    let door = redline.ingest_with(variables).await;
    let others = ["work", "relay"].map(|role| redline.start(role, variables));
    (door, others.into())
}

/// Stops everything, which must end well, and removes the installation.
async fn end(redline: Installation, door: Door, mut others: Vec<Process>) {
    others.push(door.process);
    redline.stop(others).await;
    redline.remove().await;
}
