//! A small simulated sheet that is recorded, for tests of what can be done with recorded data.

use std::path::{Path, PathBuf};

use redline_schemas::Event;
use redline_simulator::{FactsArrive, FindingRates, Order, Simulation, SimulationSettings};
use redline_tests::{Installation, Plan, Process, rows};

use crate::{REST, worker_and_relay};

/// The sheet; it is the same each time.
pub(crate) fn sheet() -> Simulation {
    Simulation::new(SimulationSettings {
        seed: 11,
        rows: 60,
        duplicates: 100,
        findings: FindingRates::each(60),
        ..SimulationSettings::default()
    })
}

/// A row that was seen twice, first late and then earlier: only the earlier observation is before its period's end.
fn seen_twice() -> Vec<Event> {
    let seen = |version: i64, quantity: i64, observed_at: &str| {
        let mut row = rows::billing("R-SEEN-TWICE", version, quantity);
        row["observed_at"] = observed_at.into();
        row.as_object_mut().expect("an object").remove("modified_at");
        rows::row(&row)
    };
    vec![
        seen(1, 10, "2026-02-10T10:00:00Z"),
        seen(2, 12, "2026-03-02T10:00:00Z"),
        seen(2, 12, "2026-02-20T10:00:00Z"),
    ]
}

/// An installation with the sheet's rules, and nothing in it.
pub(crate) async fn empty(name: &str, simulation: &Simulation) -> Installation {
    Plan::new(name).rules(&simulation.rules_toml).make().await
}

/// The same with the sheet recorded, and everything quiet.
pub(crate) async fn recorded(name: &str, simulation: &Simulation) -> (Installation, Vec<Process>) {
    let redline = empty(name, simulation).await;
    let processes = worker_and_relay(&redline);
    let arrival = simulation.arrival(Order::Shuffled(3), FactsArrive::Mixed(3));
    let mut events: Vec<Event> = arrival.iter().map(rows::message).collect();
    events.extend(seen_twice());
    redline.produce(&events).await;
    redline.wait_quiet(REST).await;
    (redline, processes)
}

/// Writes the sheet as files; answers those of its events and of its facts.
pub(crate) fn files(simulation: &Simulation, folder: &Path) -> (PathBuf, PathBuf) {
    simulation
        .write_to(folder, Order::InOrder)
        .expect("the sheet can be written");
    (folder.join("events.ndjson"), folder.join("facts.ndjson"))
}
