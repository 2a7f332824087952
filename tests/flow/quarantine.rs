//! What an operator does about quarantined records: look, publish again, give up; and go on with a partition that had
//! too many of them in a row.

use redline_schemas::EventKind;
use redline_tests::{Installation, Plan, Raw, checker, rows, until};
use serde_json::Value;

use crate::{REST, end, worker_and_relay};

/// What is no Avro, under this key.
fn garbage(redline: &Installation, key: &str) -> Raw {
    Raw {
        topic: redline.topics.rows.clone(),
        partition: Some(0),
        key: Some(key.as_bytes().to_vec()),
        value: Some(b"no Avro".to_vec()),
        headers: vec![("traceparent".to_owned(), b"00-1-2-01".to_vec())],
    }
}

async fn good(redline: &Installation) -> Raw {
    let schema_id = redline.schema_id(EventKind::Row).await;
    let mut raw = redline.raw(&rows::row(&rows::example()), schema_id);
    raw.partition = Some(0);
    raw
}

#[tokio::test]
async fn a_quarantined_record_is_shown_with_its_reason_its_remedy_and_its_bytes() {
    let redline = Plan::new("shown").partitions(1).make().await;
    let processes = worker_and_relay(&redline);
    let mut mismatch = good(&redline).await;
    mismatch.key = Some(b"billing/R-2".to_vec());
    let value = mismatch.value.clone().expect("it has a value");
    redline
        .kafka
        .produce_all(vec![mismatch, garbage(&redline, "a")])
        .await;
    redline.wait_quiet(REST).await;

    let shown = redline.succeed(&["quarantine", "show", "1"]).await;
    for words in [
        "key_mismatch",
        "remedy",
        "billing/R-2",
        "\"row_id\": \"R-1001\"",
        "00000000  00",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let json = redline.succeed(&["quarantine", "show", "1", "--json"]).await;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["decoded"]["columns"]["Quantity"], "12");
    let raw = redline.run(&["quarantine", "show", "1", "--raw"]).await;
    let lossy = String::from_utf8_lossy(&value).into_owned();
    assert_eq!((raw.code, raw.stdout), (0, lossy));
    let undecodable = redline.succeed(&["quarantine", "show", "2"]).await;
    assert!(undecodable.contains("not in Confluent framing"), "{undecodable}");
    let missing = redline.run(&["quarantine", "show", "99"]).await;
    assert_eq!(missing.code, 1);
    assert!(
        missing.stderr.contains("no record has the number 99"),
        "{}",
        missing.stderr
    );
    end(redline, processes).await;
}

#[tokio::test]
async fn records_are_retried_and_discarded_by_what_they_have_in_common_and_the_decision_is_kept() {
    let redline = Plan::new("decided").partitions(1).make().await;
    let processes = worker_and_relay(&redline);
    let mut mismatch = good(&redline).await;
    mismatch.key = Some(b"billing/R-2".to_vec());
    let mut records = vec![mismatch];
    records.extend(["a", "b", "c"].map(|key| garbage(&redline, key)));
    redline.kafka.produce_all(records).await;
    redline.wait_quiet(REST).await;

    let listed = redline
        .run(&["quarantine", "list", "--reason", "not_framed", "--json"])
        .await;
    assert_eq!((listed.code, listed.stdout.lines().count()), (3, 3));
    for wrong in [
        &["quarantine", "retry"][..],
        &["quarantine", "discard", "--because", "x", "--by", "ann"],
        &["quarantine", "discard", "1", "--by", "ann"],
        &["quarantine", "discard", "1", "--because", "gone"],
        &["quarantine", "discard", "1", "--because", " ", "--by", "ann"],
        &["quarantine", "list", "--reason", "no_such_reason"],
        &["quarantine", "list", "--from", "yesterday"],
    ] {
        assert_eq!(redline.run(wrong).await.code, 2, "{wrong:?}");
    }
    let by_reason = ["--reason", "not_framed", "--topic", &redline.topics.rows];
    let discard = [
        "quarantine",
        "discard",
        "2",
        "--because",
        "sent again",
        "--by",
        "ann@example.com",
    ];
    assert_eq!(redline.succeed(&discard).await, "1 record was discarded\n");
    let again = redline.run(&discard).await;
    assert_eq!(again.code, 1);
    assert!(
        again.stderr.contains("record 2 was discarded already"),
        "{}",
        again.stderr
    );
    let retried = redline
        .succeed(&[&["quarantine", "retry"][..], &by_reason].concat())
        .await;
    assert!(retried.contains("2 records were published again"), "{retried}");
    redline.wait_quiet(REST).await;

    let decided = "select quarantine_id || ' ' || status || ' ' || coalesce(status_changed_by, '-') || ' '
        || coalesce(status_detail, '-') from redline.quarantine where quarantine_id < 3 order by quarantine_id";
    assert_eq!(
        redline.texts(decided).await,
        ["1 quarantined - -", "2 discarded ann@example.com sent again"]
    );
    let statuses = "select status || ' ' || count(*) from redline.quarantine group by status order by 1";
    // The two that were retried are no better this time.
    assert_eq!(
        redline.texts(statuses).await,
        ["discarded 1", "quarantined 3", "retried 2"]
    );
    let originals =
        "select convert_from(decode(header ->> 'value', 'base64'), 'UTF8') from redline.quarantine,
        jsonb_array_elements(headers) header where header ->> 'name' = 'redline-retry-of' order by 1";
    let originals = redline.texts(originals).await;
    assert!(
        originals[0].ends_with("/0/2") && originals[1].ends_with("/0/3"),
        "{originals:?}"
    );
    assert_eq!(checker::check(&redline).await.quarantined, 6);
    end(redline, processes).await;
}

#[tokio::test]
async fn what_is_quarantined_again_while_records_are_retried_is_not_retried_once_more() {
    let redline = Plan::new("again").partitions(1).make().await;
    let processes = worker_and_relay(&redline);
    // Several pages of them, so that the first ones are back before the last ones are read.
    let records = (0..300).map(|number| garbage(&redline, &number.to_string()));
    redline.kafka.produce_all(records.collect()).await;
    redline.wait_quiet(REST).await;
    let retried = redline
        .succeed(&["quarantine", "retry", "--reason", "not_framed"])
        .await;
    assert!(retried.contains("300 records were published again"), "{retried}");
    redline.wait_quiet(REST).await;
    assert_eq!(checker::check(&redline).await.quarantined, 600);
    end(redline, processes).await;
}

#[tokio::test]
async fn too_many_quarantined_records_in_a_row_stop_their_partition_until_it_is_resumed() {
    let redline = Plan::new("in-a-row").partitions(2).make().await;
    let at_most = [("REDLINE_WORK__MOST_QUARANTINED_IN_A_ROW", "20")];
    let processes = vec![redline.start("work", &at_most), redline.relay()];
    let flood = |count: i32| (0..count).map(|number| garbage(&redline, &number.to_string()));
    let mut records: Vec<Raw> = flood(15).collect();
    // One good record, and it begins to count anew.
    records.push(good(&redline).await);
    records.extend(flood(15));
    redline.kafka.produce_all(records).await;
    redline.wait_quiet(REST).await;
    redline.kafka.produce_all(flood(5).collect()).await;
    stopped(&redline).await;

    let mut behind = rows::before_example();
    behind["version"] = 1.into();
    let schema_id = redline.schema_id(EventKind::Row).await;
    let mut behind = redline.raw(&rows::row(&behind), schema_id);
    behind.partition = Some(0);
    let beside = Raw {
        partition: Some(1),
        ..behind.clone()
    };
    redline.kafka.produce_all(vec![behind, beside]).await;
    until("the other partition goes on", REST, async || {
        match redline.count("select count(*) from redline.events").await {
            2 => Ok(()),
            count => Err(format!("{count} events")),
        }
    })
    .await;
    let doctor = redline.run(&["position", "list"]).await;
    assert_eq!(doctor.code, 3);
    assert!(
        doctor.stdout.contains("`redline position resume"),
        "{}",
        doctor.stdout
    );
    let gap = redline
        .run(&["position", "accept-gap", &redline.topics.rows])
        .await;
    assert_eq!(gap.code, 1, "{}", gap.stdout);

    redline
        .succeed(&["position", "resume", &redline.topics.rows])
        .await;
    redline.wait_quiet(REST).await;
    let totals = checker::check(&redline).await;
    assert_eq!(
        (totals.accepted, totals.duplicate, totals.quarantined),
        (2, 1, 35)
    );
    end(redline, processes).await;
}

async fn stopped(redline: &Installation) {
    until("the partition is stopped", REST, async || {
        let reasons = "select reason from redline.stopped_partitions";
        match redline.texts(reasons).await.as_slice() {
            [reason] if reason == "too_many_quarantined" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}
