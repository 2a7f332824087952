//! Records that cannot be accepted: each is kept with its bytes and a reason, and the partition goes on.

use std::collections::BTreeMap;

use redline_schemas::{Event, EventKind, Timestamp};
use redline_tests::checker;
use redline_tests::{Installation, Plan, Random, Raw, rows};
use serde_json::Value;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::{REST, end, worker_and_relay};

/// Everything goes into this partition, so that one bad record could stop the good ones behind it.
const PARTITION: i32 = 1;

/// A good row changed until it breaks the contract; its key agrees with it.
fn broken(
    redline: &Installation,
    schema_id: u32,
    change: impl FnOnce(&mut redline_schemas::row::RowEvent),
) -> Raw {
    let Event::Row(mut row) = rows::row(&rows::example()) else {
        panic!("the example is a row");
    };
    change(&mut row);
    redline.raw(&Event::Row(row), schema_id)
}

/// The same record with another value.
fn with_value(raw: &Raw, value: Option<Vec<u8>>) -> Raw {
    Raw { value, ..raw.clone() }
}

/// The good row with 60 digits where its quantity was, which no amount of ours can be.
fn sixty_digits(good: &Raw) -> Raw {
    const QUANTITY: &[u8] = b"Quantity\x04";
    let value = good.value.as_deref().expect("a good row has a value");
    let at = value
        .windows(QUANTITY.len())
        .position(|window| window == QUANTITY)
        .expect("the column and its branch, decimal, are in the value")
        + QUANTITY.len();
    // Avro writes a length as twice itself.
    let old = usize::from(value[at] / 2);
    let mut bytes = value[..at].to_vec();
    bytes.push(50);
    bytes.extend([0x7f; 25]);
    bytes.extend(&value[at + 1 + old..]);
    with_value(good, Some(bytes))
}

/// Bad records, each with the reason that it must be given.
async fn bad_records(redline: &Installation) -> Vec<(&'static str, Raw)> {
    let rows = redline.schema_id(EventKind::Row).await;
    let orders = redline.schema_id(EventKind::Order).await;
    let good = broken(redline, rows, |_| {});
    let value = good.value.clone().expect("a good row has a value");
    let of_year = |year: &str| {
        // Years that the contract does not know, in microseconds since 1970.
        let micros = if year == "0" {
            -62_167_219_200_000_000
        } else {
            253_402_300_800_000_000
        };
        broken(redline, rows, |row| {
            row.observed_at = Timestamp::from_micros(micros)
        })
    };
    let framed = |schema_id: u32, datum: &[u8]| {
        let mut value = vec![0];
        value.extend(schema_id.to_be_bytes());
        value.extend(datum);
        with_value(&good, Some(value))
    };
    let mut with_headers = with_value(&good, Some(b"{\"source\":\"billing\"}".to_vec()));
    with_headers.headers = vec![
        ("traceparent".into(), b"00-1-2-01".to_vec()),
        ("binary".into(), vec![0xff, 0]),
    ];
    let mut cut_off = value.clone();
    cut_off.truncate(value.len() - 3);
    let mut too_long = value.clone();
    too_long.push(0);
    vec![
        ("not_framed", with_headers),
        ("not_framed", with_value(&good, Some(Vec::new()))),
        ("not_framed", with_value(&good, Some(vec![0, 0, 0]))),
        ("not_framed", with_value(&good, Some(vec![0xee; 900_000]))),
        ("not_decodable", framed(rows, &vec![0xff; 900_000])),
        ("not_decodable", framed(orders, &value[5..])),
        ("not_decodable", with_value(&good, Some(cut_off))),
        ("not_decodable", with_value(&good, Some(too_long))),
        ("not_decodable", sixty_digits(&good)),
        (
            "missing_key",
            Raw {
                key: None,
                ..good.clone()
            },
        ),
        (
            "key_mismatch",
            Raw {
                key: Some(b"billing/R-1002".to_vec()),
                ..good.clone()
            },
        ),
        (
            "key_mismatch",
            Raw {
                key: Some(vec![0xff, 0xfe, 0]),
                ..good.clone()
            },
        ),
        (
            "key_mismatch",
            Raw {
                key: Some(Vec::new()),
                ..good.clone()
            },
        ),
        ("tombstone", with_value(&good, None)),
        ("invalid_field", of_year("0")),
        ("invalid_field", of_year("10000")),
        (
            "invalid_field",
            broken(redline, rows, |row| row.row_id = "R\u{7}1".into()),
        ),
        (
            "invalid_field",
            broken(redline, rows, |row| row.row_id = "R\0".into()),
        ),
        (
            "invalid_field",
            broken(redline, rows, |row| row.row_id = "R".repeat(10_000)),
        ),
        (
            "invalid_field",
            broken(redline, rows, |row| row.source = "bil/ling".into()),
        ),
        ("invalid_field", broken(redline, rows, |row| row.version = -1)),
        (
            "invalid_field",
            broken(redline, rows, |row| row.op = "upsert".into()),
        ),
        (
            "invalid_field",
            broken(redline, rows, |row| row.link = Some("javascript:alert(1)".into())),
        ),
    ]
}

#[tokio::test]
async fn a_record_that_cannot_be_accepted_is_kept_with_its_bytes_and_the_partition_goes_on() {
    let redline = Plan::new("bad").make().await;
    let mut processes = worker_and_relay(&redline);
    let schema_id = redline.schema_id(EventKind::Row).await;
    let bad = bad_records(&redline).await;
    let count = i64::try_from(bad.len()).expect("few records");
    // A good record before, between and behind the bad ones.
    let mut records = Vec::new();
    for version in 0..=count {
        let good = rows::row(&rows::billing("good", version, version));
        records.push(redline.raw(&good, schema_id));
        if let Some((_, raw)) = usize::try_from(version).ok().and_then(|index| bad.get(index)) {
            records.push(raw.clone());
        }
    }
    for record in &mut records {
        record.partition = Some(PARTITION);
    }
    redline.kafka.produce_all(records.clone()).await;
    redline.wait_quiet(REST).await;

    let totals = checker::check(&redline).await;
    assert_eq!(
        (totals.accepted, totals.duplicate, totals.quarantined),
        (count + 1, 0, count)
    );
    let kept = sqlx::query("select \"offset\", reason, key, value from redline.quarantine")
        .fetch_all(&redline.pool)
        .await
        .expect("the quarantine can be read");
    let kept: BTreeMap<i64, &PgRow> = kept.iter().map(|row| (row.get(0), row)).collect();
    for (index, (reason, raw)) in bad.iter().enumerate() {
        let offset = i64::try_from(2 * index + 1).expect("few records");
        let row = kept[&offset];
        assert_eq!(row.get::<&str, _>(1), *reason, "the reason of bad record {index}");
        let bytes: (Option<Vec<u8>>, Option<Vec<u8>>) = (row.get(2), row.get(3));
        assert_eq!(
            bytes,
            (raw.key.clone(), raw.value.clone()),
            "key and bytes of bad record {index}"
        );
    }
    let published = redline.kafka.read(&redline.topics.quarantine).await;
    let with_headers = published
        .iter()
        .find(|read| read.header("redline-offset").as_deref() == Some("1"))
        .expect("the record with headers is published");
    assert_eq!(
        with_headers.header("original-traceparent").as_deref(),
        Some("00-1-2-01")
    );
    let binary = with_headers
        .headers
        .iter()
        .find(|(name, _)| name == "original-binary");
    assert_eq!(
        binary.and_then(|(_, value)| value.as_deref()),
        Some(&[0xff, 0][..])
    );

    check_list(&redline, count).await;
    assert!(processes.iter_mut().all(redline_tests::Process::is_alive));
    end(redline, processes).await;
}

/// `redline quarantine list` names each and exits with 3, and with 0 where there is none.
async fn check_list(redline: &Installation, count: i64) {
    let listed = redline.run(&["quarantine", "list", "--json"]).await;
    assert_eq!(listed.code, 3, "found something: {}", listed.stderr);
    let lines: Vec<Value> = listed
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect();
    assert_eq!(i64::try_from(lines.len()).expect("few lines"), count);
    for line in &lines {
        assert_eq!(line["topic"], redline.topics.rows.as_str());
        assert!(
            line["reason"].as_str().is_some_and(|reason| !reason.is_empty()),
            "{line}"
        );
        assert!(
            line["detail"].as_str().is_some_and(|detail| !detail.is_empty()),
            "{line}"
        );
    }
    let shown = redline.run(&["quarantine", "list"]).await;
    assert_eq!(shown.code, 3);
    assert!(
        !shown
            .stdout
            .chars()
            .any(|character| character.is_control() && character != '\n'),
        "no control character of a bad record reaches the terminal"
    );
}

#[tokio::test]
async fn an_empty_quarantine_lists_nothing_and_exits_with_0() {
    let redline = Plan::new("none").make().await;
    let listed = redline.run(&["quarantine", "list", "--json"]).await;
    assert_eq!((listed.code, listed.stdout.as_str()), (0, ""));
    redline.remove().await;
}

#[tokio::test]
async fn a_flood_of_bad_records_is_quarantined_and_the_good_one_behind_it_is_accepted() {
    let redline = Plan::new("flood").partitions(1).make().await;
    let processes = worker_and_relay(&redline);
    let garbage = |number: i32| Raw {
        topic: redline.topics.rows.clone(),
        partition: Some(0),
        key: Some(number.to_string().into_bytes()),
        value: Some(vec![b'x'; 10]),
        headers: Vec::new(),
    };
    let mut records: Vec<Raw> = (0..3_000).map(garbage).collect();
    let schema_id = redline.schema_id(EventKind::Row).await;
    records.push(redline.raw(&rows::row(&rows::example()), schema_id));
    redline.kafka.produce_all(records).await;
    redline.wait_quiet(REST).await;
    let totals = checker::check(&redline).await;
    assert_eq!((totals.accepted, totals.quarantined), (1, 3_000));
    end(redline, processes).await;
}

#[tokio::test]
async fn a_header_whose_name_is_no_text_stops_nobody() {
    let redline = Plan::new("header").partitions(1).make().await;
    let processes = worker_and_relay(&redline);
    redline
        .kafka
        .produce_with_header_name(&redline.topics.rows, 0, b"no Avro", b"\xff\xfe")
        .await;
    redline.produce_rows(&[rows::row(&rows::example())]).await;
    redline.wait_quiet(REST).await;
    let outcomes = "select sum(accepted) || ' accepted, ' || sum(quarantined) || ' quarantined' from redline.control_totals";
    assert_eq!(redline.texts(outcomes).await, ["1 accepted, 1 quarantined"]);
    let names = "select headers -> 0 ->> 'name' from redline.quarantine";
    assert_eq!(redline.texts(names).await, ["\u{fffd}\u{fffd}"]);
    end(redline, processes).await;
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut random = Random::new(1);
    let byte = |_| u8::try_from(1 + random.below(255)).expect("a byte");
    (0..bytes).map(byte).collect()
}

#[tokio::test]
async fn the_largest_record_that_an_input_topic_takes_can_be_retried() {
    let redline = Plan::new("largest").partitions(1).make().await;
    let processes = worker_and_relay(&redline);
    let largest = Raw {
        topic: redline.topics.rows.clone(),
        key: Some(b"some/key".to_vec()),
        value: Some(noise(1_040_000)),
        ..Raw::default()
    };
    redline.kafka.produce(largest).await;
    redline.wait_quiet(REST).await;
    redline.succeed(&["quarantine", "retry", "1"]).await;
    redline.wait_quiet(REST).await;
    assert_eq!(checker::check(&redline).await.quarantined, 2);
    end(redline, processes).await;
}

#[tokio::test]
async fn collecting_a_file_that_breaks_off_says_how_far_it_came() {
    let redline = Plan::new("cut").partitions(1).make().await;
    let lines: String = (0..5_000)
        .map(|row| rows::billing(&format!("R-{row}"), 1, row).to_string() + "\n")
        .collect();
    let file = redline.folder().join("cut.ndjson");
    // A line that is longer than a megabyte, and never ends.
    std::fs::write(&file, lines + &"x".repeat(2_000_000)).expect("a file can be written");
    let path = file.to_str().expect("a path in UTF-8");
    let ended = redline
        .run(&["collect", "files", path, "--source", "billing"])
        .await;
    assert_eq!(ended.code, 1, "{}{}", ended.stdout, ended.stderr);
    assert!(
        ended.stdout.contains("5000 rows accepted, 0 refused"),
        "{}",
        ended.stdout
    );
    assert!(ended.stderr.contains("from line 5001 on"), "{}", ended.stderr);
    redline.remove().await;
}

#[tokio::test]
async fn a_quarantined_record_that_its_topic_finds_too_large_goes_without_its_value_and_flags_go_on() {
    let redline = Plan::new("large").partitions(1).unmigrated().await;
    let small = [("REDLINE_MIGRATE__QUARANTINE_MAX_MESSAGE_BYTES", "10000")];
    let migrated = redline.run_with(&["migrate"], &small).await;
    assert_eq!(migrated.code, 0, "{}", migrated.stderr);
    let processes = worker_and_relay(&redline);
    let value = noise(50_000);
    let junk = Raw {
        topic: redline.topics.rows.clone(),
        key: Some(b"some/key".to_vec()),
        value: Some(value.clone()),
        ..Raw::default()
    };
    redline.kafka.produce(junk).await;
    let versions = [rows::billing("R-1", 1, 10), rows::billing("R-1", 2, 12)];
    redline.produce_rows(&versions.map(|row| rows::row(&row))).await;
    redline.wait_quiet(REST).await;

    let published = redline.kafka.read(&redline.topics.quarantine).await;
    assert_eq!(published.len(), 1);
    assert_eq!(published[0].value, None);
    assert_eq!(
        published[0].header("redline-omitted").as_deref(),
        Some("50000 bytes of value; they are in the table quarantine")
    );
    let kept: Vec<u8> = sqlx::query_scalar("select value from redline.quarantine")
        .fetch_one(&redline.pool)
        .await
        .expect("the record is in the table");
    assert_eq!(kept, value);
    assert_eq!(checker::published_flags(&redline).await.len(), 2);
    end(redline, processes).await;
}
