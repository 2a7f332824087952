//! Log lines name the trace that they were written in, and a collector that is away makes no storm of them.

use redline_tests::Plan;
use redline_tests::rows::billing;
use serde_json::Value;

use crate::receiver::Receiver;
use crate::{REST, all_roles, end, traced};

/// Nobody listens on this port.
const DEAD: &str = "http://127.0.0.1:9";

#[tokio::test]
async fn a_line_written_within_a_batch_names_its_trace() {
    let receiver = Receiver::start().await;
    let redline = Plan::new("lines").partitions(1).make().await;
    let endpoint = receiver.endpoint();
    // Without Redis every batch says that it goes on without it.
    let variables = traced(&endpoint, &[("REDIS_URL", "redis://127.0.0.1:9/")]);
    let worker = redline.start("work", &variables);
    redline
        .produce_rows(&[redline_tests::rows::row(&billing("R-1", 1, 10))])
        .await;
    redline.wait_recorded(REST).await;
    let batch = receiver
        .wait("the batch's span", |span| span.name.starts_with("process "))
        .await;
    let log = worker.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("every line is JSON"))
        .collect();
    let within = lines
        .iter()
        .find(|line| {
            line["message"]
                .as_str()
                .is_some_and(|text| text.contains("the batch goes on without it"))
        })
        .unwrap_or_else(|| panic!("nothing is said of Redis:\n{log}"));
    assert_eq!(within["trace_id"], batch.trace_id.as_str(), "{within}");
    assert_eq!(within["span_id"].as_str().map(str::len), Some(16), "{within}");
    let outside = lines.iter().filter(|line| line.get("trace_id").is_none());
    assert!(outside.count() > 0, "what is no part of a batch names no trace");
    redline.stop(vec![worker]).await;
    redline.remove().await;
}

#[tokio::test]
async fn a_dead_collector_harms_nothing_and_is_said_once() {
    let redline = Plan::new("dead").partitions(1).make().await;
    let (mut door, mut others) = all_roles(&redline, &traced(DEAD, &[])).await;
    for version in 1..=4 {
        door.accept("/v1/rows", &billing("R-1", version, 10 + version))
            .await;
        redline.wait_quiet(REST).await;
    }
    let flags = redline.kafka.read(&redline.topics.flagged).await;
    assert!(!flags.is_empty());
    for process in others.iter_mut().chain([&mut door.process]) {
        process.wait_for_log("collector", REST).await;
        let log = process.log();
        let said = log.lines().filter(|line| line.contains("collector")).count();
        assert_eq!(said, 1, "{log}");
    }
    end(redline, door, others).await;
}

#[tokio::test]
async fn a_worker_that_starts_well_warns_of_nothing() {
    let redline = Plan::new("calm").make().await;
    let worker = redline.work();
    redline.wait_for_owners(1, REST).await;
    redline
        .produce_rows(&[redline_tests::rows::row(&billing("R-1", 1, 10))])
        .await;
    redline.wait_recorded(REST).await;
    let log = worker.log();
    let loud: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(r#""level":"WARN""#) || line.contains(r#""level":"ERROR""#))
        .collect();
    assert!(loud.is_empty(), "{}", loud.join("\n"));
    let reading = log
        .lines()
        .filter(|line| line.contains("partitions are read"))
        .count();
    assert_eq!(reading, 1, "{log}");
    redline.stop(vec![worker]).await;
    redline.remove().await;
}
