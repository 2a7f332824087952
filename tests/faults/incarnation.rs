//! A topic that is deleted and made again stops its partitions, and an operator decides.

use redline_schemas::Event;
use redline_tests::{Installation, Plan, Process, until};
use serde_json::Value;
use sqlx::Row as _;

use crate::feed::Feed;
use crate::running::{PATIENCE, SMALL_BATCHES, recorded, small_batches_and};
use crate::stream::{assert_undisturbed, stream};
use crate::turns::beside_another;
use redline_tests::cluster::make_rows_again;

/// Of each partition of the rows' topic, where the old ledger stands.
async fn positions(redline: &Installation) -> Vec<(i32, String, i64)> {
    let rows = sqlx::query(
        "select partition, incarnation, next_offset from redline.positions where topic = $1 order by partition",
    )
    .bind(&redline.topics.rows)
    .fetch_all(&redline.pool)
    .await
    .expect("positions can be read");
    rows.iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect()
}

/// Waits until all partitions of the rows' topic are stopped, and checks that the operator is told what to do.
async fn wait_stopped(redline: &Installation) {
    until("the partitions are stopped", PATIENCE, async || {
        let reasons = redline
            .texts("select partition || ' ' || reason from redline.stopped_partitions order by partition")
            .await;
        let all = [
            "0 unknown_incarnation",
            "1 unknown_incarnation",
            "2 unknown_incarnation",
        ];
        if reasons == all {
            Ok(())
        } else {
            Err(format!("stopped: {reasons:?}"))
        }
    })
    .await;
    let topic = &redline.topics.rows;
    let listed = redline.run(&["position", "list"]).await;
    assert_eq!(
        listed.code, 3,
        "a stopped partition is something that was found: {listed:?}"
    );
    for partition in 0..3 {
        let choice = format!("`redline position restart {topic} --partition {partition}`");
        assert!(
            listed.stdout.contains(&choice),
            "the choice is named: {}",
            listed.stdout
        );
    }
    let listed = redline.run(&["position", "list", "--json"]).await;
    let lines: Value = serde_json::from_str(&listed.stdout).expect("JSON");
    let stopped = lines
        .as_array()
        .expect("an array")
        .iter()
        .filter(|line| line["status"] == "stopped");
    assert_eq!(stopped.count(), 3, "{lines}");
    let told = redline.run(&["doctor"]).await;
    assert_eq!(told.code, 3, "{told:?}");
    let choice = format!("redline position restart {topic} --partition 0");
    let words: Vec<&str> = told.stdout.split_whitespace().collect();
    assert!(words.join(" ").contains(&choice), "{}", told.stdout);
}

/// The operator restarts partition 0, then, when that one is read to its end, all others.
async fn restart(redline: &Installation) {
    let topic = &redline.topics.rows;
    redline
        .succeed(&["position", "restart", topic, "--partition", "0"])
        .await;
    until("the restarted partition is read to its end", PATIENCE, async || {
        let end = redline.kafka.log_ends(topic).await[&0].1;
        let position: i64 = sqlx::query_scalar(
            "select next_offset from redline.positions where topic = $1 and partition = 0 and superseded_at is null",
        )
        .bind(topic)
        .fetch_one(&redline.pool)
        .await
        .expect("the position can be read");
        if position == end { Ok(()) } else { Err(format!("it stands at {position} of {end}")) }
    })
    .await;
    let others: i64 = sqlx::query_scalar(
        "select count(*) from redline.control_totals t join redline.positions p using (position_id)
         where p.topic = $1 and p.partition > 0 and p.topic_id = (select topic_id from redline.positions
            where topic = $1 and partition = 0 and superseded_at is null)",
    )
    .bind(topic)
    .fetch_one(&redline.pool)
    .await
    .expect("control totals can be read");
    assert_eq!(others, 0, "partitions that are stopped record nothing");
    redline.succeed(&["position", "restart", topic]).await;
}

/// The loss stands in the record: from where the old ledger stood, nobody knows how far.
async fn assert_gaps(redline: &Installation, old: &[(i32, String, i64)]) {
    let rows = sqlx::query(
        "select partition, incarnation, first_offset, next_offset, reason from redline.gaps where topic = $1
         order by partition",
    )
    .bind(&redline.topics.rows)
    .fetch_all(&redline.pool)
    .await
    .expect("gaps can be read");
    let gaps: Vec<(i32, String, i64)> = rows
        .iter()
        .map(|row| {
            assert_eq!(
                row.get::<Option<i64>, _>(3),
                None,
                "nobody knows how much was lost"
            );
            assert_eq!(row.get::<&str, _>(4), "unknown_incarnation");
            (row.get(0), row.get(1), row.get(2))
        })
        .collect();
    assert_eq!(gaps, old, "the gaps begin where the old ledgers stand");
}

/// The topic was made again and holds `unread`: stops, restarts and ends as if nothing had happened once `later` is
/// sent too.
async fn stop_then_restart(redline: Installation, roles: Vec<Process>, later: &[Event]) {
    wait_stopped(&redline).await;
    let (old, before) = (positions(&redline).await, recorded(&redline).await);
    assert_eq!(old.len(), 3, "no new ledger was begun: {old:?}");
    restart(&redline).await;
    redline.produce_rows(later).await;
    redline.wait_recorded(PATIENCE).await;
    assert_gaps(&redline, &old).await;
    let ends = redline.kafka.log_ends(&redline.topics.rows).await;
    let in_new: i64 = ends.values().map(|(_, end)| end).sum();
    assert_eq!(
        recorded(&redline).await,
        before + in_new,
        "every record of the new topic was read, and nothing while it was stopped"
    );
    let listed = redline.run(&["position", "list"]).await;
    assert_eq!(listed.code, 0, "nothing is stopped any more: {listed:?}");
    assert_undisturbed(redline, roles).await;
}

#[tokio::test]
async fn a_topic_made_again_while_no_worker_runs_stops_until_an_operator_restarts_it() {
    let _turn = beside_another().await;
    let mut redline = Plan::new("again").make().await;
    let events = stream();
    let (first, rest) = events.split_at(events.len() / 2);
    let relay = redline.relay();
    let worker = redline.start("work", SMALL_BATCHES);
    redline.produce_rows(first).await;
    redline.wait_recorded(PATIENCE).await;
    redline.stop(vec![worker]).await;
    make_rows_again(&mut redline).await;
    redline.produce_rows(rest).await;
    let roles = vec![relay, redline.start("work", SMALL_BATCHES)];
    stop_then_restart(redline, roles, &[]).await;
}

#[tokio::test]
async fn a_topic_made_again_under_a_running_worker_is_never_read_from_the_old_position() {
    let _turn = beside_another().await;
    let mut redline = Plan::new("again-longer").make().await;
    let events = stream();
    let roles = vec![redline.relay(), redline.start("work", SMALL_BATCHES)];
    redline.produce_rows(&events[..events.len() / 3]).await;
    redline.wait_recorded(PATIENCE).await;
    make_rows_again(&mut redline).await;
    // The new topic is longer than the old one was: the old positions lie inside it.
    redline.produce_rows(&events).await;
    stop_then_restart(redline, roles, &[]).await;
}

#[tokio::test]
async fn a_topic_made_again_that_is_shorter_than_the_old_one_stops_a_running_worker() {
    let _turn = beside_another().await;
    let mut redline = Plan::new("again-shorter").make().await;
    let events = stream();
    let roles = vec![redline.relay(), redline.start("work", SMALL_BATCHES)];
    let (first, rest) = events.split_at(events.len() / 2);
    redline.produce_rows(first).await;
    redline.wait_recorded(PATIENCE).await;
    make_rows_again(&mut redline).await;
    let (now, later) = rest.split_at(100);
    redline.produce_rows(now).await;
    stop_then_restart(redline, roles, later).await;
}

#[tokio::test]
async fn a_topic_made_again_while_workers_are_recording_it_stops_them() {
    let _turn = beside_another().await;
    let mut redline = Plan::new("again-busy").make().await;
    let events = stream();
    let feed = Feed::of(&redline, &events).await;
    let roles = vec![
        redline.relay(),
        redline.start("work", SMALL_BATCHES),
        redline.start("work", SMALL_BATCHES),
    ];
    feed.midway(&redline, 1_000).await;
    feed.abandon().await;
    make_rows_again(&mut redline).await;
    // The source sends all of it again: what the old topic still held is lost.
    redline.produce_rows(&events).await;
    stop_then_restart(redline, roles, &[]).await;
}

#[tokio::test]
async fn what_a_worker_fetched_from_a_topic_made_again_is_not_recorded_under_the_old_name() {
    let _turn = beside_another().await;
    let mut redline = Plan::new("again-behind").make().await;
    let events = stream();
    // This worker does not look at Kafka's topics by itself: all it notices, it notices by what it fetches.
    let blind = small_batches_and(&[
        ("REDLINE_WORK__STOPPED_RECHECK_SECONDS", "3600"),
        ("REDLINE_WORK__SESSION_TIMEOUT_MILLISECONDS", "30000"),
    ]);
    let (relay, worker) = (redline.relay(), redline.start("work", &blind));
    redline.produce_rows(&events[..events.len() / 3]).await;
    redline.wait_recorded(PATIENCE).await;
    worker.stop();
    make_rows_again(&mut redline).await;
    redline.produce_rows(&events).await;
    worker.cont();
    wait_stopped(&redline).await;
    redline.stop(vec![worker]).await;
    let roles = vec![relay, redline.start("work", SMALL_BATCHES)];
    stop_then_restart(redline, roles, &[]).await;
}

#[tokio::test]
async fn partitions_that_a_topic_made_again_no_longer_has_are_given_up_with_their_gaps() {
    let _turn = beside_another().await;
    let mut redline = Plan::new("again-fewer").make().await;
    let events = stream();
    let roles = vec![redline.relay(), redline.start("work", SMALL_BATCHES)];
    redline.produce_rows(&events[..600]).await;
    redline.wait_recorded(PATIENCE).await;
    let old = positions(&redline).await;
    redline.partitions = 1;
    make_rows_again(&mut redline).await;
    redline.produce_rows(&events).await;
    until(
        "the partition that is left is stopped",
        PATIENCE,
        async || match redline
            .count("select count(*) from redline.stopped_partitions")
            .await
        {
            1 => Ok(()),
            count => Err(format!("{count} are stopped")),
        },
    )
    .await;
    let printed = redline
        .succeed(&["position", "restart", &redline.topics.rows])
        .await;
    assert!(
        printed.contains("partition 1 of") && printed.contains("is gone"),
        "{printed}"
    );
    assert_gaps(&redline, &old).await;
    assert_undisturbed(redline, roles).await;
}
