//! A worker that stands still inside COPY, where Postgres itself ends nothing.

use std::time::{Duration, Instant};

use redline_schemas::{Event, EventKind};
use redline_tests::{Installation, Plan, Process, Raw, until};

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

/// Stops the process inside COPY: COPY waits for a table while the process is stopped, and then for the process. False
/// when the process had given up waiting for the table by then.
async fn stop_inside_copy(redline: &Installation, worker: &Process, part: Vec<Raw>) -> bool {
    let mut holding = redline.pool.begin().await.expect("a transaction");
    sqlx::query("lock table redline.versions in share mode")
        .execute(&mut *holding)
        .await
        .expect("the table can be locked");
    redline.kafka.produce_all(part).await;
    until("COPY waits for the table", PATIENCE, async || {
        let waits = redline
            .count(
                "select count(*) from pg_stat_activity where datname = current_database()
                    and query ilike 'copy redline.versions%' and wait_event_type = 'Lock'",
            )
            .await;
        if waits > 0 {
            Ok(())
        } else {
            Err("it does not".into())
        }
    })
    .await;
    worker.stop();
    holding.rollback().await.expect("the table is free");
    let backend = owners(redline).await[&0].1;
    // What was under way is over soon; a backend that still waits then waits for the one that stands still.
    let began = Instant::now();
    while is_inside_copy(redline, backend).await {
        if began.elapsed() > Duration::from_millis(300) && waits_inside_copy(redline, backend).await {
            return true;
        }
    }
    worker.cont();
    false
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
    let schema_id = redline.schema_id(EventKind::Row).await;
    let mut parts = (1..=PARTS).map(bulky);
    loop {
        let part = parts.next().expect("the worker is stopped within a second");
        let raws = part.iter().map(|event| redline.raw(event, schema_id)).collect();
        if stop_inside_copy(&redline, &worker, raws).await {
            break;
        }
    }
    let backend = owners(&redline).await[&0].1;
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
