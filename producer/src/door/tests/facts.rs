//! What others say, as facts: approvals, periods, outcomes.

use redline_schemas::Event;
use redline_schemas::avro::{FACT_SCHEMA, WriterSchema, split_frame};
use redline_schemas::fact::Fact;

use super::*;

const APPROVALS: &str = "/v1/approvals";
const PERIODS: &str = "/v1/periods";
const OUTCOMES: &str = "/v1/outcomes";
const APPROVAL: &str = r#"{"id":"A-1","effective_at":"2026-03-02T09:00:00Z","source":"billing","row_id":"R-1001","column":"Quantity","editor":"ann@example.com","approver":"eve@example.com","ceiling":"500"}"#;
const PERIOD: &str = r#"{"id":"billing/2026-02-22","effective_at":"2026-02-27T00:00:00Z","source":"billing","period":"2026-02-22","state":"closed"}"#;
const OUTCOME: &str =
    r#"{"id":"O-1","effective_at":"2026-03-09T00:00:00Z","order_id":"O-1","outcome":"fraud"}"#;

fn with_key(scopes: &[&str], source: Option<&str>, door: &Arc<Door<World>>) -> String {
    let key = format!("rl_cccccccccccc_{}", "4".repeat(64));
    door.outside.add_key(&key, scopes, source);
    key
}

fn sent_by(key: &str, path: &str, body: &str) -> Request<Body> {
    let mut request = request(path, NDJSON, body.to_owned());
    let value = format!("Bearer {key}").parse().unwrap();
    request.headers_mut().insert("authorization", value);
    request
}

/// The facts that are in Kafka.
fn published(door: &Arc<Door<World>>) -> Vec<Fact> {
    let records = door.outside.kafka.records.lock().unwrap();
    let facts = records.iter().map(|(key, value)| {
        let (schema_id, datum) = split_frame(value).unwrap();
        let schema = WriterSchema::new(schema_id, EventKind::Fact, FACT_SCHEMA).unwrap();
        let Event::Fact(fact) = schema.decode(datum).unwrap() else {
            panic!("no fact under {key}")
        };
        assert_eq!(&fact.key(), key);
        *fact
    });
    facts.collect()
}

#[tokio::test]
async fn each_kind_has_a_path_and_is_in_kafka_under_its_key() {
    let door = door();
    for (path, body) in [(APPROVALS, APPROVAL), (PERIODS, PERIOD), (OUTCOMES, OUTCOME)] {
        let answer = seen(&door, request(path, JSON, body)).await;
        assert_eq!(
            answer, "202 Accepted\ncontent-type: application/json\n{\"accepted\":1}",
            "{path}"
        );
    }
    let told: Vec<String> = published(&door).iter().map(Fact::canonical).collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[tokio::test]
async fn an_array_and_lines_are_taken_like_events() {
    let door = door();
    let second = PERIOD
        .replace("closed", "open")
        .replace("22\",\"eff", "22b\",\"eff");
    let array = format!("[{PERIOD},{second}]");
    assert_eq!(status(&door, request(PERIODS, JSON, array)).await, 202);
    let lines = format!("{PERIOD}\n\n{second}\n");
    assert_eq!(status(&door, request(PERIODS, NDJSON, lines)).await, 202);
    assert_eq!(
        door.outside.kafka.keys(),
        [
            "period/billing/2026-02-22",
            "period/billing/2026-02-22b",
            "period/billing/2026-02-22",
            "period/billing/2026-02-22b"
        ]
    );
}

#[tokio::test]
async fn bad_facts_are_named_by_field_and_the_good_ones_are_in() {
    let door = door();
    let without = |part: &str| APPROVAL.replace(part, "");
    let lines = [
        APPROVAL.to_owned(),
        without(r#""id":"A-1","#),
        without(r#""effective_at":"2026-03-02T09:00:00Z","#),
        APPROVAL.replace("\"500\"", "\"much\""),
        APPROVAL.replace("\"ceiling\"", "\"celling\""),
        APPROVAL.replace("{\"id\"", "{\"kind\":\"rules\",\"id\""),
        APPROVAL.replace("{\"id\"", "{\"kind\":\"approval\",\"id\""),
        APPROVAL.replace("{\"id\"", "{\"version\":-1,\"id\""),
        APPROVAL.replace("{\"id\"", "{\"recorded_by\":\"\",\"id\""),
        APPROVAL.replace(
            "{\"id\"",
            &format!("{{\"recorded_by\":\"{}\",\"id\"", "a".repeat(192)),
        ),
    ];
    insta::assert_snapshot!(seen(&door, request(APPROVALS, NDJSON, lines.join("\n"))).await);
    assert_eq!(door.outside.kafka.keys(), ["approval/A-1", "approval/A-1"]);
}

#[tokio::test]
async fn the_fields_of_each_kind_are_needed_and_those_of_others_are_refused() {
    let door = door();
    let approvals = [
        APPROVAL.replace(r#""source":"billing","#, ""),
        APPROVAL.replace(r#","ceiling":"500""#, ""),
        APPROVAL.replace(r#""ceiling":"500""#, r#""ceiling":"-500""#),
        APPROVAL.replace("{\"id\"", "{\"state\":\"open\",\"id\""),
        APPROVAL.replace(
            "{\"id\"",
            r#"{"valid_from":"2026-03-02T00:00:00Z","valid_until":"2026-03-01T00:00:00Z","id""#,
        ),
    ];
    let periods = [
        PERIOD.replace(r#""period":"2026-02-22""#, r#""period":"February""#),
        PERIOD.replace("closed", "shut"),
    ];
    let outcomes = [
        OUTCOME.replace("fraud", "perhaps"),
        OUTCOME.replace(r#","outcome":"fraud""#, ""),
    ];
    let mut answers = Vec::new();
    for (path, lines) in [
        (APPROVALS, approvals.join("\n")),
        (PERIODS, periods.join("\n")),
        (OUTCOMES, outcomes.join("\n")),
    ] {
        let answer = json(send(&door, request(path, NDJSON, lines)).await).await;
        for error in answer["errors"].as_array().unwrap() {
            answers.push(format!("{path} {error}"));
        }
    }
    insta::assert_snapshot!(answers.join("\n"));
    assert_eq!(door.outside.kafka.sent(), 0);
}

#[tokio::test]
async fn whoever_records_is_named_with_the_key_that_was_used() {
    let door = door();
    let named = APPROVAL.replace("{\"id\"", "{\"recorded_by\":\"Eve in finance\",\"id\"");
    let longest = APPROVAL.replace(
        "{\"id\"",
        &format!("{{\"recorded_by\":\"{}\",\"id\"", "é".repeat(191)),
    );
    for body in [APPROVAL, &named, &longest] {
        assert_eq!(
            status(&door, request(APPROVALS, JSON, body.to_owned())).await,
            202
        );
    }
    let by: Vec<String> = published(&door)
        .into_iter()
        .map(|fact| fact.recorded_by)
        .collect();
    assert_eq!(by[..2], ["test", "Eve in finance via test"]);
    assert_eq!(by[2].chars().count(), 200);
}

#[tokio::test]
async fn an_approval_by_its_editor_is_taken_and_said_to_have_no_effect() {
    let door = door();
    let own = APPROVAL.replace("eve@", "Ann@");
    let answer = seen(&door, request(APPROVALS, JSON, own.clone())).await;
    assert!(
        answer.ends_with(
            r#"{"accepted":1,"warnings":[{"line":1,"field":"approver","reason":"is the editor: the approval has no effect"}]}"#
        ),
        "{answer}"
    );
    let mixed = [APPROVAL, &own, "{}", &own].join("\n");
    insta::assert_snapshot!(seen(&door, request(APPROVALS, NDJSON, mixed)).await);
}

#[tokio::test]
async fn only_so_many_warnings_are_named() {
    let door = door();
    let own = APPROVAL.replace("eve@", "ann@");
    let lines = vec![own; 1_500].join("\n");
    let answer = json(send(&door, request(APPROVALS, NDJSON, lines)).await).await;
    assert_eq!(answer["accepted"], 1_500);
    assert_eq!(answer["warnings"].as_array().unwrap().len(), 1_000);
}

#[tokio::test]
async fn each_path_has_its_scope() {
    let door = door();
    let key = with_key(&["rows", "facts"], None, &door);
    let refused = seen(&door, sent_by(&key, APPROVALS, APPROVAL)).await;
    insta::assert_snapshot!("facts_do_not_open_approvals", refused);
    assert_eq!(status(&door, sent_by(&key, PERIODS, PERIOD)).await, 202);
    assert_eq!(status(&door, sent_by(&key, OUTCOMES, OUTCOME)).await, 202);

    let door = super::door();
    let key = with_key(&["rows", "approvals"], None, &door);
    assert_eq!(status(&door, sent_by(&key, APPROVALS, APPROVAL)).await, 202);
    assert_eq!(status(&door, sent_by(&key, PERIODS, PERIOD)).await, 403);
    assert_eq!(status(&door, sent_by(&key, OUTCOMES, OUTCOME)).await, 403);
}

#[tokio::test]
async fn a_key_of_one_source_says_nothing_about_another() {
    let door = door();
    let key = with_key(&["facts", "approvals"], Some("billing"), &door);
    let foreign = APPROVAL.replace("billing", "outages");
    let mixed = format!("{APPROVAL}\n{foreign}");
    insta::assert_snapshot!(
        "one_approval_of_another_source",
        seen(&door, sent_by(&key, APPROVALS, &mixed)).await
    );
    assert_eq!(status(&door, sent_by(&key, PERIODS, PERIOD)).await, 202);
    let foreign = PERIOD.replace("\"source\":\"billing\"", "\"source\":\"outages\"");
    assert_eq!(status(&door, sent_by(&key, PERIODS, &foreign)).await, 403);
    insta::assert_snapshot!(
        "outcomes_have_no_source",
        seen(&door, sent_by(&key, OUTCOMES, OUTCOME)).await
    );
}

#[tokio::test]
async fn what_came_in_is_counted_by_the_kind_of_fact() {
    let door = door();
    send(&door, request(APPROVALS, JSON, APPROVAL)).await;
    send(&door, request(PERIODS, NDJSON, format!("{PERIOD}\n{{}}"))).await;
    let get = Request::get("/metrics").body(Body::empty()).unwrap();
    let metrics = text(send(&door, get).await).await;
    for (kind, outcome) in [
        ("approval", "accepted"),
        ("period", "accepted"),
        ("period", "refused"),
    ] {
        let line = format!("redline_ingest_events_total{{kind=\"{kind}\",outcome=\"{outcome}\"}} 1");
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn what_a_key_of_one_source_says_has_ids_of_that_source() {
    let door = door();
    let key = with_key(&["approvals"], Some("billing"), &door);
    let own = APPROVAL.replace("A-1", "billing/A-2");
    let body = format!("{APPROVAL}\n{own}");
    assert_eq!(status(&door, sent_by(&key, APPROVALS, &body)).await, 202);
    assert_eq!(
        door.outside.kafka.keys(),
        ["approval/billing/A-1", "approval/billing/A-2"]
    );
    let long = APPROVAL.replace("A-1", &"x".repeat(195));
    let answer = seen(&door, sent_by(&key, APPROVALS, &long)).await;
    assert!(
        answer.contains(r#""field":"id","reason":"is longer than 200 characters"#),
        "{answer}"
    );
}
