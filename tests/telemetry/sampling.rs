//! What is not to be kept is not sent, and what others say is heeded or ignored as it should be.

use redline_schemas::EventKind;
use redline_tests::Plan;
use redline_tests::rows::{billing, row};

use crate::receiver::Receiver;
use crate::{REST, all_roles, end, traced};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[tokio::test]
async fn of_a_sample_of_nothing_nothing_is_sent() {
    let receiver = Receiver::start().await;
    let redline = Plan::new("nothing").partitions(1).make().await;
    let endpoint = receiver.endpoint();
    let variables = traced(&endpoint, &[("OTEL_TRACES_SAMPLER_ARG", "0")]);
    let (door, others) = all_roles(&redline, &variables).await;
    for (version, quantity) in [(1, 10), (2, 12)] {
        door.accept("/v1/rows", &billing("R-1", version, quantity)).await;
        redline.wait_quiet(REST).await;
    }
    let flags = redline.kafka.read(&redline.topics.flagged).await;
    assert!(!flags.is_empty());
    let rows = redline.kafka.read(&redline.topics.rows).await;
    for record in flags.iter().chain(&rows) {
        assert_eq!(record.header("traceparent"), None);
    }
    end(redline, door, others).await;
    // All processes have ended, and would have sent what was left.
    assert_eq!(receiver.spans().len(), 0);
}

#[tokio::test]
async fn a_foreign_producers_trace_goes_on_and_malformed_ones_are_ignored() {
    let receiver = Receiver::start().await;
    let redline = Plan::new("foreign").partitions(1).make().await;
    let endpoint = receiver.endpoint();
    // Of what begins here nothing is kept: whatever arrives belongs to the foreign trace.
    let variables = traced(&endpoint, &[("OTEL_TRACES_SAMPLER_ARG", "0")]);
    let others: Vec<_> = ["work", "relay"]
        .map(|role| redline.start(role, &variables))
        .into();
    let schema_id = redline.schema_id(EventKind::Row).await;
    let sampled = format!("00-{TRACE}-b7ad6b7169203331-01");
    let unsampled = sampled.replace("-01", "-00");
    for (version, parent) in [
        (1, "00-not-a-trace-01".to_owned()),
        (2, sampled.to_uppercase()),
        (3, unsampled),
        (4, sampled.clone()),
    ] {
        let mut raw = redline.raw(&row(&billing("R-1", version, 10 + version)), schema_id);
        raw.headers = vec![
            ("traceparent".to_owned(), parent.into_bytes()),
            ("other".to_owned(), vec![0xff]),
        ];
        redline.kafka.produce(raw).await;
        redline.wait_quiet(REST).await;
    }
    let name = format!("send {}", redline.topics.flagged);
    let relayed = receiver.wait("the relay's span", |span| span.name == name).await;
    assert_eq!(relayed.trace_id, TRACE);
    let batch = receiver
        .wait("the batch's span", |span| span.name.starts_with("process "))
        .await;
    assert_eq!(batch.links, [(TRACE.to_owned(), "b7ad6b7169203331".to_owned())]);
    let flags = redline.kafka.read(&redline.topics.flagged).await;
    let parents: Vec<String> = flags
        .iter()
        .filter_map(|flag| flag.header("traceparent"))
        .collect();
    assert!(parents.contains(&relayed.traceparent()), "{parents:?}");
    assert!(parents.iter().all(|parent| parent.contains(TRACE)), "{parents:?}");
    assert!(
        parents.len() < flags.len(),
        "those of the other records are in no trace"
    );
    redline.stop(others).await;
    redline.remove().await;
    let batches = receiver
        .spans()
        .iter()
        .filter(|span| span.name.starts_with("process "))
        .count();
    assert_eq!(batches, 1);
}

#[tokio::test]
async fn a_quarantined_record_keeps_its_own_headers_and_is_relayed_in_its_trace() {
    let receiver = Receiver::start().await;
    let redline = Plan::new("refused").partitions(1).make().await;
    let endpoint = receiver.endpoint();
    let variables = traced(&endpoint, &[]);
    let others: Vec<_> = ["work", "relay"]
        .map(|role| redline.start(role, &variables))
        .into();
    let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
    redline
        .kafka
        .produce(redline_tests::Raw {
            topic: redline.topics.rows.clone(),
            partition: Some(0),
            key: Some(b"a/b".to_vec()),
            value: Some(b"no frame".to_vec()),
            headers: vec![("traceparent".to_owned(), parent.clone().into_bytes())],
        })
        .await;
    redline.wait_quiet(REST).await;
    let name = format!("send {}", redline.topics.quarantine);
    let relayed = receiver.wait("the relay's span", |span| span.name == name).await;
    assert_eq!(relayed.trace_id, TRACE);
    let records = redline.kafka.read(&redline.topics.quarantine).await;
    assert_eq!(records[0].header("original-traceparent"), Some(parent));
    assert_eq!(records[0].header("traceparent"), Some(relayed.traceparent()));
    redline.stop(others).await;
    redline.remove().await;
}
