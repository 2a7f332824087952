//! A relay is killed, stands still, or is not alone: flags arrive complete and in order per row.

use std::time::Duration;

use redline_tests::{Installation, Plan, Process, checker, until};
use sqlx::{Postgres, Transaction};

use crate::running::{PATIENCE, SMALL_BATCHES};
use crate::stream::{assert_undisturbed, stream, undisturbed};
use crate::turns::{alone, beside_another};
use redline_tests::cluster::wait_for_kafka;
use redline_tests::{is_ours, stand_still};

/// Longer than the session of a broker in the harness's cluster, 3 s, and shorter than a message may take.
const KAFKAS_SESSION: Duration = Duration::from_secs(5);

/// Small turns, and an acknowledgement within a second.
const SMALL_TURNS: &[(&str, &str)] = &[
    ("REDLINE_RELAY__BATCH_MESSAGES", "40"),
    ("REDLINE_RELAY__MESSAGE_TIMEOUT_MILLISECONDS", "1000"),
];

/// An installation whose outbox is full of everything that the stream brings about.
async fn full_outbox(plan: Plan) -> (Installation, Process) {
    let redline = plan.make().await;
    let worker = redline.start("work", SMALL_BATCHES);
    redline.produce_rows(&stream()).await;
    redline.wait_recorded(PATIENCE).await;
    (redline, worker)
}

async fn waiting(redline: &Installation) -> i64 {
    redline.count("select count(*) from redline.outbox").await
}

/// Holds the last message: no relay can delete it, so that none is ever done.
async fn hold_last(redline: &Installation) -> Transaction<'static, Postgres> {
    let mut holding = redline.pool.begin().await.expect("a transaction");
    sqlx::query("select 1 from redline.outbox order by outbox_id desc limit 1 for update")
        .fetch_one(&mut *holding)
        .await
        .expect("the last message can be locked");
    holding
}

/// Waits until so many messages were relayed.
async fn wait_relayed(redline: &Installation, of: i64, relayed: i64) {
    until("the relay is at work", PATIENCE, async || {
        match waiting(redline).await {
            left if left <= of - relayed => Ok(()),
            left => Err(format!("{left} of {of} messages wait")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_relay_that_is_killed_again_and_again_loses_no_flag_and_no_order() {
    let _turn = beside_another().await;
    let (redline, worker) = full_outbox(Plan::new("relay-killed")).await;
    let holding = hold_last(&redline).await;
    let all = waiting(&redline).await;
    for relayed in [200, 600, 1_000, 1_400] {
        let relay = redline.start("relay", SMALL_TURNS);
        wait_relayed(&redline, all, relayed).await;
        relay.kill9();
    }
    let relay = redline.start("relay", SMALL_TURNS);
    holding.rollback().await.expect("the last message is free");
    assert_undisturbed(redline, vec![worker, relay]).await;
}

#[tokio::test]
async fn a_relay_that_is_killed_between_publishing_and_deleting_repeats_in_order() {
    let _turn = beside_another().await;
    let (redline, worker) = full_outbox(Plan::new("relay-between")).await;
    let holding = hold_last(&redline).await;
    let relay = redline.start("relay", &[]);
    until(
        "the relay waits to delete what it published",
        PATIENCE,
        async || {
            let waits = redline
                .count(
                    "select count(*) from pg_stat_activity where datname = current_database()
                    and application_name = 'redline-relay' and wait_event_type = 'Lock'
                    and query like 'delete from redline.outbox%'",
                )
                .await;
            if waits > 0 {
                Ok(())
            } else {
                Err("not yet".to_owned())
            }
        },
    )
    .await;
    relay.kill9();
    // Postgres would notice it only when the message is free, and delete after all.
    redline
        .count(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database()
                and application_name = 'redline-relay'",
        )
        .await;
    let left = waiting(&redline).await;
    let before = checker::published_flags(&redline).await.len();
    holding.rollback().await.expect("the last message is free");
    let relay = redline.start("relay", &[]);
    redline.wait_quiet(PATIENCE).await;
    let after = checker::published_flags(&redline).await.len();
    assert_eq!(
        i64::try_from(after - before).expect("few flags"),
        left,
        "what was published and not deleted is published again"
    );
    assert_undisturbed(redline, vec![worker, relay]).await;
}

#[tokio::test]
async fn two_relays_at_once_keep_the_order_also_when_one_stands_still_in_the_middle() {
    let _turn = beside_another().await;
    let (redline, worker) = full_outbox(Plan::new("two-relays")).await;
    let holding = hold_last(&redline).await;
    let all = waiting(&redline).await;
    let stopped = redline.start("relay", SMALL_TURNS);
    wait_relayed(&redline, all, 200).await;
    stop_inside_turn(&redline, &stopped).await;
    let left = waiting(&redline).await;
    let other = redline.start("relay", SMALL_TURNS);
    // Until Postgres ends the connection of the one that stands still, 15 s at these settings.
    wait_relayed(&redline, left, 400).await;
    stopped.cont();
    holding.rollback().await.expect("the last message is free");
    assert_undisturbed(redline, vec![worker, stopped, other]).await;
}

/// Kafka that was frozen for longer than its own session answers, for a moment, that it has no brokers; librdkafka then
/// gives up its only one, and does not always take it back.
#[tokio::test]
async fn a_relay_whose_kafka_had_no_brokers_for_a_moment_goes_on() {
    if !is_ours("kafka") {
        return;
    }
    let _turn = alone().await;
    undisturbed().await;
    // Asks so often that an answer comes in just that moment.
    let often = "[kafka.client]\n\"topic.metadata.refresh.interval.ms\" = \"50\"\n";
    let (redline, worker) = full_outbox(Plan::new("no-brokers").settings(often)).await;
    redline.stop(vec![worker]).await;
    let holding = hold_last(&redline).await;
    // Few at a time, so that there is something left however long a busy machine takes to stop Kafka.
    let relay = redline.start("relay", &[("REDLINE_RELAY__BATCH_MESSAGES", "10")]);
    for round in 0..4 {
        let left = waiting(&redline).await;
        if left < 120 {
            assert!(
                round > 0,
                "Kafka stands still while there is something to publish"
            );
            break;
        }
        wait_relayed(&redline, left, 80).await;
        let kafka = stand_still("kafka").await;
        tokio::time::sleep(KAFKAS_SESSION).await;
        kafka.go_on().await;
        wait_for_kafka(&redline).await;
    }
    holding.rollback().await.expect("the last message is free");
    assert_undisturbed(redline, vec![relay]).await;
}

/// Stops a relay while it publishes: it took messages, and did not delete them yet.
async fn stop_inside_turn(redline: &Installation, relay: &Process) {
    until("the relay is stopped inside a turn", PATIENCE, async || {
        relay.stop();
        let open = redline
            .count(
                "select count(*) from pg_stat_activity where datname = current_database()
                    and application_name = 'redline-relay' and state = 'idle' and query like 'select outbox_id%'",
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
