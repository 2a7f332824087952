//! Three workers are replaced one after the other under load, as every upgrade does. docs/performance.md has figures.

use std::cell::Cell;
use std::io::Write as _;
use std::time::Duration;

use redline_schemas::{Event, EventKind, Timestamp};
use redline_tests::{Installation, Plan, Process, checker, rows};
use sqlx::Row as _;

use crate::running::PATIENCE;
use crate::turns::alone;

/// Far longer than a worker that leaves may hold up the others.
const SESSION: Duration = Duration::from_secs(45);
const SETTINGS: &[(&str, &str)] = &[("REDLINE_WORK__SESSION_TIMEOUT_MILLISECONDS", "45000")];
/// Events sent at once, and how long after the last ones.
const PART: i64 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// Sends events, each with the time at which it was sent, until it is done; answers how many.
async fn load(redline: &Installation, done: &Cell<bool>) -> i64 {
    let schema_id = redline.schema_id(EventKind::Row).await;
    let Event::Row(row) = rows::row(&rows::billing("rolling", 0, 1)) else {
        panic!("a row is a row");
    };
    let mut sent = 0;
    while !done.get() {
        let part = (sent..sent + PART).map(|number| {
            let mut row = row.clone();
            row.row_id = format!("rolling-{}", number % 200);
            row.version = number / 200;
            row.observed_at = Timestamp::now();
            redline.raw(&Event::Row(row), schema_id)
        });
        redline.kafka.produce_all(part.collect()).await;
        sent += PART;
        tokio::time::sleep(PAUSE).await;
    }
    sent
}

/// Each worker is told to stop, and another one comes in its place.
async fn replace(redline: &Installation, workers: &mut Vec<Process>) {
    for _ in 0..workers.len() {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let code = workers.remove(0).terminate(Duration::from_secs(10)).await;
        assert_eq!(code, 0, "its exit code");
        workers.push(redline.start("work", SETTINGS));
        redline.wait_for_owners(3, PATIENCE).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
}

/// How long events waited from when they were sent until they were recorded: half of them at most, and the longest.
async fn waits(redline: &Installation) -> (Duration, Duration) {
    let row = sqlx::query(
        "select percentile_cont(0.5) within group (order by wait), max(wait) from (
            select extract(epoch from recorded_at - observed_at)::float8 as wait from redline.versions) waits",
    )
    .fetch_one(&redline.pool)
    .await
    .expect("versions can be read");
    let [half, longest] = [0, 1].map(|column| Duration::from_secs_f64(row.get::<f64, _>(column).max(0.0)));
    (half, longest)
}

#[tokio::test]
async fn three_workers_that_are_replaced_under_load_lose_nothing_and_wait_for_no_session() {
    let _turn = alone().await;
    let redline = Plan::new("rolling").partitions(6).rows_are_shared().make().await;
    let relay = redline.relay();
    let mut workers: Vec<Process> = (0..3).map(|_| redline.start("work", SETTINGS)).collect();
    redline.wait_for_owners(3, PATIENCE).await;

    let done = Cell::new(false);
    let (sent, ()) = tokio::join!(load(&redline, &done), async {
        replace(&redline, &mut workers).await;
        done.set(true);
    });
    redline.wait_quiet(PATIENCE).await;
    let (half, longest) = waits(&redline).await;
    let _ = writeln!(
        std::io::stderr(),
        "{sent} events: half were recorded within {half:?}, all within {longest:?}"
    );
    assert!(longest < SESSION, "an event waited for {longest:?}");
    workers.push(relay);
    redline.stop(workers).await;
    assert_eq!(checker::check(&redline).await.accepted, sent);
    redline.remove().await;
}
