//! A relay is killed, stands still, or is not alone: flags arrive complete and in order per row.

use redline_tests::{Installation, Plan, Process, until};

use crate::running::{PATIENCE, SMALL_BATCHES};
use crate::stream::{assert_undisturbed, stream};
use crate::turns::beside_another;

/// Small turns, and an acknowledgement within a second.
const SMALL_TURNS: &[(&str, &str)] = &[
    ("REDLINE_RELAY__BATCH_MESSAGES", "40"),
    ("REDLINE_RELAY__MESSAGE_TIMEOUT_MILLISECONDS", "1000"),
];

/// An installation whose outbox is full of everything that the stream brings about.
async fn full_outbox(name: &str) -> (Installation, Process) {
    let redline = Plan::new(name).make().await;
    let worker = redline.start("work", SMALL_BATCHES);
    redline.produce_rows(&stream()).await;
    redline.wait_recorded(PATIENCE).await;
    (redline, worker)
}

async fn waiting(redline: &Installation) -> i64 {
    redline.count("select count(*) from redline.outbox").await
}

/// Waits until so many messages were relayed; some must still wait.
async fn wait_relayed(redline: &Installation, of: i64, relayed: i64) {
    let left = until("the relay is at work", PATIENCE, async || {
        match waiting(redline).await {
            left if left <= of - relayed => Ok(left),
            left => Err(format!("{left} of {of} messages wait")),
        }
    })
    .await;
    assert!(left > 0, "everything was relayed before the fault could happen");
}

#[tokio::test]
async fn a_relay_that_is_killed_again_and_again_loses_no_flag_and_no_order() {
    let _turn = beside_another().await;
    let (redline, worker) = full_outbox("relay-killed").await;
    let all = waiting(&redline).await;
    for relayed in [200, 600, 1_000, 1_400] {
        let relay = redline.start("relay", SMALL_TURNS);
        wait_relayed(&redline, all, relayed).await;
        relay.kill9();
    }
    let relay = redline.start("relay", SMALL_TURNS);
    assert_undisturbed(redline, vec![worker, relay]).await;
}

#[tokio::test]
async fn two_relays_at_once_keep_the_order_also_when_one_stands_still_in_the_middle() {
    let _turn = beside_another().await;
    let (redline, worker) = full_outbox("two-relays").await;
    let all = waiting(&redline).await;
    let stopped = redline.start("relay", SMALL_TURNS);
    wait_relayed(&redline, all, 200).await;
    stop_inside_turn(&redline, &stopped).await;
    let left = waiting(&redline).await;
    let other = redline.start("relay", SMALL_TURNS);
    // Until Postgres ends the transaction of the one that stands still, 6 s at these settings.
    wait_relayed(&redline, left, 100).await;
    stopped.cont();
    assert_undisturbed(redline, vec![worker, stopped, other]).await;
}

/// Stops a relay while it publishes: its transaction stands open.
async fn stop_inside_turn(redline: &Installation, relay: &Process) {
    until("the relay is stopped inside a turn", PATIENCE, async || {
        relay.stop();
        let open = redline
            .count(
                "select count(*) from pg_stat_activity where datname = current_database()
                    and application_name = 'redline-relay' and state = 'idle in transaction'
                    and query ilike '%redline.outbox%'",
            )
            .await;
        if open > 0 {
            return Ok(());
        }
        relay.cont();
        Err("it is between two turns".into())
    })
    .await;
}
