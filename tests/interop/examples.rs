//! The examples of docs/guides/first-source.md: what they send is accepted, and the same from all of them.

use std::fs;
use std::path::PathBuf;

use redline_tests::checker;
use redline_tests::examples::{self, http_source, java_producer, python_producer};
use redline_tests::{Door, Installation, Plan, rows, until};
use serde_json::Value;
use tokio::process::Command;

use crate::{REST, difficult_rows};

/// Runs an example that must succeed; answers what it says.
async fn said(redline: &Installation, command: Command) -> String {
    let ended = examples::run(redline, command).await;
    assert_eq!(
        ended.code, 0,
        "an example fails: {}{}",
        ended.stdout, ended.stderr
    );
    ended.stdout
}

/// Writes rows as NDJSON into the installation's folder.
fn ndjson(redline: &Installation, rows: &[Value]) -> PathBuf {
    let path = redline.folder().join("rows.ndjson");
    let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    fs::write(&path, lines.join("\n")).expect("a file can be written");
    path
}

#[tokio::test]
async fn the_guides_examples_send_the_same_events_over_http_from_python_and_from_java() {
    let redline = Plan::new("examples").partitions(6).make().await;
    let door = redline.ingest().await;
    let mut processes = vec![redline.work(), redline.relay()];
    let shown = examples::file("rows.ndjson");
    let difficult = ndjson(&redline, &difficult_rows());

    assert_eq!(
        said(&redline, http_source(&redline, &door, &shown)).await,
        "accepted: 3, refused: 0\n"
    );
    said(&redline, http_source(&redline, &door, &difficult)).await;
    redline.wait_quiet(REST).await;
    let totals = checker::check(&redline).await;
    assert_eq!((totals.accepted, totals.duplicate, totals.quarantined), (6, 0, 0));
    let found = "select reason from redline.flags where entity_id in ('R-2001', 'R-2002') order by reason";
    let when = "on 2 March 2026, eight days after its period ended on 22 February 2026; 190.00 USD";
    assert_eq!(
        redline.texts(found).await,
        [
            format!("Quantity of R-2001 went from 10 to 12 {when}"),
            format!("Redlined Total Price of R-2001 went from 950 to 1140 {when}"),
        ]
    );

    for file in [&shown, &difficult] {
        for producer in [python_producer, java_producer] {
            assert_eq!(said(&redline, producer(&redline, file)).await, "sent: 3\n");
        }
    }
    redline.wait_quiet(REST).await;
    let totals = checker::check(&redline).await;
    assert_eq!(
        (totals.accepted, totals.duplicate, totals.quarantined),
        (6, 12, 0),
        "contents: {:#?}",
        redline
            .texts("select content from redline.events order by 1")
            .await
    );
    processes.push(door.process);
    redline.stop(processes).await;
    redline.remove().await;
}

#[tokio::test]
async fn the_guides_http_source_names_bad_lines_by_their_place_in_the_file() {
    let redline = Plan::new("examples-bad").make().await;
    let door = redline.ingest().await;
    let mut processes = vec![redline.work(), redline.relay()];
    // More than one request takes.
    let mut many: Vec<Value> = (0..10_002)
        .map(|row| rows::billing(&format!("R-{row}"), 1, 10))
        .collect();
    many[10_000]["version"] = Value::from(-1);
    let file = ndjson(&redline, &many);

    let ended = examples::run(&redline, http_source(&redline, &door, &file)).await;
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (1, "accepted: 10001, refused: 1\n")
    );
    assert!(
        ended
            .stderr
            .lines()
            .any(|line| line.starts_with("line 10001: version: ")),
        "it says: {}",
        ended.stderr
    );
    redline.wait_quiet(REST).await;
    assert_eq!(checker::check(&redline).await.accepted, 10_001);
    processes.push(door.process);
    redline.stop(processes).await;
    redline.remove().await;
}

#[tokio::test]
async fn the_guides_http_source_comes_back_to_a_door_that_has_too_much_to_do() {
    let redline = Plan::new("examples-busy").make().await;
    // One request at a time, which another client holds open.
    let door = redline
        .ingest_with(&[
            ("REDLINE_INGEST__MAX_REQUESTS", "1"),
            ("REDLINE_INGEST__IDLE_TIMEOUT_SECONDS", "300"),
        ])
        .await;
    let mut processes = vec![redline.work(), redline.relay()];
    // From here on it knows topic and schema, and no request ends for want of them.
    let first = rows::billing("R-1", 1, 10).to_string();
    until("the door takes rows", REST, async || {
        match door.post("/v1/rows", "application/json", first.clone()).await {
            answer if answer.status == 202 => Ok(()),
            answer => Err(format!("it answers {answer:?}")),
        }
    })
    .await;
    let held = hold_open(&door).await;
    let command = http_source(&redline, &door, &examples::file("rows.ndjson"));
    let source = examples::Running::start(&redline, command);
    source.wait_for_log("again in ").await;
    drop(held);
    let ended = source.end().await;
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "accepted: 3, refused: 0\n")
    );
    redline.wait_quiet(REST).await;
    assert_eq!(checker::check(&redline).await.accepted, 4);
    processes.push(door.process);
    redline.stop(processes).await;
    redline.remove().await;
}

/// A request whose body does not end: it takes a place at the door until its connection is dropped.
async fn hold_open(door: &Door) -> tokio::net::TcpStream {
    use tokio::io::AsyncWriteExt as _;

    let address = door.address().trim_start_matches("http://");
    let mut held = tokio::net::TcpStream::connect(address)
        .await
        .expect("the door accepts");
    let head = format!(
        "POST /v1/rows HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n",
        door.key()
    );
    held.write_all(head.as_bytes()).await.expect("the door reads");
    // The door counts it from here on: it is the only request, and the next one is told so.
    until("the place is taken", REST, async || {
        let answer = door.post("/v1/rows", "application/x-ndjson", "").await;
        if answer.status == 429 {
            Ok(())
        } else {
            Err(format!("another request is answered {answer:?}"))
        }
    })
    .await;
    held
}
