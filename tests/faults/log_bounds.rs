//! A position outside of the log stops its partition, and an operator decides.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use redline_schemas::EventKind;
use redline_tests::{Installation, Kafka, Plan, Services, until};
use sqlx::Row as _;

use crate::running::{PATIENCE, SMALL_BATCHES};
use crate::stream::{assert_undisturbed, stream, undisturbed};
use crate::turns::{alone, beside_another};
use redline_tests::cluster::{delete_records, wait_for_kafka};
use redline_tests::{harness, is_ours};

async fn positions(redline: &Installation) -> BTreeMap<i32, i64> {
    let rows = sqlx::query(
        "select partition, next_offset from redline.positions where topic = $1 and superseded_at is null",
    )
    .bind(&redline.topics.rows)
    .fetch_all(&redline.pool)
    .await
    .expect("positions can be read");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Waits until one partition is stopped for a reason and all others are read to their ends.
async fn wait_only_stopped(redline: &Installation, partition: i32, reason: &str) {
    until(
        "one partition is stopped, and the others go on",
        PATIENCE,
        async || {
            let stopped = redline
                .texts("select partition || ' ' || reason from redline.stopped_partitions order by partition")
                .await;
            let positions = positions(redline).await;
            let ends = redline.kafka.log_ends(&redline.topics.rows).await;
            let others_done = ends
                .iter()
                .all(|(other, (_, end))| *other == partition || positions.get(other) == Some(end));
            match others_done && stopped == [format!("{partition} {reason}")] {
                true => Ok(()),
                false => Err(format!(
                    "stopped: {stopped:?}, positions {positions:?} of {ends:?}"
                )),
            }
        },
    )
    .await;
}

#[tokio::test]
async fn a_log_that_starts_past_the_position_stops_its_partition_until_the_gap_is_accepted() {
    let _turn = beside_another().await;
    let redline = Plan::new("log-start").make().await;
    let events = stream();
    let schema_id = redline.schema_id(EventKind::Row).await;
    let raws: Vec<_> = events.iter().map(|event| redline.raw(event, schema_id)).collect();
    let (first, rest) = raws.split_at(raws.len() / 3);
    let mut places = redline.kafka.produce_all(first.to_vec()).await;
    let workers = vec![
        redline.start("work", SMALL_BATCHES),
        redline.start("work", SMALL_BATCHES),
    ];
    redline.wait_recorded(PATIENCE).await;
    for worker in workers {
        assert_eq!(worker.terminate(Duration::from_secs(30)).await, 0);
    }
    places.extend(redline.kafka.produce_all(rest.to_vec()).await);
    let position = positions(&redline).await[&1];
    let end = redline.kafka.log_ends(&redline.topics.rows).await[&1].1;
    assert!(
        end - position > 200,
        "partition 1 stands at {position} of {end}: too far for this test"
    );
    let start = position + (end - position) / 2;
    delete_records(&redline, 1, start).await;

    let roles = vec![
        redline.relay(),
        redline.start("work", SMALL_BATCHES),
        redline.start("work", SMALL_BATCHES),
    ];
    wait_only_stopped(&redline, 1, "log_start_past_position").await;
    assert_eq!(
        positions(&redline).await[&1],
        position,
        "the position stands still"
    );
    let topic = &redline.topics.rows;
    let listed = redline.run(&["position", "list"]).await;
    assert_eq!(listed.code, 3, "{listed:?}");
    let choice = format!("`redline position accept-gap {topic} --partition 1`");
    assert!(listed.stdout.contains(&choice), "{}", listed.stdout);
    assert!(
        listed
            .stdout
            .contains(&format!("{} offsets were removed", start - position)),
        "{}",
        listed.stdout
    );
    let refused = redline
        .run(&["position", "accept-gap", topic, "--partition", "0"])
        .await;
    assert_eq!(
        refused.code, 1,
        "a partition that is recorded is left alone: {refused:?}"
    );

    redline
        .succeed(&["position", "accept-gap", topic, "--partition", "1"])
        .await;
    redline.wait_recorded(PATIENCE).await;
    let gaps = redline
        .texts("select concat_ws(' ', partition, first_offset, next_offset, reason) from redline.gaps")
        .await;
    assert_eq!(gaps, [format!("1 {position} {start} log_start_past_position")]);
    assert_eq!(redline.run(&["position", "list"]).await.code, 0);

    // What was lost is known exactly: sent again, all is as if nothing had happened.
    let lost: Vec<_> = events
        .iter()
        .zip(places)
        .filter(|(_, (partition, offset))| *partition == 1 && (position..start).contains(offset))
        .map(|(event, _)| event.clone())
        .collect();
    assert_eq!(i64::try_from(lost.len()).expect("few records"), start - position);
    redline.produce_rows(&lost).await;
    assert_undisturbed(redline, roles).await;
}

/// Cuts the log of a partition of the rows' topic in the middle of its file, as a disk does that lost its cache.
fn cut_log(redline: &Installation, partition: i32) {
    let text = fs::read_to_string(Services::folder().join("kafka.json")).expect("Kafka's description");
    let description: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let data = PathBuf::from(description["data"].as_str().expect("the data's folder"));
    let folder = data.join(format!("{}-{partition}", redline.topics.rows));
    for entry in fs::read_dir(&folder).expect("the partition's folder").flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|end| end == "log") {
            let file = fs::File::options().write(true).open(&path).expect("the log");
            let length = file.metadata().expect("its length").len();
            file.set_len(length / 2).expect("the log can be cut");
        } else if path
            .extension()
            .is_some_and(|end| end == "index" || end == "timeindex")
        {
            fs::remove_file(&path).expect("an index can be removed");
        }
    }
}

#[tokio::test]
async fn a_log_that_ends_before_the_position_stops_its_partition_until_an_operator_restarts_it() {
    if !is_ours("kafka") {
        return;
    }
    let _turn = alone().await;
    undisturbed().await;
    let mut redline = Plan::new("log-end").make().await;
    let events = stream();
    let (first, rest) = events.split_at(events.len() / 2);
    let worker = redline.start("work", SMALL_BATCHES);
    for part in first.chunks(200) {
        redline.produce_rows(part).await;
    }
    redline.wait_recorded(PATIENCE).await;
    redline.stop(vec![worker]).await;
    let before = positions(&redline).await;
    harness(&["stop", "kafka", "--immediate"]).await;
    cut_log(&redline, 2);
    harness(&["start", "kafka"]).await;
    wait_for_kafka(&redline).await;
    let end = redline.kafka.log_ends(&redline.topics.rows).await[&2].1;
    assert!(
        0 < end && end < before[&2],
        "the log was cut from {before:?} to {end}"
    );

    let roles = vec![redline.relay(), redline.start("work", SMALL_BATCHES)];
    wait_only_stopped(&redline, 2, "position_past_log_end").await;
    assert_eq!(positions(&redline).await, before, "nothing is skipped");
    let topic = redline.topics.rows.clone();
    let listed = redline.run(&["position", "list"]).await;
    assert_eq!(listed.code, 3, "{listed:?}");
    let choice = format!("`redline position restart {topic} --partition 2`");
    assert!(listed.stdout.contains(&choice), "{}", listed.stdout);
    redline
        .succeed(&["position", "restart", &topic, "--partition", "2"])
        .await;
    redline.wait_recorded(PATIENCE).await;
    assert_eq!(positions(&redline).await[&2], end, "the cut log was read again");
    // The producer's own numbers go on behind those that were lost; a new one begins anew.
    redline.kafka = Kafka::new(&redline.services.kafka);
    // New records take the offsets of those that were lost.
    redline.produce_rows(rest).await;
    assert_undisturbed(redline, roles).await;
}
