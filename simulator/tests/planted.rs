//! What was planted is in the truth, what only looks like it is not, and neither depends on order.

use std::collections::{BTreeMap, BTreeSet};

use redline_simulator::event::Cell;
use redline_simulator::{FindingRates, Grace, Order, Simulation, SimulationSettings, check, compare, oracle};

const KINDS: [&str; 10] = [
    "retroactive_change",
    "completed_row_change",
    "lock_change",
    "late_row",
    "row_deleted",
    "row_moved",
    "unauthorized_editor",
    "rule_violation",
    "reversion",
    "conflicting_version",
];

fn small(seed: u64) -> Simulation {
    Simulation::new(SimulationSettings {
        seed,
        rows: 300,
        ..SimulationSettings::default()
    })
}

#[test]
fn every_planted_finding_is_in_the_truth_and_no_decoy_is() {
    for seed in 0..10 {
        let simulation = small(seed);
        let standing: BTreeSet<&str> = simulation
            .truth
            .flags
            .iter()
            .map(|flag| flag.flag_id.as_str())
            .collect();
        let authorised: BTreeMap<(&str, u64, &str), bool> = simulation
            .truth
            .changes
            .iter()
            .map(|change| {
                (
                    (
                        change.entity_id.as_str(),
                        change.version,
                        change.column_name.as_str(),
                    ),
                    change.authorised,
                )
            })
            .collect();
        for planted in &simulation.truth.planted {
            for key in &planted.expected {
                let stands = standing.contains(key.flag_id().as_str());
                assert!(
                    stands,
                    "seed {seed}, {}: {key:?} is not in the truth",
                    planted.scenario
                );
            }
            for key in &planted.absent {
                let stands = standing.contains(key.flag_id().as_str());
                assert!(
                    !stands,
                    "seed {seed}, {}: {key:?} is in the truth",
                    planted.scenario
                );
            }
            for (row, version, column) in &planted.authorised {
                let allowed = authorised.get(&(row.as_str(), *version, column.as_str()));
                assert_eq!(
                    allowed,
                    Some(&true),
                    "seed {seed}, {}: {row} {version}",
                    planted.scenario
                );
            }
        }
    }
}

#[test]
fn every_kind_and_every_scenario_occurs_in_a_small_sheet() {
    let scenarios: BTreeSet<String> = small(0)
        .truth
        .planted
        .into_iter()
        .map(|planted| planted.scenario)
        .collect();
    assert!(scenarios.len() > 60, "{}", scenarios.len());
    for seed in 0..10 {
        let truth = small(seed).truth;
        let these: BTreeSet<String> = truth
            .planted
            .iter()
            .map(|planted| planted.scenario.clone())
            .collect();
        assert_eq!(these, scenarios, "seed {seed}");
        for kind in KINDS {
            assert!(truth.counts.contains_key(kind), "seed {seed} has no {kind}");
            let planted = truth.planted.iter().flat_map(|planted| &planted.expected);
            assert!(
                planted.filter(|key| key.kind == kind).count() > 0,
                "seed {seed} plants no {kind}"
            );
        }
        assert_eq!(truth.counts.len(), KINDS.len());
        let risks: BTreeSet<&String> = truth.counts.values().flat_map(BTreeMap::keys).collect();
        assert_eq!(risks.len(), 3, "seed {seed}");
    }
}

#[test]
fn the_same_seed_makes_the_same_sheet_and_another_one_another() {
    let (one, two, other) = (small(3), small(3), small(4));
    assert_eq!(one.events, two.events);
    assert_eq!(one.facts, two.facts);
    assert_eq!(one.truth, two.truth);
    assert_eq!(one.rules_toml, two.rules_toml);
    assert_ne!(one.events, other.events);
    assert_ne!(one.rules_toml, other.rules_toml);
}

#[test]
fn the_truth_does_not_depend_on_order_or_duplicates() {
    for seed in 0..3 {
        let simulation = small(seed);
        let grace = simulation.settings.grace();
        let mut facts = simulation.facts.clone();
        facts.reverse();
        for order in [Order::InOrder, Order::Shuffled(9)] {
            let events = simulation.arriving_events(order);
            assert!(events.len() > simulation.events.len());
            let (changes, flags) = oracle::judge(grace, &events, &facts);
            let found: Vec<_> = changes
                .iter()
                .map(|change| serde_json::to_value(change).unwrap())
                .collect();
            let flags: Vec<_> = flags
                .iter()
                .map(|flag| serde_json::to_value(flag).unwrap())
                .collect();
            let report = compare(&simulation.truth, &found, &flags);
            assert!(report.is_clean(), "{report}");
            assert_eq!(report.kinds[check::CHANGES].found, simulation.truth.changes.len());
        }
    }
}

#[test]
fn contents_of_one_version_always_differ_in_their_time() {
    for seed in 0..10 {
        let mut seen = BTreeMap::new();
        for event in small(seed).events {
            let content = event.content;
            let key = (content.row_id.clone(), content.version, content.modified_at);
            if let Some(other) = seen.insert(key, content.clone()) {
                assert_eq!(other, content, "seed {seed}");
            }
        }
    }
}

#[test]
fn flag_ids_are_unique() {
    let truth = small(5).truth;
    let ids: BTreeSet<&String> = truth.flags.iter().map(|flag| &flag.flag_id).collect();
    assert_eq!(ids.len(), truth.flags.len());
}

#[test]
fn amounts_survive_as_json_numbers() {
    for event in small(1).events.iter().filter(|event| !event.wordy) {
        let json = event.json();
        for (column, cell) in &event.content.columns {
            if let Cell::Number(amount) = cell {
                assert_eq!(json["columns"][column].to_string(), amount.to_string());
            }
        }
    }
}

#[test]
fn a_sheet_smaller_than_its_findings_has_no_more_rows_than_asked_for() {
    let simulation = Simulation::new(SimulationSettings {
        rows: 5,
        ..SimulationSettings::default()
    });
    assert_eq!(simulation.truth.planted.len(), 5);
    let none = SimulationSettings {
        rows: 40,
        findings: FindingRates::each(0),
        ..SimulationSettings::default()
    };
    assert!(Simulation::new(none).truth.planted.is_empty());
}

#[test]
fn a_calm_sheet_has_changes_and_no_flags() {
    for seed in 0..4 {
        let settings = SimulationSettings {
            seed,
            rows: 300,
            restless: 0,
            findings: FindingRates::each(0),
            ..SimulationSettings::default()
        };
        let truth = Simulation::new(settings).truth;
        assert!(truth.changes.len() > 1000);
        assert!(truth.flags.is_empty(), "{:?}", truth.flags.first());
    }
}

#[test]
fn longer_graces_are_planted_as_well() {
    for grace in [
        Grace::CalendarDays(3),
        Grace::CalendarDays(10),
        Grace::BusinessDays(5),
    ] {
        let settings = SimulationSettings {
            grace: Some(grace),
            rows: 150,
            seed: 8,
            ..SimulationSettings::default()
        };
        let truth = Simulation::new(settings).truth;
        let standing: BTreeSet<&str> = truth.flags.iter().map(|flag| flag.flag_id.as_str()).collect();
        for planted in &truth.planted {
            for key in &planted.expected {
                assert!(
                    standing.contains(key.flag_id().as_str()),
                    "{grace:?}, {}: {key:?}",
                    planted.scenario
                );
            }
            for key in &planted.absent {
                assert!(
                    !standing.contains(key.flag_id().as_str()),
                    "{grace:?}, {}: {key:?}",
                    planted.scenario
                );
            }
        }
    }
}
