//! A foreign client, Confluent's own for Python: it produces with its own serializer and partitioner, posts over
//! HTTP, and reads flags back.

#![allow(clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

mod examples;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use redline_tests::checker;
use redline_tests::{Door, Installation, Plan, Services, rows};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

const REST: Duration = Duration::from_secs(60);

/// Runs `foreign.py`: an action and what it needs on its standard input, what it answers from its standard output.
async fn foreign(redline: &Installation, action: &str, mut input: Value) -> Value {
    input["kafka"] = redline.services.kafka.as_str().into();
    input["registry"] = redline.services.registry.as_str().into();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/foreign.py");
    let mut child = Command::new(Services::python())
        .arg(script)
        .arg(action)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("Python starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin
        .write_all(input.to_string().as_bytes())
        .await
        .expect("the script reads its input");
    drop(stdin);
    let output = tokio::time::timeout(REST, child.wait_with_output())
        .await
        .expect("the script ends")
        .expect("the script can be waited for");
    assert!(
        output.status.success(),
        "foreign.py {action}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("the script answers JSON")
}

async fn produce(redline: &Installation, rows: &[Value]) -> Value {
    foreign(
        redline,
        "produce",
        json!({"topic": redline.topics.rows, "rows": rows}),
    )
    .await
}

async fn post(redline: &Installation, door: &Door, rows: &[Value]) -> Value {
    let input = json!({"url": format!("{}/v1/rows", door.address()), "key": door.key(), "body": Value::from(rows).to_string()});
    foreign(redline, "post", input).await
}

/// Rows whose canonical form is easy to get wrong: every type of column, letters beyond ASCII, fractions of a
/// second, cells with their own editors, optional fields that are absent.
fn difficult_rows() -> Vec<Value> {
    vec![
        rows::example(),
        json!({"source": "billing", "row_id": "ü/😀 \"1\"", "version": 0, "op": "create",
            "observed_at": "2026-03-02T10:00:00.000001Z", "modified_at": "1969-12-31T23:59:59.5Z",
            "columns": {"Quantity": -0.000000001, "Unit Price": "95.10", "Done": true, "Foreman": null,
                "Ünïcode \u{2028}": "\t\u{7f}\u{e000}\\"},
            "column_edits": {"Quantity": {"modified_by": "bob@example.com"},
                "Foreman": {"modified_at": "2026-03-01T00:00:00Z"}},
            "legal_entity": "Example Inc"}),
        json!({"source": "billing", "row_id": "R-3", "version": 9_007_199_254_740_991_i64, "op": "snapshot",
            "observed_at": "2026-03-02T10:00:00Z", "period_end": "1900-01-01",
            "columns": {"Quantity": 12_345_678_901_234_567_i64, "Unit Price": 0}}),
    ]
}

#[tokio::test]
async fn a_foreign_client_produces_posts_and_reads_flags_back() {
    let redline = Plan::new("interop").partitions(6).make().await;
    let door = redline.ingest().await;
    let mut processes = vec![redline.work(), redline.work(), redline.relay()];

    let first: Vec<Value> = (0..20)
        .map(|row| rows::billing(&format!("R-{row}"), 1, 10))
        .collect();
    let second: Vec<Value> = (0..20)
        .map(|row| rows::billing(&format!("R-{row}"), 2, 11 + row))
        .collect();
    let produced = produce(&redline, &first).await;
    assert_eq!(produced["produced"], 20);
    let posted = post(&redline, &door, &second).await;
    assert_eq!(
        (&posted["status"], &posted["body"]["accepted"]),
        (&json!(202), &json!(20))
    );
    redline.wait_quiet(REST).await;

    let totals = checker::check(&redline).await;
    assert_eq!(
        (totals.accepted, totals.duplicate, totals.quarantined),
        (40, 0, 0)
    );
    let topic = redline.topics.flagged.as_str();
    let read = foreign(&redline, "flags", json!({"topic": topic})).await;
    let mut found: Vec<String> = read["flags"]
        .as_array()
        .expect("a list of flags")
        .iter()
        .map(|flag| {
            assert_eq!(
                flag["key"],
                format!("billing/{}", flag["entity_id"].as_str().unwrap_or_default())
            );
            assert_eq!(
                (&flag["revision"], &flag["status"]),
                (&json!(1), &json!("standing"))
            );
            assert_eq!(flag["modified_at"], "2026-03-02T09:58:11+00:00");
            let text = |field: &str| flag[field].as_str().unwrap_or("-").to_owned();
            [
                text("kind"),
                text("entity_id"),
                text("column"),
                text("before"),
                text("after"),
                text("impact"),
            ]
            .join(" ")
        })
        .collect();
    found.sort();
    let mut expected: Vec<String> = (0..20)
        .flat_map(|row| {
            let (quantity, impact) = (11 + row, (1 + row) * 95);
            let total = quantity * 95;
            [
                format!("retroactive_change R-{row} Quantity 10 {quantity} {impact}"),
                format!("retroactive_change R-{row} Redlined Total Price 950 {total} {impact}"),
            ]
        })
        .collect();
    expected.sort();
    assert_eq!(found, expected);
    processes.push(door.process);
    redline.stop(processes).await;
    redline.remove().await;
}

#[tokio::test]
async fn the_same_content_over_http_and_from_a_foreign_producer_is_one_event() {
    let redline = Plan::new("same").partitions(6).make().await;
    let door = redline.ingest().await;
    let mut processes = vec![redline.work(), redline.relay()];
    let rows = difficult_rows();
    let answer = post(&redline, &door, &rows).await;
    assert_eq!(answer["status"], 202, "{answer}");
    redline.wait_quiet(REST).await;
    produce(&redline, &rows).await;
    redline.wait_quiet(REST).await;
    let totals = checker::check(&redline).await;
    assert_eq!(
        (totals.accepted, totals.duplicate, totals.quarantined),
        (3, 3, 0),
        "contents: {:#?}",
        redline
            .texts("select content from redline.events order by 1")
            .await
    );

    // And one that differs in the last digit is another one.
    let mut other = difficult_rows().remove(2);
    other["columns"]["Unit Price"] = "0.000000001".into();
    produce(&redline, &[other]).await;
    redline.wait_quiet(REST).await;
    assert_eq!(checker::check(&redline).await.accepted, 4);
    processes.push(door.process);
    redline.stop(processes).await;
    redline.remove().await;
}

#[tokio::test]
async fn whatever_a_foreign_producer_compresses_with_is_read() {
    let redline = Plan::new("compressed").partitions(1).make().await;
    let processes = vec![redline.work()];
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    for codec in codecs {
        let rows: Vec<Value> = (0..50)
            .map(|row| rows::billing(&format!("{codec}-{row}"), 1, 10))
            .collect();
        let input =
            json!({"topic": redline.topics.rows, "rows": rows, "properties": {"compression.type": codec}});
        assert_eq!(foreign(&redline, "produce", input).await["produced"], 50);
    }
    redline.wait_recorded(REST).await;
    let totals = checker::check(&redline).await;
    assert_eq!((totals.accepted, totals.quarantined), (250, 0));
    redline.stop(processes).await;
    redline.remove().await;
}
