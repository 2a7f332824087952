//! Postgres goes away for a while.

use std::fs;
use std::time::{Duration, Instant};

use redline_schemas::{Event, EventKind};
use redline_tests::{Installation, Plan, Proxy, rows};

use crate::running::{PATIENCE, SMALL_BATCHES, for_two_workers, recorded, small_batches_and};
use crate::stream::{assert_undisturbed, stream};
use crate::turns::beside_another;
use redline_tests::cluster::members;

/// How long Postgres is away: longer than the session timeout of 6 s.
const AWAY: Duration = Duration::from_secs(20);
/// Resident memory of a worker that can record nothing, at most: the backlog, 50 MB, does not fit beside what a
/// worker holds at its settings' defaults (batches of 8 MiB, 32 MiB between Kafka and the batches).
const MOST_RESIDENT_KIB: u64 = 200 * 1024;
/// Records of the backlog.
const BACKLOG: usize = 1_250;
/// Text in each of them.
const TEXT: usize = 40_000;

fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the worker runs");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("the kernel tells the resident memory");
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .expect("a number of KiB")
}

/// A proxy before Postgres, switched off, and the installation's address through it.
async fn before_postgres(redline: &Installation) -> (Proxy, String) {
    let database = &redline.services.database;
    let (_, server) = database.split_once('@').expect("a user at a server");
    let (server, _) = server.split_once('/').expect("a server and a database");
    let proxy = Proxy::before(server).await;
    let url = redline.database_url.replace(server, &proxy.address().to_string());
    (proxy, url)
}

#[tokio::test]
async fn a_connection_to_postgres_that_falls_silent_is_given_up_and_stopping_still_takes_seconds() {
    let _turn = beside_another().await;
    let redline = for_two_workers("silent", 4).await;
    let (mut proxy, url) = before_postgres(&redline).await;
    proxy.on().await;
    let events = stream();
    let (first, rest) = events.split_at(events.len() / 2);
    let relay = redline.relay();
    let one = redline.start("work", &small_batches_and(&[("DATABASE_URL", &url)]));
    redline.produce_rows(first).await;
    redline.wait_recorded(PATIENCE).await;

    // The partitions of the first worker are given up, and half of them opened again, over a silent connection.
    proxy.silence();
    let other = redline.start("work", SMALL_BATCHES);
    redline.produce_rows(rest).await;
    redline.wait_recorded(PATIENCE).await;

    proxy.silence();
    let code = one.terminate(Duration::from_secs(25)).await;
    assert_eq!(code, 0);
    assert_undisturbed(redline, vec![relay, other]).await;
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
    produce_backlog(&redline).await;
    let began = Instant::now();
    let mut greatest = 0;
    while began.elapsed() < AWAY {
        greatest = greatest.max(resident_kib(worker.pid()));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(
        recorded(&redline).await,
        1,
        "nothing can be recorded while Postgres is away"
    );
    assert_eq!(members(&redline).await, before, "the worker left its group");
    assert!(
        greatest < MOST_RESIDENT_KIB,
        "the worker grew to {greatest} KiB; {MOST_RESIDENT_KIB} are the limit"
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
    let totals = redline_tests::checker::check(&redline).await;
    assert_eq!(totals.accepted, i64::try_from(BACKLOG).expect("few records") + 1);
    redline.remove().await;
}

/// How often the group's partitions were distributed.
fn distributions(log: &str) -> usize {
    log.matches("the group's partitions were distributed").count()
}

async fn produce_backlog(redline: &redline_tests::Installation) {
    let schema_id = redline.schema_id(EventKind::Row).await;
    let mut json = rows::billing("bulky", 0, 1);
    json["columns"]["Notes"] = "redline ".repeat(TEXT / 8).into();
    let Event::Row(bulky) = rows::row(&json) else {
        panic!("a row is a row");
    };
    let raws = (0..BACKLOG).map(|number| {
        let mut row = bulky.clone();
        row.row_id = format!("bulky-{}", number % 100);
        row.version = i64::try_from(number / 100).expect("few versions");
        redline.raw(&Event::Row(row), schema_id)
    });
    redline.kafka.produce_all(raws.collect()).await;
}
