//! The same events end in the same changes and standing flags, byte for byte, whatever way they take.

#![allow(clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

mod chance;
mod noticed;
mod outages;
mod simulated;

use std::time::Duration;

use redline_tests::{Installation, Process, checker};

/// How long the system may take to come to rest.
const REST: Duration = Duration::from_secs(240);

/// What no order of arrival, number of partitions or number of workers may alter.
#[derive(Clone, PartialEq, Eq)]
struct Result {
    changes: String,
    flags: String,
}

impl Result {
    async fn of(redline: &Installation) -> Self {
        Self {
            changes: checker::changes(redline).await,
            flags: checker::standing_flags(redline).await,
        }
    }

    /// Panics with the lines that only one of two results has.
    fn assert_same(&self, expected: &Self, what: &str) {
        for (name, found, expected) in [
            ("changes", &self.changes, &expected.changes),
            ("standing flags", &self.flags, &expected.flags),
        ] {
            let only_in = |one: &str, other: &str| -> Vec<String> {
                one.lines()
                    .filter(|line| !other.lines().any(|found| found == *line))
                    .map(str::to_owned)
                    .collect()
            };
            assert!(
                found == expected,
                "{what}: the {name} differ; only here: {:#?}; missing: {:#?}",
                only_in(found, expected),
                only_in(expected, found)
            );
        }
    }
}

/// Stops the processes, which must end well, and removes the installation.
async fn end(redline: Installation, processes: Vec<Process>) {
    redline.stop(processes).await;
    redline.remove().await;
}
