//! The guide's source over HTTP, while Kafka stands still in the middle of its file.

use std::fs;

use redline_tests::examples::{Running, http_source};
use redline_tests::{Plan, checker, rows, until};

use crate::running::PATIENCE;
use crate::turns::alone;
use redline_tests::cluster::wait_for_kafka;
use redline_tests::{is_ours, stand_still};

/// As many as one request of the example takes.
const ROWS: i64 = 10_000;
/// So few at a time that the file takes seconds.
const SLOWLY: [(&str, &str); 2] = [
    ("REDLINE_INGEST__WINDOW_RECORDS", "10"),
    ("REDLINE_INGEST__ACKNOWLEDGE_TIMEOUT_SECONDS", "2"),
];

#[tokio::test]
async fn the_guides_http_source_goes_on_from_the_line_that_it_is_told() {
    if !is_ours("kafka") {
        return;
    }
    let _turn = alone().await;
    let redline = Plan::new("source").make().await;
    let door = redline.ingest_with(&SLOWLY).await;
    let mut processes = vec![redline.work(), redline.relay()];
    let path = redline.folder().join("rows.ndjson");
    let lines: Vec<String> = (0..ROWS)
        .map(|row| rows::billing(&format!("R-{row}"), 1, 10).to_string())
        .collect();
    fs::write(&path, lines.join("\n")).expect("a file can be written");

    let source = Running::start(&redline, http_source(&redline, &door, &path));
    until("a part of the file is in Kafka", PATIENCE, async || {
        let ends = redline.kafka.log_ends(&redline.topics.rows).await;
        let written: i64 = ends.values().map(|(_, end)| end).sum();
        if written > 100 {
            Ok(())
        } else {
            Err(format!("{written} rows are there"))
        }
    })
    .await;
    let kafka = stand_still("kafka").await;
    source.wait_for_log("send again from line ").await;
    kafka.go_on().await;
    wait_for_kafka(&redline).await;
    let ended = source.end().await;
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    // What was on its way is sent twice, and what was settled is not.
    let accepted = ended
        .stdout
        .strip_prefix("accepted: ")
        .and_then(|rest| rest.strip_suffix(", refused: 0\n"))
        .and_then(|accepted| accepted.parse::<i64>().ok());
    assert!(
        accepted.is_some_and(|accepted| (ROWS..ROWS + 50).contains(&accepted)),
        "{}",
        ended.stdout
    );
    let line = ended
        .stderr
        .split("send again from line ")
        .nth(1)
        .and_then(|rest| rest.lines().next())
        .and_then(|line| line.parse::<i64>().ok());
    assert!(
        line.is_some_and(|line| (2..ROWS).contains(&line)),
        "{}",
        ended.stderr
    );
    redline.wait_quiet(PATIENCE).await;
    assert_eq!(checker::check(&redline).await.accepted, ROWS);
    processes.push(door.process);
    redline.stop(processes).await;
    redline.remove().await;
}
