//! A simulated billing sheet in which every kind of finding is planted: what is found is the truth, which an oracle of its
//! own computed, whatever way events and facts take.

use redline_schemas::Event;
use redline_simulator::{FactsArrive, FindingRates, Order, Simulation, SimulationSettings};
use redline_tests::{Plan, checker, rows};

use crate::{REST, Result, end};

/// Seeds of which each takes two ways; the first takes all of them.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=10;
const ROWS: usize = 300;

/// How one run is to be.
#[derive(Clone, Copy)]
struct Way {
    order: Order,
    facts: FactsArrive,
    partitions: i32,
    workers: usize,
}

const WAYS: [Way; 5] = [
    Way {
        order: Order::InOrder,
        facts: FactsArrive::First,
        partitions: 1,
        workers: 1,
    },
    Way {
        order: Order::Shuffled(1),
        facts: FactsArrive::Last,
        partitions: 3,
        workers: 2,
    },
    Way {
        order: Order::Shuffled(2),
        facts: FactsArrive::Mixed(2),
        partitions: 12,
        workers: 3,
    },
    Way {
        order: Order::InOrder,
        facts: FactsArrive::Last,
        partitions: 5,
        workers: 3,
    },
    Way {
        order: Order::Shuffled(3),
        facts: FactsArrive::First,
        partitions: 2,
        workers: 1,
    },
];

/// Lets a sheet take a way, holds what is found against the truth, and answers it.
async fn run(simulation: &Simulation, way: Way) -> Result {
    let seed = simulation.settings.seed;
    let redline = Plan::new(&format!("sheet-{seed}"))
        .partitions(way.partitions)
        .rules(&simulation.rules_toml)
        .make()
        .await;
    let mut processes = vec![redline.relay()];
    processes.extend((0..way.workers).map(|_| redline.work()));
    let arriving: Vec<Event> = simulation
        .arrival(way.order, way.facts)
        .iter()
        .map(rows::message)
        .collect();
    redline.produce(&arriving).await;
    redline.wait_quiet(REST).await;
    let totals = checker::check(&redline).await;
    assert_eq!(totals.quarantined, 0, "every event and every fact is accepted");

    let truth = redline.folder().join("truth.json");
    simulation.truth.to_file(&truth).expect("the truth is written");
    let checked = redline
        .run(&["simulate", "check", &truth.display().to_string()])
        .await;
    assert_eq!(
        checked.code, 0,
        "seed {seed}\n{}\n{}",
        checked.stdout, checked.stderr
    );
    let rules = redline.folder().join("in-force.toml");
    std::fs::write(&rules, &simulation.rules_toml).expect("the rules are written");
    let backtest = redline
        .run(&["rules", "backtest", "--rules", &rules.display().to_string()])
        .await;
    assert_eq!(backtest.code, 0, "{}\n{}", backtest.stdout, backtest.stderr);
    let result = Result::of(&redline).await;
    end(redline, processes).await;
    result
}

#[tokio::test]
async fn every_planted_finding_is_found_and_nothing_else_whatever_way_a_sheet_takes() {
    for seed in SEEDS {
        let simulation = Simulation::new(SimulationSettings {
            seed,
            rows: ROWS,
            findings: FindingRates::each(40),
            ..SimulationSettings::default()
        });
        let first = usize::try_from(seed).expect("a small seed");
        let count = if seed == *SEEDS.start() { WAYS.len() } else { 2 };
        let mut expected: Option<Result> = None;
        for way in WAYS.iter().cycle().skip(first).take(count) {
            let found = run(&simulation, *way).await;
            match &expected {
                Some(expected) => found.assert_same(expected, &format!("seed {seed}")),
                None => expected = Some(found),
            }
        }
    }
}
