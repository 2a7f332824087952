//! The same way as a person sees it: read back from a real Jaeger. Slow to build, so only `make test-jaeger` runs it.

use std::env;
use std::time::Duration;

use redline_tests::rows::billing;
use redline_tests::{Plan, http_client, until};
use serde_json::Value;

use crate::{REST, all_roles, end, traced};

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make test-jaeger`"))
}

async fn get(path: &str) -> Value {
    let url = format!("{}{path}", variable("REDLINE_TEST_JAEGER"));
    let answer = http_client().get(url).send().await.expect("Jaeger answers");
    answer.json().await.expect("Jaeger answers JSON")
}

/// The spans of the first trace of an answer.
fn spans(answer: &Value) -> Vec<Value> {
    answer["data"][0]["spans"].as_array().cloned().unwrap_or_default()
}

fn named<'s>(spans: &'s [Value], name: &str) -> Option<&'s Value> {
    spans.iter().find(|span| span["operationName"] == name)
}

/// The span that a span hangs on.
fn parent(span: &Value) -> &Value {
    let references = span["references"].as_array().expect("a span has references");
    let above = references
        .iter()
        .find(|reference| reference["refType"] == "CHILD_OF");
    &above.expect("a span has a parent")["spanID"]
}

async fn is_shown(protocol: &str, endpoint: &str) {
    let redline = Plan::new("jaeger").partitions(1).make().await;
    let variables = traced(endpoint, &[("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)]);
    let (door, others) = all_roles(&redline, &variables).await;
    door.accept("/v1/rows", &billing("R-1", 1, 10)).await;
    redline.wait_quiet(REST).await;
    let trace = uuid::Uuid::new_v4().simple().to_string();
    let sender = format!("00-{trace}-00f067aa0ba902b7-01");
    let body = billing("R-1", 2, 12).to_string();
    let answer = door
        .post_with("/v1/rows", "application/json", &[("traceparent", &sender)], body)
        .await;
    assert_eq!(answer.status, 202, "{answer:?}");
    redline.wait_quiet(REST).await;

    let (rows, flagged) = (&redline.topics.rows, &redline.topics.flagged);
    let way = [
        "POST /v1/rows".to_owned(),
        format!("send {rows}"),
        format!("record {rows}"),
        format!("send {flagged}"),
    ];
    let limit = Duration::from_secs(30);
    let found = until("Jaeger has the whole way", limit, async || {
        let found = spans(&get(&format!("/api/traces/{trace}")).await);
        match way.iter().find(|name| named(&found, name).is_none()) {
            Some(missing) => Err(format!("{missing} is missing among {} spans", found.len())),
            None => Ok(found),
        }
    })
    .await;
    let step = |index: usize| named(&found, &way[index]).expect("it was found");
    for index in 1..way.len() {
        assert_eq!(
            parent(step(index)),
            &step(index - 1)["spanID"],
            "{} goes on from {}",
            way[index],
            way[index - 1]
        );
    }
    let batch = until("Jaeger has the batch", limit, async || {
        let path = format!("/api/traces?service=redline&operation=process%20{rows}&limit=100");
        let answer = get(&path).await;
        let traces = answer["data"].as_array().cloned().unwrap_or_default();
        let links = |span: &Value| {
            let references = span["references"].as_array().cloned().unwrap_or_default();
            references.iter().any(|reference| reference["traceID"] == *trace)
        };
        let mut all = traces
            .iter()
            .flat_map(|one| one["spans"].as_array().cloned().unwrap_or_default());
        all.find(links).ok_or_else(|| format!("{} traces", traces.len()))
    })
    .await;
    assert_eq!(batch["operationName"], format!("process {rows}"));
    end(redline, door, others).await;
}

#[tokio::test]
#[ignore = "needs a Jaeger: `make test-jaeger`"]
async fn jaeger_shows_the_way_of_a_request_over_grpc() {
    is_shown("grpc", &variable("REDLINE_TEST_JAEGER_GRPC")).await;
}

#[tokio::test]
#[ignore = "needs a Jaeger: `make test-jaeger`"]
async fn jaeger_shows_the_way_of_a_request_over_http() {
    is_shown("http/protobuf", &variable("REDLINE_TEST_JAEGER_HTTP")).await;
}
