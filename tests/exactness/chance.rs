//! Random histories, produced in several orders over several partitions.

use std::collections::BTreeSet;

use redline_schemas::{Event, EventKind};
use redline_tests::checker;
use redline_tests::{Plan, Random, Raw, rows};
use serde_json::{Value, json};

use crate::{REST, Result, end};

const RULES: &str = r#"
[sources.billing]
time_zone = "America/New_York"
grace_days = 1
amount = "Total"
[sources.billing.tracked]
"Quantity" = { type = "amount", unit = "Price" }
"Price" = { type = "amount" }
"Total" = { type = "amount" }
"Foreman" = { type = "text", risk = "MEDIUM" }
[sources.billing.thresholds]
USD = { medium = "2", high = "40" }
"#;

const ROWS: usize = 12;
const VERSIONS: usize = 10;

/// Versions of a few rows: edits, gaps, deletes and returns, several contents of one version, and copies that were
/// observed at other times.
fn history(random: &mut Random) -> Vec<Event> {
    let mut events = Vec::new();
    for row in 0..ROWS {
        for version in 0..VERSIONS {
            if random.one_in(6) {
                continue;
            }
            let contents = if random.one_in(8) { 1 + random.below(3) } else { 1 };
            for _ in 0..contents {
                let content = content(random, row, version);
                for _ in 0..=random.below(5).saturating_sub(2) {
                    let mut copy = content.clone();
                    copy["observed_at"] = time(random, 20).into();
                    events.push(rows::row(&copy));
                }
            }
        }
    }
    events
}

fn time(random: &mut Random, hour: usize) -> String {
    format!(
        "2026-03-{:02}T{:02}:59:59.999999Z",
        1 + random.below(9),
        (hour + random.below(12)) % 24
    )
}

fn content(random: &mut Random, row: usize, version: usize) -> Value {
    let op = random.choose(&[
        "update", "update", "update", "update", "create", "snapshot", "delete",
    ]);
    let currency = if random.one_in(12) { "EUR" } else { "USD" };
    let mut content = json!({
        "source": "billing", "row_id": format!("R-{row}"), "version": version, "op": op, "currency": currency,
        "columns": {
            "Quantity": random.choose(&[json!(1), json!("1.0"), json!(2), json!(30), json!("N/A"), Value::Null]),
            "Price": random.choose(&[json!(2), json!(2), json!("2.5"), Value::Null]),
            "Total": random.choose(&[json!("2.00"), json!(2), json!(75.25), json!(-3)]),
            "Foreman": random.choose(&[json!("A"), json!("a"), json!("B. Lée")]),
        },
    });
    if !random.one_in(3) {
        content["modified_at"] = time(random, 0).into();
        content["modified_by"] = (*random.choose(&["ann@example.com", "bob@example.com"])).into();
    }
    if !random.one_in(4) {
        content["period_end"] = format!("2026-03-{:02}", 2 + random.below(6)).into();
    }
    if random.one_in(5) {
        content["column_edits"] =
            json!({"Total": {"modified_at": time(random, 3), "modified_by": "api-billing"}});
    }
    content
}

/// How one run is to be.
struct Way {
    partitions: i32,
    workers: usize,
    batch_records: &'static str,
    is_shuffled: bool,
}

/// Produces the events, half of them before there is a worker, and answers what comes of them.
async fn run(events: &[Event], way: &Way, random: &mut Random) -> Result {
    let plan = Plan::new("chance").partitions(way.partitions).rows_are_shared();
    let redline = plan.rules(RULES).make().await;
    let schema_id = redline.schema_id(EventKind::Row).await;
    let mut records: Vec<Raw> = events.iter().map(|event| redline.raw(event, schema_id)).collect();
    if way.is_shuffled {
        random.shuffle(&mut records);
        for record in &mut records {
            // A foreign producer: the same key comes in any partition.
            let partition = random.below(usize::try_from(way.partitions).expect("partitions"));
            record.partition = Some(i32::try_from(partition).expect("few partitions"));
        }
    }
    let rest = records.split_off(records.len() / 2);
    redline.kafka.produce_all(records).await;
    let variables = [
        ("REDLINE_WORK__BATCH_RECORDS", way.batch_records),
        ("REDLINE_WORK__LINGER_MILLISECONDS", "2"),
    ];
    let mut processes = vec![redline.relay()];
    processes.extend((0..way.workers).map(|_| redline.start("work", &variables)));
    let owners = way
        .workers
        .min(usize::try_from(way.partitions).expect("partitions"));
    redline
        .wait_for_owners(i64::try_from(owners).expect("few workers"), REST)
        .await;
    redline.kafka.produce_all(rest).await;
    redline.wait_quiet(REST).await;

    let contents: BTreeSet<String> = events.iter().map(Event::canonical).collect();
    let totals = checker::check(&redline).await;
    let number = |count: usize| i64::try_from(count).expect("few events");
    assert_eq!(
        (totals.read, totals.accepted, totals.quarantined),
        (number(events.len()), number(contents.len()), 0),
        "each content is accepted once"
    );
    let result = Result::of(&redline).await;
    end(redline, processes).await;
    result
}

#[tokio::test]
async fn random_histories_end_the_same_in_any_order_over_any_partitions_and_workers() {
    let seed = Random::seed();
    let mut random = Random::new(seed);
    let mut events = history(&mut random);
    let way = |partitions, workers, batch_records, is_shuffled| Way {
        partitions,
        workers,
        batch_records,
        is_shuffled,
    };
    events.sort_by_key(|event| (event.entity(), event.version(), event.canonical()));
    let expected = run(&events, &way(1, 1, "5000", false), &mut random).await;
    assert!(
        expected.changes.lines().count() > ROWS && expected.flags.contains("conflicting_version"),
        "REDLINE_TEST_SEED={seed} makes a history without anything to find"
    );
    for (number, way) in [way(4, 2, "7", true), way(5, 3, "3", true), way(12, 3, "50", true)]
        .iter()
        .enumerate()
    {
        let found = run(&events, way, &mut random).await;
        found.assert_same(&expected, &format!("REDLINE_TEST_SEED={seed}, shuffle {number}"));
    }
}
