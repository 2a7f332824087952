//! What becomes of events.

use redline_schemas::avro::{ROW_SCHEMA, WriterSchema, split_frame};

use super::*;
use crate::publisher::PublishError;

#[tokio::test]
async fn one_object_is_accepted_and_is_in_kafka_under_its_key() {
    let door = door();
    let answer = seen(&door, request(ROWS, JSON, row("R-1"))).await;
    assert_eq!(
        answer,
        "202 Accepted\ncontent-type: application/json\n{\"accepted\":1}"
    );
    let records = door.outside.kafka.records.lock().unwrap();
    let (key, value) = &records[0];
    assert_eq!(key, "billing/R-1");
    let (schema_id, datum) = split_frame(value).unwrap();
    let schema = WriterSchema::new(schema_id, EventKind::Row, ROW_SCHEMA).unwrap();
    let event = schema.decode(datum).unwrap();
    assert_eq!((schema_id, event.entity().entity_id.as_str()), (1, "R-1"));
}

#[tokio::test]
async fn an_array_is_accepted_in_its_order() {
    let door = door();
    let body = format!("\u{feff} [{}, {},\n{}]", row("1"), row("2"), row("3"));
    let answer = json(send(&door, request(ROWS, JSON, body)).await).await;
    assert_eq!(answer["accepted"], 3);
    assert_eq!(door.outside.kafka.keys(), ["billing/1", "billing/2", "billing/3"]);
    let empty = seen(&door, request(ROWS, JSON, "[]")).await;
    assert!(empty.ends_with("{\"accepted\":0}"), "{empty}");
}

#[tokio::test]
async fn payouts_and_orders_have_doors_of_their_own() {
    let door = door();
    let payout = r#"{"system":"tube","payout_id":"P","period":"2025-01","amount":"10.5","currency":"USD","reported_at":"2025-02-01T00:00:00Z"}"#;
    let order = r#"{"order_id":"O","customer_id":"C","amount":1,"currency":"USD","status":"paid","created_at":"2026-03-02T10:00:00Z"}"#;
    assert_eq!(status(&door, request("/v1/payouts", JSON, payout)).await, 202);
    assert_eq!(status(&door, request("/v1/orders", JSON, order)).await, 202);
    assert_eq!(door.outside.kafka.keys(), ["tube/P", "O"]);
}

#[tokio::test]
async fn good_lines_are_in_and_bad_lines_are_named() {
    let door = door();
    let body = [
        b"\xef\xbb\xbf".as_slice(),
        row("1").as_bytes(),
        b"\r\n\r\n",
        row("2").replace("1140.00", "x").as_bytes(),
        b"\n{\"source\":\"billing\"\n",
        row("3").replace(":7", ":-7").as_bytes(),
        b"\n\"\xff\"\n",
        row("4").replace("row_id", "rowid").as_bytes(),
        b"\n",
        row("5").as_bytes(),
    ]
    .concat();
    insta::assert_snapshot!(seen(&door, request(ROWS, NDJSON, body)).await);
    assert_eq!(door.outside.kafka.keys(), ["billing/1", "billing/2", "billing/5"]);
}

#[tokio::test]
async fn a_field_of_one_object_that_breaks_the_contract_is_named() {
    let body = row("1").replace("12,", "1e99,");
    insta::assert_snapshot!(seen(&door(), request(ROWS, JSON, body)).await);
}

#[tokio::test]
async fn broken_json_is_refused_as_a_whole() {
    let door = door();
    let bodies: [Vec<u8>; 6] = [
        format!("[{},{}", row("1"), row("2")).into(),
        format!("[{},{{]", row("1")).into(),
        row("1")[1..].to_owned().into(),
        format!("{0} {0}", row("1")).into(),
        b"".to_vec(),
        b"\"\xff\"".to_vec(),
    ];
    for body in bodies {
        assert_eq!(status(&door, request(ROWS, JSON, body)).await, 400);
    }
    assert_eq!(door.outside.kafka.sent(), 0);
    insta::assert_snapshot!(seen(&door, request(ROWS, JSON, "[1,")).await);
}

#[tokio::test]
async fn a_hundred_thousand_brackets_are_refused_wherever_they_stand() {
    let door = door();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let object = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    let column = row("1").replace("12", &deep);
    for body in [&deep, &object, &column] {
        assert_eq!(status(&door, request(ROWS, JSON, body.clone())).await, 422);
        assert_eq!(status(&door, request(ROWS, JSON, format!("[{body}]"))).await, 422);
        assert_eq!(status(&door, request(ROWS, NDJSON, body.clone())).await, 422);
    }
    assert_eq!(status(&door, request(ROWS, JSON, "[".repeat(100_000))).await, 400);
    assert_eq!(
        status(&door, request(ROWS, JSON, "{\"a\":".repeat(100_000))).await,
        400
    );
    assert_eq!(door.outside.kafka.sent(), 0);
}

#[tokio::test]
async fn when_kafka_goes_away_in_mid_stream_the_line_to_go_on_from_is_named() {
    let door = door_with(IngestSettings::default(), Kafka::failing(2, 100));
    let body = format!("{}x\n\n{}", rows(1..=2), rows(5..=9));
    insta::assert_snapshot!(seen(&door, request(ROWS, NDJSON, body)).await);
    assert_eq!(door.outside.kafka.keys(), ["billing/1", "billing/2"]);
}

#[tokio::test]
async fn from_the_named_line_on_everything_gets_in_at_last() {
    for failing in 0..30 {
        let door = door_with(IngestSettings::default(), Kafka::failing(failing, failing + 2));
        let body = rows(1..=30);
        let first = json(send(&door, request(ROWS, NDJSON, body.clone())).await).await;
        let resume = usize::try_from(first["resume_line"].as_u64().unwrap()).unwrap();
        assert_eq!(
            (first["accepted"].as_u64(), resume),
            (Some(failing as u64), failing + 1)
        );
        let rest: String = body
            .lines()
            .skip(resume - 1)
            .map(|line| format!("{line}\n"))
            .collect();
        door.outside.kafka.failures.lock().unwrap().clear();
        assert_eq!(status(&door, request(ROWS, NDJSON, rest)).await, 202);
        let mut keys = door.outside.kafka.keys();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 30);
    }
}

#[tokio::test]
async fn an_array_says_too_where_to_go_on() {
    let door = door_with(IngestSettings::default(), Kafka::failing(1, 9));
    let body = format!("[{},{},{}]", row("1"), row("2"), row("3"));
    let response = send(&door, request(ROWS, JSON, body)).await;
    assert_eq!(response.status(), 503);
    let answer = json(response).await;
    assert_eq!(
        (&answer["accepted"], &answer["resume_line"]),
        (&1.into(), &2.into())
    );
}

#[tokio::test]
async fn what_is_away_is_named_and_nothing_is_read() {
    let kafka_away = door();
    kafka_away.outside.kafka.away.store(true, Ordering::Relaxed);
    insta::assert_snapshot!(
        "kafka_away",
        seen(&kafka_away, request(ROWS, NDJSON, rows(1..=2))).await
    );

    let registry = Registry::with_id(1);
    registry.go_away();
    let world = world(Kafka::default(), registry);
    let meter = redline_telemetry::metrics::Meter::new();
    let registry_away = Door::new(IngestSettings::default(), world, &meter).unwrap();
    insta::assert_snapshot!(
        "registry_away",
        seen(&registry_away, request(ROWS, JSON, row("1"))).await
    );

    let database_away = door();
    database_away.outside.database_away.store(true, Ordering::Relaxed);
    insta::assert_snapshot!(
        "database_away",
        seen(&database_away, request(ROWS, JSON, row("1"))).await
    );
}

#[tokio::test]
async fn a_body_that_is_cut_off_keeps_its_whole_lines_and_drops_its_last() {
    let door = door();
    let whole = rows(1..=3);
    let (head, _) = whole.split_at(whole.len() - 20);
    let broken = std::io::Error::other("connection reset");
    let body = pieces(vec![Ok(head.to_owned().into()), Err(broken)]);
    insta::assert_snapshot!(seen(&door, request(ROWS, NDJSON, body)).await);
    assert_eq!(door.outside.kafka.keys(), ["billing/1", "billing/2"]);
}

#[tokio::test]
async fn an_event_that_kafka_finds_too_large_is_an_error_of_its_line() {
    let kafka = Kafka {
        max_bytes: Some(200),
        ..Kafka::default()
    };
    let door = door_with(IngestSettings::default(), kafka);
    let large = row("2").replace("1140.00", &"x".repeat(300));
    let answer = send(&door, request(ROWS, NDJSON, format!("{}\n{large}\n", row("1")))).await;
    assert_eq!(answer.status(), 422);
    let answer = json(answer).await;
    assert_eq!(
        (&answer["accepted"], &answer["errors"][0]["line"]),
        (&1.into(), &2.into())
    );
    let reason = answer["errors"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("at most 200 bytes"), "{reason}");
}

#[tokio::test]
async fn a_thousand_errors_are_named_and_all_are_counted() {
    let answer = json(send(&door(), request(ROWS, NDJSON, "{}\n".repeat(2_500))).await).await;
    assert_eq!(answer["refused"], 2_500);
    assert_eq!(answer["errors"].as_array().unwrap().len(), 1_000);
}

#[tokio::test]
async fn the_outcomes_are_counted() {
    let door = door();
    send(&door, request(ROWS, NDJSON, format!("{}x\n", rows(1..=3)))).await;
    let metrics = Request::get("/metrics").body(Body::empty()).unwrap();
    let metrics = text(send(&door, metrics).await).await;
    for line in [
        r#"redline_ingest_events_total{kind="row",outcome="accepted"} 3"#,
        r#"redline_ingest_events_total{kind="row",outcome="refused"} 1"#,
        r#"http_server_request_duration_seconds_count{http_request_method="POST",http_response_status_code="422",http_route="/v1/rows",url_scheme="http"} 1"#,
        r#"messaging_client_sent_messages_total{messaging_destination_name="redline.rows",messaging_operation_name="send",messaging_system="kafka"} 3"#,
        r#"http_server_active_requests{http_request_method="POST",url_scheme="http"} 0"#,
        r#"http_server_active_requests{http_request_method="GET",url_scheme="http"} 1"#,
        r#"redline_ingest_events_total{kind="approval",outcome="refused"} 0"#,
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn a_client_that_can_publish_no_more_is_a_503_too() {
    let kafka = Kafka::default();
    let stop = PublishError::Stop("fenced".to_owned());
    kafka.failures.lock().unwrap().push((0, stop));
    let door = door_with(IngestSettings::default(), kafka);
    assert_eq!(status(&door, request(ROWS, JSON, row("1"))).await, 503);
}
