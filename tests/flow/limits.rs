//! A door with limits of rate, as senders and readers see it.

use std::time::Duration;

use redline_tests::{Door, Plan, rows};

const JSON: &str = "application/json";

/// How often a reason was counted.
async fn limited(door: &Door, reason: &str) -> u64 {
    let metrics = door.text("/metrics").await;
    let line = format!("redline_ingest_limited_total{{reason=\"{reason}\"}} ");
    let count = metrics.lines().find_map(|text| text.strip_prefix(&line));
    count
        .expect("every reason is shown")
        .parse()
        .expect("a count is a number")
}

#[tokio::test]
async fn a_key_that_sends_too_fast_is_told_when_to_come_again_and_then_it_is_taken() {
    let redline = Plan::new("limits").make().await;
    let door = redline
        .ingest_with(&[
            ("REDLINE_INGEST__REQUESTS_PER_SECOND", "1"),
            ("REDLINE_INGEST__REQUESTS_BURST", "5"),
            ("REDLINE_INGEST__EVENTS_PER_SECOND", "20"),
            ("REDLINE_INGEST__EVENTS_BURST", "10"),
            ("REDLINE_INGEST__WRONG_KEYS_PER_SECOND", "1"),
            ("REDLINE_INGEST__WRONG_KEYS_BURST", "2"),
        ])
        .await;
    let row = |number: u32| rows::billing(&format!("R-{number}"), 1, 10).to_string();

    // Fifty lines through a bucket of ten: the stream is only slower.
    let lines: String = (1..=50).map(|number| row(number) + "\n").collect();
    let answer = door.post("/v1/rows", "application/x-ndjson", lines).await;
    assert_eq!((answer.status, &answer.body["accepted"]), (202, &50.into()));
    assert_eq!(limited(&door, "slowed").await, 1);

    // The read API counts for the same key.
    let asked = futures_util::future::join_all((0..30).map(|_| door.get("/v1/flags"))).await;
    let told = asked
        .iter()
        .find(|answer| answer.status == 429)
        .expect("thirty are too many");
    assert_eq!(told.body["type"], "urn:redline:problem:limited");
    let wait = told.retry_after.expect("a limit says when to come again");
    assert!((1..=5).contains(&wait), "{wait} s");
    assert!(limited(&door, "requests").await > 0);
    tokio::time::sleep(Duration::from_secs(wait)).await;
    let answer = door.post("/v1/rows", JSON, row(51)).await;
    assert_eq!(answer.status, 202, "{answer:?}");

    let guesses: Vec<String> = (0..30)
        .map(|number| format!("rl_{number:012x}_{}", "0".repeat(64)))
        .collect();
    let guessed = guesses
        .iter()
        .map(|guess| door.get_with("/v1/flags", Some(guess)));
    let guessed = futures_util::future::join_all(guessed).await;
    assert!(guessed.iter().any(|answer| answer.status == 429), "{guessed:?}");
    assert!(
        guessed.iter().all(|answer| [401, 429].contains(&answer.status)),
        "{guessed:?}"
    );
    assert_eq!(door.get_with("/healthz", None).await.status, 200);

    crate::end(redline, vec![door.process]).await;
}
