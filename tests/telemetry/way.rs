//! One request is followed to the flag that it brought about.

use redline_tests::rows::billing;
use redline_tests::{Door, Installation, Plan};

use crate::receiver::{Receiver, Span};
use crate::{REST, all_roles, end, traced};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SENDER: &str = "00f067aa0ba902b7";

const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const PRODUCER: i32 = 4;
const CONSUMER: i32 = 5;

/// A row, and once it is recorded its next version, sent within the known trace.
async fn send(redline: &Installation, door: &Door) {
    door.accept("/v1/rows", &billing("R-1", 1, 10)).await;
    redline.wait_quiet(REST).await;
    let parent = format!("00-{TRACE}-{SENDER}-01");
    let headers = [("traceparent", parent.as_str()), ("tracestate", "vendor=7")];
    let body = billing("R-1", 2, 12).to_string();
    let answer = door
        .post_with("/v1/rows", "application/json", &headers, body)
        .await;
    assert_eq!(answer.status, 202, "{answer:?}");
    redline.wait_quiet(REST).await;
}

fn is_in_trace(span: &Span, name: &str) -> bool {
    span.trace_id == TRACE && span.name == name
}

async fn is_followed(protocol: &str) {
    let receiver = Receiver::start().await;
    let redline = Plan::new("way").partitions(1).make().await;
    let endpoint = receiver.endpoint();
    let variables = traced(
        &endpoint,
        &[
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer of-the-test"),
            ("OTEL_SERVICE_NAME", "money"),
        ],
    );
    let (door, others) = all_roles(&redline, &variables).await;
    send(&redline, &door).await;
    let (rows, flagged) = (&redline.topics.rows, &redline.topics.flagged);

    let request = receiver
        .wait("the request's span", |span| is_in_trace(span, "POST /v1/rows"))
        .await;
    assert_eq!((request.kind, request.parent_id.as_str()), (SERVER, SENDER));
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/v1/rows"),
        ("http.response.status_code", "202"),
    ] {
        assert_eq!(request.attribute(name), value, "{request:?}");
    }
    for (name, value) in [("service.name", "money"), ("redline.role", "ingest")] {
        assert_eq!(request.resource.get(name).map(String::as_str), Some(value));
    }
    for name in ["service.version", "service.instance.id"] {
        assert!(request.resource.contains_key(name), "{:?}", request.resource);
    }

    let name = format!("send {rows}");
    let sent = receiver
        .wait("the span of sending", |span| is_in_trace(span, &name))
        .await;
    assert_eq!((sent.kind, &sent.parent_id), (PRODUCER, &request.span_id));
    assert_eq!(sent.attribute("messaging.system"), "kafka");
    assert_eq!(sent.attribute("messaging.destination.name"), rows);
    assert_eq!(sent.attribute("messaging.batch.message_count"), "1");

    let records = redline.kafka.read(rows).await;
    assert_eq!(records.len(), 2);
    assert_eq!(records[1].header("traceparent"), Some(sent.traceparent()));
    assert_eq!(records[1].header("tracestate").as_deref(), Some("vendor=7"));

    let name = format!("record {rows}");
    let recorded = receiver
        .wait("the span of recording", |span| is_in_trace(span, &name))
        .await;
    assert_eq!((recorded.kind, &recorded.parent_id), (CONSUMER, &sent.span_id));
    assert_eq!(recorded.attribute("redline.outcome"), "recorded");

    let batch = receiver
        .wait("the batch's span", |span| {
            span.links.contains(&(TRACE.to_owned(), sent.span_id.clone()))
        })
        .await;
    assert_eq!((batch.name, batch.kind), (format!("process {rows}"), CONSUMER));
    assert_eq!(batch.parent_id, "", "it begins a trace");
    for (name, value) in [
        ("messaging.system", "kafka"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", rows.as_str()),
        ("messaging.consumer.group.name", redline.name.as_str()),
        ("messaging.batch.message_count", "1"),
        ("redline.outcome", "recorded"),
    ] {
        assert_eq!(
            batch.attributes.get(name).map(String::as_str),
            Some(value),
            "{name}"
        );
    }
    let to_the_batch = (batch.trace_id.clone(), batch.span_id.clone());
    assert!(recorded.links.contains(&to_the_batch), "{recorded:?}");
    for (step, kind) in [
        ("decode", 1),
        ("deduplicate", CLIENT),
        ("detect", 1),
        ("record", CLIENT),
        ("mark", CLIENT),
    ] {
        let step = receiver
            .wait(&format!("the step {step}"), |span| {
                span.name == step && span.parent_id == batch.span_id
            })
            .await;
        assert_eq!((step.kind, &step.trace_id), (kind, &batch.trace_id), "{step:?}");
    }

    let name = format!("send {flagged}");
    let relayed = receiver
        .wait("the relay's span", |span| is_in_trace(span, &name))
        .await;
    assert_eq!((relayed.kind, &relayed.parent_id), (PRODUCER, &recorded.span_id));
    assert_eq!(relayed.attribute("redline.outcome"), "published");
    let flags = redline.kafka.read(flagged).await;
    let traced: Vec<String> = flags
        .iter()
        .filter_map(|flag| flag.header("traceparent"))
        .collect();
    assert!(traced.contains(&relayed.traceparent()), "{traced:?}");
    assert!(
        traced.iter().all(|parent| parent.len() == 55),
        "every flag is in a trace, in the batch's where its record is in none: {traced:?}"
    );
    let authorizations = receiver.authorizations();
    assert!(!authorizations.is_empty());
    assert!(authorizations.iter().all(|value| value == "Bearer of-the-test"));
    end(redline, door, others).await;
}

#[tokio::test]
async fn a_request_is_followed_to_its_flag_over_grpc() {
    is_followed("grpc").await;
}

#[tokio::test]
async fn a_request_is_followed_to_its_flag_over_http() {
    is_followed("http/protobuf").await;
}

#[tokio::test]
async fn a_request_of_many_lines_makes_few_spans() {
    const LINES: i64 = 3_000;
    let receiver = Receiver::start().await;
    let redline = Plan::new("lines").make().await;
    let endpoint = receiver.endpoint();
    let (door, others) = all_roles(&redline, &traced(&endpoint, &[])).await;
    let body: String = (0..LINES)
        .map(|line| format!("{}\n", billing(&format!("R-{line}"), 1, 1)))
        .collect();
    let answer = door.post("/v1/rows", "application/x-ndjson", body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    redline.wait_quiet(REST).await;
    let request = receiver
        .wait("the request's span", |span| span.name == "POST /v1/rows")
        .await;
    let name = format!("send {}", redline.topics.rows);
    let sent = receiver
        .wait("the span of sending", |span| span.name == name)
        .await;
    assert_eq!(sent.attribute("messaging.batch.message_count"), LINES.to_string());
    // One that records for each batch that the lines came in, none for each line.
    let spans = receiver.spans();
    let of_request = spans.iter().filter(|span| span.trace_id == request.trace_id);
    let number = of_request.count();
    assert!(number < 100, "{number} spans");
    end(redline, door, others).await;
}
