//! A service that everybody uses is restarted or stands still in the middle. These tests run alone.

use std::time::Duration;

use redline_tests::cluster::wait_for_kafka;
use redline_tests::{Installation, harness, is_ours, stand_still};

use crate::feed::Feed;
use crate::running::{SMALL_BATCHES, for_two_workers};
use crate::stream::{assert_undisturbed, stream, undisturbed};
use crate::turns::alone;

/// Lets two workers record the stream while a service of ours is disturbed; then all must be as if nothing had happened.
async fn disturbed(service: &str, name: &str, disturb: impl AsyncFnOnce(&Installation, &Feed)) {
    if !is_ours(service) {
        return;
    }
    let _turn = alone().await;
    undisturbed().await;
    let redline = for_two_workers(name, 4).await;
    let feed = Feed::of(&redline, &stream()).await;
    let roles = vec![
        redline.relay(),
        redline.start("work", SMALL_BATCHES),
        redline.start("work", SMALL_BATCHES),
    ];
    feed.midway(&redline, 500).await;
    disturb(&redline, &feed).await;
    feed.end().await;
    assert_undisturbed(redline, roles).await;
}

#[tokio::test]
async fn kafka_that_is_restarted_or_crashes_in_the_middle_changes_nothing() {
    disturbed("kafka", "kafka", async |redline, feed| {
        for (at_least, restart) in [
            (1_500, &["restart", "kafka"][..]),
            (2_500, &["restart", "kafka", "--immediate"]),
        ] {
            let held = feed.hold().await;
            harness(restart).await;
            wait_for_kafka(redline).await;
            drop(held);
            feed.midway(redline, at_least).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_while_kafka_stands_still_does_not_wait_for_it() {
    disturbed("kafka", "kafka-told", async |redline, feed| {
        let told = redline.start("work", SMALL_BATCHES);
        redline.wait_for_owners(3, crate::running::PATIENCE).await;
        feed.midway(redline, 1_500).await;
        let held = feed.hold().await;
        let kafka = stand_still("kafka").await;
        // What is in flight waits for Kafka, and is given ten seconds; leaving the group three.
        let code = told.terminate(Duration::from_secs(20)).await;
        kafka.go_on().await;
        assert_eq!(code, 0, "its exit code");
        wait_for_kafka(redline).await;
        drop(held);
        feed.midway(redline, 2_500).await;
    })
    .await;
}

/// A broker that stood still for longer than its session with the cluster answers first that the cluster has no brokers.
#[tokio::test]
async fn every_worker_finds_kafka_again_that_lists_no_broker_for_a_moment() {
    if !is_ours("kafka") {
        return;
    }
    const WORKERS: i64 = 8;
    /// The cluster of the tests counts a broker out after three seconds, one as it comes after nine.
    const BEYOND_ITS_SESSION: Duration = Duration::from_secs(12);
    let _turn = alone().await;
    undisturbed().await;
    let redline = for_two_workers("kafka-listless", 8).await;
    let feed = Feed::of(&redline, &stream()).await;
    let mut roles = vec![redline.relay()];
    roles.extend((0..WORKERS).map(|_| redline.start("work", SMALL_BATCHES)));
    redline.wait_for_owners(WORKERS, crate::running::PATIENCE).await;
    for at_least in [1_000, 1_700, 2_400] {
        let held = feed.hold().await;
        let kafka = stand_still("kafka").await;
        tokio::time::sleep(BEYOND_ITS_SESSION).await;
        kafka.go_on().await;
        wait_for_kafka(&redline).await;
        drop(held);
        feed.midway(&redline, at_least).await;
    }
    feed.end().await;
    assert_undisturbed(redline, roles).await;
}

#[tokio::test]
async fn a_registry_that_is_away_is_waited_for() {
    if !is_ours("registry") {
        return;
    }
    let _turn = alone().await;
    undisturbed().await;
    let redline = for_two_workers("registry", 4).await;
    let feed = Feed::of(&redline, &stream()).await;
    let one = redline.start("work", SMALL_BATCHES);
    feed.midway(&redline, 500).await;
    harness(&["stop", "registry"]).await;
    // This one knows no schema yet; the other one goes on with what it knows.
    let mut other = redline.start("work", SMALL_BATCHES);
    other
        .wait_for_log("waiting for the schema registry", crate::running::PATIENCE)
        .await;
    feed.midway(&redline, 1_500).await;
    harness(&["start", "registry"]).await;
    feed.end().await;
    let relay = redline.relay();
    assert_undisturbed(redline, vec![relay, one, other]).await;
}
