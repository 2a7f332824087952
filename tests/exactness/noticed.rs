//! The checker itself: it notices what it is for. A check that cannot fail proves nothing.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use redline_schemas::topics::partition_of;
use redline_tests::checker;
use redline_tests::{Installation, Plan, Raw, rows};

use crate::{REST, end};

/// Each damage, and what undoes it.
const DAMAGES: [(&str, &str); 12] = [
    (
        "update redline.positions set next_offset = next_offset + 1 where next_offset > 0",
        "update redline.positions set next_offset = next_offset - 1 where next_offset > 0",
    ),
    (
        "update redline.control_totals set next_offset = next_offset + 1",
        "update redline.control_totals set next_offset = next_offset - 1",
    ),
    (
        "update redline.control_totals set accepted = accepted - 1, duplicate = duplicate + 1 where accepted > 0",
        "update redline.control_totals set accepted = accepted + 1, duplicate = duplicate - 1 where duplicate > 0",
    ),
    // The first entry's hash begins at the tenth byte.
    (
        "update redline.control_totals set records = set_byte(records, 9, 255 - get_byte(records, 9))",
        "update redline.control_totals set records = set_byte(records, 9, 255 - get_byte(records, 9))",
    ),
    (
        "update redline.events set content = content || ' '",
        "update redline.events set content = rtrim(content)",
    ),
    (
        "update redline.events set \"offset\" = \"offset\" + 100",
        "update redline.events set \"offset\" = \"offset\" - 100",
    ),
    (
        "update redline.versions set version = version + 100",
        "update redline.versions set version = version - 100",
    ),
    (
        "update redline.quarantine set value = value || 'x'",
        "update redline.quarantine set value = substr(value, 1, length(value) - 1)",
    ),
    (
        "update redline.quarantine set detail = detail || '.'",
        "update redline.quarantine set detail = left(detail, -1)",
    ),
    (
        "update redline.flags set impact = impact + 0.000000001",
        "update redline.flags set impact = impact - 0.000000001",
    ),
    (
        "update redline.flag_revisions set flag = flag || '{\"risk\":\"NONE\"}'; update redline.flags set risk = 'NONE'",
        "update redline.flag_revisions set flag = flag || '{\"risk\":\"MEDIUM\"}'; update redline.flags set risk = 'MEDIUM'",
    ),
    (
        "update redline.flag_revisions set revision = revision + 1",
        "update redline.flag_revisions set revision = revision - 1",
    ),
];

async fn is_noticed(redline: &Installation) -> bool {
    AssertUnwindSafe(checker::check(redline))
        .catch_unwind()
        .await
        .is_err()
}

#[tokio::test]
async fn the_checker_notices_every_damage_that_it_is_for() {
    let redline = Plan::new("noticed").partitions(1).make().await;
    let processes = vec![redline.work(), redline.relay()];
    let versions = [
        rows::row(&rows::billing("R-1", 1, 10)),
        rows::row(&rows::billing("R-1", 2, 12)),
    ];
    redline.produce_rows(&versions).await;
    let garbage = Raw {
        topic: redline.topics.rows.clone(),
        key: Some(b"key".to_vec()),
        value: Some(b"garbage".to_vec()),
        ..Raw::default()
    };
    redline.kafka.produce(garbage).await;
    redline.wait_quiet(REST).await;
    redline.stop(processes).await;
    checker::check(&redline).await;

    for (damage, repair) in DAMAGES {
        redline.execute(damage).await;
        assert!(is_noticed(&redline).await, "nobody notices: {damage}");
        redline.execute(repair).await;
        assert!(!is_noticed(&redline).await, "not repaired by: {repair}");
    }

    // A repetition with the same bytes is harmless, one with other bytes and an unknown flag are not.
    let topic = redline.topics.flagged.as_str();
    let published = redline.kafka.read(topic).await;
    let again = |value: Vec<u8>| Raw {
        topic: topic.to_owned(),
        partition: Some(partition_of(published[0].key.as_deref().unwrap_or_default(), 1)),
        key: published[0].key.clone(),
        value: Some(value),
        headers: Vec::new(),
    };
    let value = published[0].value.clone().expect("a flag has a value");
    redline.kafka.produce(again(value.clone())).await;
    assert!(!is_noticed(&redline).await, "a repetition is harmless");
    let mut other = value;
    let last = other.len() - 1;
    // The offset at which the flagged version was accepted, which is in no flag's id.
    other[last] ^= 2;
    redline.kafka.produce(again(other)).await;
    assert!(
        is_noticed(&redline).await,
        "nobody notices other bytes for one revision"
    );
    end(redline, Vec::new()).await;
}
