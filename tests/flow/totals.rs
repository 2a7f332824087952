//! Control totals: they cannot have gaps and overlaps, and `redline doctor --totals` finds what disagrees with them.

use redline_schemas::EventKind;
use redline_tests::{Installation, Plan, Raw, rows};
use serde_json::Value;

use crate::{REST, end, worker_and_relay};

/// Five accepted, two duplicate and one quarantined record, in one partition.
async fn recorded(name: &str) -> (Installation, Vec<redline_tests::Process>) {
    let redline = Plan::new(name).partitions(1).make().await;
    let processes = worker_and_relay(&redline);
    let schema_id = redline.schema_id(EventKind::Row).await;
    let row = |version: i64| redline.raw(&rows::row(&rows::billing("R-1", version, version)), schema_id);
    let garbage = Raw {
        value: Some(b"no Avro".to_vec()),
        ..row(1)
    };
    let first = vec![row(1), row(2), row(2), garbage];
    redline.kafka.produce_all(first).await;
    redline.wait_quiet(REST).await;
    redline
        .kafka
        .produce_all(vec![row(3), row(4), row(5), row(1)])
        .await;
    redline.wait_quiet(REST).await;
    (redline, processes)
}

#[tokio::test]
async fn totals_that_agree_are_told_with_their_numbers_and_any_disagreement_with_its_place() {
    let (redline, processes) = recorded("totals").await;
    let told = redline.succeed(&["doctor", "--totals"]).await;
    assert!(told.contains("5 accepted, 2 duplicate, 1 quarantined"), "{told}");
    assert!(told.contains("with 8 records that Kafka still has"), "{told}");
    let json = redline.succeed(&["doctor", "--totals", "--json"]).await;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["totals"]["records"], 8);

    for (tamper, mend, found) in [
        (
            "create table kept as select * from redline.versions where version = 4;
             delete from redline.versions where version = 4",
            "insert into redline.versions select * from kept; drop table kept",
            "it was accepted, and redline.versions does not have it",
        ),
        (
            "update redline.versions set \"offset\" = \"offset\" + 100 where version = 5",
            "update redline.versions set \"offset\" = \"offset\" - 100 where version = 5",
            "it was accepted, and redline.versions does not have it",
        ),
        (
            "update redline.quarantine set value = 'other'",
            "update redline.quarantine set value = 'no Avro'",
            "redline.quarantine has another content than was quarantined",
        ),
        (
            "update redline.control_totals set accepted = accepted - 1, duplicate = duplicate + 1 where first_offset = 0",
            "update redline.control_totals set accepted = accepted + 1, duplicate = duplicate - 1 where first_offset = 0",
            "the control totals say",
        ),
        (
            "update redline.control_totals set records = set_byte(records, 7, 9) where first_offset = 0",
            "update redline.control_totals set records = set_byte(records, 7, 0) where first_offset = 0",
            "are not the offsets 0 to 4 in order",
        ),
        (
            "update redline.control_totals set records = set_byte(records, 8, 9) where first_offset = 0",
            "update redline.control_totals set records = set_byte(records, 8, 0) where first_offset = 0",
            "are damaged",
        ),
        (
            "update redline.positions set next_offset = next_offset + 1 where topic like '%rows'",
            "update redline.positions set next_offset = next_offset - 1 where topic like '%rows'",
            "and the position stands at 9",
        ),
        (
            "update redline.control_sums set records = records + 10 where outcome = 'accepted'",
            "update redline.control_sums set records = records - 10 where outcome = 'accepted'",
            "the sums are of more accepted records than its totals",
        ),
    ] {
        redline.execute(tamper).await;
        let ended = redline.run(&["doctor", "--totals"]).await;
        assert_eq!(ended.code, 3, "{tamper}: {}{}", ended.stdout, ended.stderr);
        assert!(ended.stdout.starts_with("disagreement: "), "{}", ended.stdout);
        assert!(ended.stdout.contains(found), "{tamper}: {}", ended.stdout);
        redline.execute(mend).await;
    }
    redline.succeed(&["doctor", "--totals"]).await;
    // As if the last record had never been counted; only Kafka knows of it.
    redline
        .execute(
            "update redline.control_totals set records = substring(records for octet_length(records) - 41),
            read = read - 1, duplicate = duplicate - 1 where next_offset = 8;
         delete from redline.control_sums where next_offset = 8 and outcome = 'duplicate'",
        )
        .await;
    let ended = redline.run(&["doctor", "--totals", "--json"]).await;
    assert_eq!(ended.code, 3);
    let json: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let sentence = json["disagreement"].as_str().expect("a sentence");
    assert!(
        sentence.ends_with("offset 7: Kafka has a record there, and it was never counted"),
        "{sentence}"
    );
    redline.stop(processes).await;
    redline.remove().await;
}

#[tokio::test]
async fn neither_a_gap_nor_an_overlap_of_control_totals_can_be_written() {
    let (redline, processes) = recorded("contiguous").await;
    let ranges =
        "select first_offset || '-' || next_offset from redline.control_totals where topic like '%rows'
        order by first_offset";
    let before = redline.texts(ranges).await;
    assert_eq!(
        (
            before.first().map(String::as_str),
            before.last().map(|last| last.ends_with("-8"))
        ),
        (Some("0-4"), Some(true))
    );
    for (first, next, what) in [
        (8, 8, "nothing"),
        (9, 12, "a gap"),
        (7, 12, "an overlap with the last range"),
        (0, 4, "the first range again"),
        (2, 4, "a part of the first range"),
        (0, 12, "another first range"),
        (4, 12, "another second range"),
    ] {
        let inserted = sqlx::query(
            "insert into redline.control_totals (position_id, topic, incarnation, partition, first_offset, next_offset,
                read, accepted, duplicate, quarantined, records, recorded_at)
             select position_id, topic, incarnation, partition, $1, $2, 0, 0, 0, 0, '', now()
             from redline.positions where topic like '%rows'",
        )
        .bind(first)
        .bind(next)
        .execute(&redline.pool)
        .await;
        assert!(inserted.is_err(), "{what} was written");
    }
    assert_eq!(redline.texts(ranges).await, before);
    end(redline, processes).await;
}

#[tokio::test]
async fn a_report_of_completeness_has_the_counts_and_sums_of_a_month_and_says_what_is_missing() {
    let (redline, processes) = recorded("completeness").await;
    let report = ["report", "completeness", "--period", "2026-02"];
    let ended = redline.run(&[&report[..], &["--json"]].concat()).await;
    assert_eq!(ended.code, 3, "a record waits in quarantine: {}", ended.stderr);
    let json: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(
        (&json["complete"], &json["quarantined"]),
        (&false.into(), &1.into())
    );
    let topic = &json["topics"][0];
    assert_eq!(
        (&topic["read"], &topic["accepted"], &topic["duplicate"]),
        (&8.into(), &5.into(), &2.into())
    );
    // Versions 1 to 5 at as many times 95 USD, of which 1 and 2 came twice.
    let sums: Vec<String> = json["sums"]
        .as_array()
        .expect("sums")
        .iter()
        .map(Value::to_string)
        .collect();
    assert_eq!(sums.len(), 2, "{sums:?}");
    assert_eq!(
        (&json["sums"][0]["amount"], &json["sums"][0]["records"]),
        (&"1425".into(), &5.into())
    );
    assert_eq!(
        (&json["sums"][1]["amount"], &json["sums"][1]["outcome"]),
        (&"285".into(), &"duplicate".into())
    );
    assert_eq!(
        (&json["sources"][0]["source"], &json["sources"][0]["entities"]),
        (&"billing".into(), &1.into())
    );

    let discard = [
        "quarantine",
        "discard",
        "1",
        "--because",
        "a test",
        "--by",
        "ann@example.com",
    ];
    redline.succeed(&discard).await;
    let text = redline.succeed(&report).await;
    assert!(text.contains("2026-02-22") && text.contains("1425"), "{text}");
    let other = redline
        .succeed(&["report", "completeness", "--period", "2026-03", "--json"])
        .await;
    let other: Value = serde_json::from_str(&other).expect("JSON");
    assert_eq!(
        (&other["sums"], &other["sources"]),
        (&Value::Array(vec![]), &Value::Array(vec![]))
    );
    assert_eq!(
        redline
            .run(&["report", "completeness", "--period", "2026"])
            .await
            .code,
        2
    );
    end(redline, processes).await;
}
