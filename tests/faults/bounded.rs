//! What roles hold in memory, whatever comes. docs/performance.md has figures, and how to repeat them with more.

use std::fs;
use std::io::Write as _;
use std::time::Duration;

use redline_schemas::row::RowEvent;
use redline_schemas::{ColumnValue, Event, EventKind};
use redline_tests::cluster::{members, wait_for_kafka};
use redline_tests::{Installation, Plan, Process, Raw, checker, is_ours, rows, stand_still, until};

use crate::database::before_postgres;
use crate::running::{PATIENCE, recorded};
use crate::turns::{alone, beside_another};

/// Resident memory of a worker at its settings' defaults, at most: 128 MiB of remembered rows, 32 MiB between Kafka and the
/// batches, batches of 8 MiB with all that is made of them, and itself.
const MOST_OF_A_WORKER: u64 = 512 * 1024;
/// Resident memory of a relay, at most: turns of 8 MiB, and itself.
const MOST_OF_A_RELAY: u64 = 128 * 1024;

/// Resident memory of a door with [`FEW_REQUESTS`], at most: 4 MiB on the way to Kafka for each of them, what was read of
/// their bodies, and itself.
const MOST_OF_A_DOOR: u64 = 128 * 1024;
const FEW_REQUESTS: &[(&str, &str)] = &[
    ("REDLINE_INGEST__MAX_REQUESTS", "16"),
    ("REDLINE_INGEST__ACKNOWLEDGE_TIMEOUT_SECONDS", "3"),
];
/// Requests at once, each of 8 MB.
const REQUESTS: usize = 60;
const LINES: i64 = 200;

/// How long Postgres is away: longer than the session timeout of 6 s.
const AWAY: Duration = Duration::from_secs(20);
/// Resident memory of a worker that can record nothing, at most: the backlog, 50 MB, does not fit beside what a
/// worker holds then.
const MOST_WHILE_AWAY: u64 = 200 * 1024;

/// Rows that come meanwhile.
const BULKY: usize = 1_250;
/// Text in a bulky row.
const TEXT: usize = 40_000;

/// Small rows that wait for the worker; so many others when `REDLINE_TEST_BACKLOG` says so.
const SMALL: usize = 30_000;
/// Versions of one row with as many columns as a row may have.
const WIDE: usize = 60;
/// Records of nearly a megabyte that nobody can read.
const LARGE: usize = 100;

/// The most memory that was resident since a process began, in KiB.
fn greatest_kib(process: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.and_then(|kib| kib.parse().ok()).expect("a number of KiB")
}

/// A row whose period has not ended, so that nothing is to be flagged.
fn quiet_row() -> RowEvent {
    let mut json = rows::billing("bulk", 0, 1);
    json["period_end"] = "2026-12-31".into();
    let Event::Row(row) = rows::row(&json) else {
        panic!("a row is a row");
    };
    row
}

fn bulky_text() -> String {
    "redline ".repeat(TEXT / 8)
}

/// Produces rows, some thousands at a time.
async fn produce_rows(redline: &Installation, rows: impl Iterator<Item = RowEvent>) {
    let schema_id = redline.schema_id(EventKind::Row).await;
    let mut raws = rows
        .map(|row| redline.raw(&Event::Row(row), schema_id))
        .peekable();
    while raws.peek().is_some() {
        redline
            .kafka
            .produce_all(raws.by_ref().take(20_000).collect())
            .await;
    }
}

async fn produce_small(redline: &Installation, count: usize) {
    let row = quiet_row();
    let numbered = |number| RowEvent {
        row_id: format!("small-{number}"),
        ..row.clone()
    };
    produce_rows(redline, (0..count).map(numbered)).await;
}

/// Each version has another value in all of its 500 columns, 60 KB.
async fn produce_wide(redline: &Installation) {
    let wide = |version: usize| {
        let mut row = quiet_row();
        row.row_id = "wide".to_owned();
        row.version = i64::try_from(version).expect("few versions");
        for column in row.columns.len()..500 {
            let value = ColumnValue::Text(format!("{version:0110}"));
            row.columns.insert(format!("Column {column:03}"), value);
        }
        row
    };
    produce_rows(redline, (0..WIDE).map(wide)).await;
}

async fn produce_large(redline: &Installation) {
    let raw = |number: usize| Raw {
        topic: redline.topics.rows.clone(),
        key: Some(format!("large-{number}").into_bytes()),
        value: Some(vec![b'x'; 1_000_000]),
        ..Raw::default()
    };
    redline.kafka.produce_all((0..LARGE).map(raw).collect()).await;
}

#[tokio::test]
async fn a_worker_and_a_relay_stay_small_before_a_backlog_of_small_wide_and_large_records() {
    let _turn = alone().await;
    let backlog = std::env::var("REDLINE_TEST_BACKLOG").ok();
    let small = backlog.map_or(SMALL, |small| small.parse().expect("a number of rows"));
    let redline = Plan::new("bulk").make().await;
    produce_small(&redline, small).await;
    produce_wide(&redline).await;
    produce_large(&redline).await;

    let (worker, relay) = (redline.work(), redline.relay());
    let seconds = u64::try_from(small / 1_000).expect("a number of seconds");
    redline.wait_quiet(PATIENCE + Duration::from_secs(seconds)).await;
    let (of_worker, of_relay) = (greatest_kib(&worker), greatest_kib(&relay));
    let _ = writeln!(
        std::io::stderr(),
        "{small} small rows: the worker had {of_worker} KiB at most, the relay {of_relay} KiB"
    );
    assert!(of_worker < MOST_OF_A_WORKER, "the worker grew to {of_worker} KiB");
    assert!(of_relay < MOST_OF_A_RELAY, "the relay grew to {of_relay} KiB");
    redline.stop(vec![worker, relay]).await;

    let totals = checker::check(&redline).await;
    let number = |count: usize| i64::try_from(count).expect("a number of records");
    assert_eq!(
        (totals.accepted, totals.quarantined),
        (number(small + WIDE), number(LARGE))
    );
    redline.remove().await;
}

#[tokio::test]
async fn a_door_whose_kafka_stands_still_says_when_to_come_again_and_stays_small() {
    if !is_ours("kafka") {
        return;
    }
    let _turn = alone().await;
    let redline = Plan::new("door").make().await;
    let door = redline.ingest_with(FEW_REQUESTS).await;
    let mut line = rows::billing("bulky", 0, 1);
    line["columns"]["Notes"] = bulky_text().into();
    let lines: Vec<String> = (0..LINES)
        .map(|version| {
            line["version"] = version.into();
            line.to_string()
        })
        .collect();
    let body = lines.join("\n");

    let kafka = stand_still("kafka").await;
    let requests = (0..REQUESTS).map(|_| door.post("/v1/rows", "application/x-ndjson", body.clone()));
    let answers = futures_util::future::join_all(requests).await;
    kafka.go_on().await;
    wait_for_kafka(&redline).await;
    let greatest = greatest_kib(&door.process);
    let _ = writeln!(std::io::stderr(), "the door had {greatest} KiB at most");
    assert!(greatest < MOST_OF_A_DOOR, "the door grew to {greatest} KiB");
    for status in [429, 503] {
        assert!(
            answers.iter().any(|answer| answer.status == status),
            "nobody is answered {status}: {answers:?}"
        );
    }
    for answer in &answers {
        assert!(
            [429, 503].contains(&answer.status) && answer.retry_after.is_some(),
            "{answer:?}"
        );
    }

    until("who comes again is let in", PATIENCE, async || {
        let answer = door.post("/v1/rows", "application/x-ndjson", body.clone()).await;
        match answer.status {
            202 => Ok(()),
            503 => Err(format!("{answer:?}")),
            other => panic!("{other}: {answer:?}"),
        }
    })
    .await;
    let (worker, relay) = (redline.work(), redline.relay());
    redline.wait_quiet(PATIENCE).await;
    redline.stop(vec![worker, relay, door.process]).await;
    assert_eq!(checker::check(&redline).await.accepted, LINES);
    redline.remove().await;
}

#[tokio::test]
async fn a_worker_whose_postgres_is_away_stays_in_its_group_and_small() {
    let _turn = beside_another().await;
    let redline = Plan::new("away").make().await;
    let (mut proxy, url) = before_postgres(&redline).await;
    proxy.on().await;
    // The session timeout of the installation, 6 s, and batches of 8 MiB.
    let worker = redline.start("work", &[("DATABASE_URL", &url)]);
    redline
        .produce_rows(&[rows::row(&rows::billing("first", 1, 1))])
        .await;
    redline.wait_recorded(PATIENCE).await;
    let before = members(&redline).await;
    assert_eq!(before.len(), 1, "the group's members: {before:?}");
    let rebalances = distributions(&worker.log());

    proxy.off().await;
    produce_bulky(&redline).await;
    tokio::time::sleep(AWAY).await;
    let greatest = greatest_kib(&worker);
    assert_eq!(
        recorded(&redline).await,
        1,
        "nothing can be recorded while Postgres is away"
    );
    assert_eq!(members(&redline).await, before, "the worker left its group");
    assert!(
        greatest < MOST_WHILE_AWAY,
        "the worker grew to {greatest} KiB; {MOST_WHILE_AWAY} are the limit"
    );

    proxy.on().await;
    redline.wait_recorded(PATIENCE).await;
    assert_eq!(members(&redline).await, before, "the worker left its group");
    assert_eq!(
        distributions(&worker.log()),
        rebalances,
        "the group was rebalanced"
    );
    let relay = redline.relay();
    redline.wait_quiet(PATIENCE).await;
    redline.stop(vec![worker, relay]).await;
    let totals = checker::check(&redline).await;
    assert_eq!(totals.accepted, i64::try_from(BULKY).expect("few records") + 1);
    redline.remove().await;
}

/// How often the group's partitions were distributed.
fn distributions(log: &str) -> usize {
    log.matches("the group's partitions were distributed").count()
}

async fn produce_bulky(redline: &Installation) {
    let mut row = quiet_row();
    row.columns
        .insert("Notes".to_owned(), ColumnValue::Text(bulky_text()));
    let numbered = |number| RowEvent {
        row_id: format!("bulky-{}", number % 100),
        version: i64::try_from(number / 100).expect("few versions"),
        ..row.clone()
    };
    produce_rows(redline, (0..BULKY).map(numbered)).await;
}
