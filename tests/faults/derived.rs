//! Facts and what they touch: whoever dies in the middle of judging again, the end is the truth.

use redline_schemas::{Event, EventKind};
use redline_simulator::{FactsArrive, FindingRates, Order, Simulation, SimulationSettings};
use redline_tests::{Installation, Plan, Process, checker, rows, until};

use crate::running::{PATIENCE, SMALL_BATCHES};
use crate::turns::beside_another;

fn sheet(seed: u64) -> Simulation {
    Simulation::new(SimulationSettings {
        seed,
        rows: 200,
        findings: FindingRates::each(40),
        ..SimulationSettings::default()
    })
}

async fn make(name: &str, simulation: &Simulation) -> Installation {
    Plan::new(name)
        .partitions(4)
        .rules(&simulation.rules_toml)
        .make()
        .await
}

/// Waits until it is quiet, and holds everything against the truth.
async fn assert_true(redline: Installation, simulation: &Simulation, processes: Vec<Process>) {
    redline.wait_quiet(PATIENCE).await;
    let totals = checker::check(&redline).await;
    assert_eq!(totals.quarantined, 0);
    let truth = redline.folder().join("truth.json");
    simulation.truth.to_file(&truth).expect("the truth is written");
    let checked = redline
        .run(&["simulate", "check", &truth.display().to_string()])
        .await;
    assert_eq!(checked.code, 0, "{}\n{}", checked.stdout, checked.stderr);
    redline.stop(processes).await;
    redline.remove().await;
}

#[tokio::test]
async fn workers_that_are_killed_while_facts_and_rows_come_mixed_end_in_the_truth() {
    const DEATHS: usize = 6;
    let _turn = beside_another().await;
    let simulation = sheet(11);
    let redline = make("mixed-deaths", &simulation).await;
    let relay = redline.relay();
    let mut survivor = redline.start("work", SMALL_BATCHES);
    let mut victim = redline.start("work", SMALL_BATCHES);
    let arriving: Vec<Event> = simulation
        .arrival(Order::Shuffled(11), FactsArrive::Mixed(11))
        .iter()
        .map(rows::message)
        .collect();
    for piece in arriving.chunks(arriving.len().div_ceil(DEATHS)) {
        redline.produce(piece).await;
        // Whatever it is in the middle of.
        victim.kill9();
        victim = std::mem::replace(&mut survivor, redline.start("work", SMALL_BATCHES));
    }
    assert_true(redline, &simulation, vec![relay, survivor, victim]).await;
}

#[tokio::test]
async fn a_worker_that_is_killed_while_it_judges_again_leaves_the_marks_to_the_next_one() {
    let _turn = beside_another().await;
    let simulation = sheet(12);
    let redline = make("deriver-dies", &simulation).await;
    let relay = redline.relay();
    let worker = redline.start("work", SMALL_BATCHES);
    let (events, facts): (Vec<Event>, Vec<Event>) = simulation
        .arrival(Order::InOrder, FactsArrive::Last)
        .iter()
        .map(rows::message)
        .partition(|event| event.kind() == EventKind::Row);
    redline.produce(&events).await;
    redline.wait_quiet(PATIENCE).await;

    // Whoever judges again stands still before its first change is written, with marks taken and entities updated.
    let mut blocking = redline.pool.begin().await.expect("a transaction");
    sqlx::query("lock table redline.changes in share mode")
        .execute(&mut *blocking)
        .await
        .expect("the lock");
    redline.produce(&facts).await;
    until("the deriver waits for the table", PATIENCE, async || {
        let waiting = "select count(*) from pg_stat_activity where datname = current_database()
            and application_name = 'redline-derive' and wait_event_type = 'Lock'";
        match redline.count(waiting).await {
            0 => Err("it does not wait".to_owned()),
            _ => Ok(()),
        }
    })
    .await;
    worker.kill9();
    blocking.rollback().await.expect("the lock is given back");
    let next = redline.start("work", SMALL_BATCHES);
    assert_true(redline, &simulation, vec![relay, next]).await;
}
