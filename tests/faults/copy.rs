//! A worker that stands still inside COPY, where Postgres itself ends nothing.

use std::time::{Duration, Instant};

use redline_schemas::{Event, EventKind};
use redline_tests::{Installation, Plan, Process, until};

use crate::running::{PATIENCE, owners, sole_owner};
use crate::stream::{Outcome, generate, run_undisturbed};
use crate::turns::beside_another;

/// Statement and idle timeouts of a second, session timeout of 1.5 s; batches as large as they come.
const SETTINGS: &[(&str, &str)] = &[
    ("REDLINE_WORK__SESSION_TIMEOUT_MILLISECONDS", "1500"),
    ("REDLINE_WORK__STATEMENT_TIMEOUT_MILLISECONDS", "1000"),
    ("REDLINE_WORK__LOCK_TIMEOUT_MILLISECONDS", "1000"),
    ("REDLINE_WORK__IDLE_IN_TRANSACTION_TIMEOUT_MILLISECONDS", "1000"),
];

/// Rows with some 40 kB of text each: COPY takes a while.
fn bulky(part: u64) -> Vec<Event> {
    generate(part, 12, (8, 12), |random, row| {
        row["row_id"] = format!("{}-{part}", row["row_id"].as_str().unwrap_or_default()).into();
        let letters = (0..1_000).map(|_| char::from(b'a' + u8::try_from(random.below(26)).unwrap_or(0)));
        let text: String = letters.collect();
        row["columns"]["Notes"] = text.repeat(40).into();
    })
}

/// Whether the backend is in COPY and waits for its client.
async fn waits_inside_copy(redline: &Installation, backend: i32) -> bool {
    sqlx::query_scalar(
        "select exists (select from pg_stat_activity where pid = $1 and state = 'active'
            and query ilike 'copy redline.%' and wait_event = 'ClientRead')",
    )
    .bind(backend)
    .fetch_one(&redline.pool)
    .await
    .expect("the activity can be read")
}

async fn is_inside_copy(redline: &Installation, backend: i32) -> bool {
    sqlx::query_scalar(
        "select exists (select from pg_stat_activity where pid = $1 and state = 'active'
            and query ilike 'copy redline.%')",
    )
    .bind(backend)
    .fetch_one(&redline.pool)
    .await
    .expect("the activity can be read")
}

/// Stops the process inside COPY: stops it when its backend is seen in COPY, and lets it go on when that was over
/// by then. False when everything was recorded before it was hit.
async fn stop_inside_copy(redline: &Installation, worker: &Process, backend: i32, all: i64) -> bool {
    loop {
        if is_inside_copy(redline, backend).await {
            worker.stop();
            // What was under way is over soon; a backend that still waits then waits for the one that stands still.
            let began = Instant::now();
            while is_inside_copy(redline, backend).await {
                if began.elapsed() > Duration::from_millis(300) && waits_inside_copy(redline, backend).await {
                    return true;
                }
            }
            worker.cont();
        }
        if crate::running::recorded(redline).await >= all {
            return false;
        }
    }
}

#[tokio::test]
async fn a_worker_that_stands_still_inside_copy_is_taken_over_and_its_backend_is_ended() {
    let _turn = beside_another().await;
    const PARTS: u64 = 8;
    let events: Vec<Event> = (1..=PARTS).flat_map(bulky).collect();
    let undisturbed = run_undisturbed("copying", &events).await;

    let redline = Plan::new("copy").make().await;
    let relay = redline.relay();
    let worker = redline.start("work", SETTINGS);
    let stopped = sole_owner(&redline, PATIENCE, "").await;
    let backend = owners(&redline).await[&0].1;
    let schema_id = redline.schema_id(EventKind::Row).await;
    let mut sent = 0;
    let mut hit = false;
    let mut parts = (1..=PARTS).map(bulky);
    while !hit {
        let part = parts
            .next()
            .expect("the worker is hit inside COPY sooner or later");
        let raws: Vec<_> = part.iter().map(|event| redline.raw(event, schema_id)).collect();
        redline.kafka.produce_all(raws).await;
        sent += i64::try_from(part.len()).expect("few records");
        hit = stop_inside_copy(&redline, &worker, backend, sent).await;
    }
    // No timeout of Postgres ends it there.
    until("all its timeouts are over", PATIENCE, async || {
        assert!(waits_inside_copy(&redline, backend).await, "the backend left COPY by itself");
        let over: bool = sqlx::query_scalar(
            "select clock_timestamp() - query_start > interval '2 seconds' from pg_stat_activity where pid = $1",
        )
        .bind(backend)
        .fetch_one(&redline.pool)
        .await
        .expect("the activity can be read");
        if over { Ok(()) } else { Err("not yet".into()) }
    })
    .await;

    let other = redline.start("work", SETTINGS);
    // Session timeout, joining, opening; the rest for a busy machine.
    sole_owner(&redline, Duration::from_secs(15), &stopped).await;
    assert!(
        !is_inside_copy(&redline, backend).await,
        "the old backend is still at work"
    );
    let alive: bool = sqlx::query_scalar("select exists (select from pg_stat_activity where pid = $1)")
        .bind(backend)
        .fetch_one(&redline.pool)
        .await
        .expect("the activity can be read");
    assert!(
        !alive,
        "the backend of the worker that stands still is still there"
    );
    redline.wait_recorded(PATIENCE).await;

    worker.cont();
    for part in parts {
        redline.produce_rows(&part).await;
    }
    redline.wait_quiet(PATIENCE).await;
    redline.stop(vec![relay, worker, other]).await;
    Outcome::of(&redline).await.assert_like(&undisturbed);
    redline.remove().await;
}
