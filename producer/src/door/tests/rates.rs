//! What comes too fast.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::response::IntoResponse as _;
use tokio::time::{Instant, advance};

use super::*;

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn door_at(settings: IngestSettings) -> Arc<Door<World>> {
    door_with(settings, Kafka::default())
}

fn two_requests() -> Arc<Door<World>> {
    door_at(IngestSettings {
        requests_per_second: number(1),
        requests_burst: number(2),
        ..IngestSettings::default()
    })
}

fn ten_events() -> Arc<Door<World>> {
    door_at(IngestSettings {
        events_per_second: number(5),
        events_burst: number(10),
        ..IngestSettings::default()
    })
}

fn limited(door: &Door<World>, reason: &str) -> String {
    let text = door.metrics.text();
    let series = format!("redline_ingest_limited_total{{reason=\"{reason}\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&series));
    value.expect("every reason is there").to_owned()
}

#[tokio::test(start_paused = true)]
async fn more_requests_of_a_key_than_its_rate_are_told_when_to_come_again() {
    let door = two_requests();
    assert_eq!(status(&door, request(ROWS, JSON, row("1"))).await, 202);
    assert_eq!(status(&door, request(ROWS, JSON, row("2"))).await, 202);
    insta::assert_snapshot!(seen(&door, request(ROWS, JSON, row("3"))).await);
    assert_eq!(limited(&door, "requests"), "1");
    let other = format!("rl_bbbbbbbbbbbb_{}", "2".repeat(64));
    door.outside.add_named_key(&other, "other", &["rows"], None);
    assert_eq!(
        status(&door, shown(&other)).await,
        202,
        "another key has its own rate"
    );
    advance(Duration::from_secs(1)).await;
    assert_eq!(status(&door, request(ROWS, JSON, row("3"))).await, 202);
    assert_eq!(door.outside.kafka.sent(), 4);
}

#[tokio::test(start_paused = true)]
async fn what_another_role_answers_counts_for_the_same_key() {
    let door = two_requests();
    let keys = Arc::new(redline_http::Keys::default());
    let answer = {
        let door = Arc::clone(&door);
        move |caller: redline_http::Caller| {
            let (door, keys) = (Arc::clone(&door), Arc::clone(&keys));
            async move {
                let taken = crate::door::taken::Taken::Rows;
                match crate::door::auth::open(&keys, &door.outside, &caller, taken).await {
                    Ok(_) => "said".into_response(),
                    Err(problem) => problem.into_response(),
                }
            }
        }
    };
    let others = || Router::new().route("/other", axum::routing::post(answer.clone()));
    let ask = async |path: &str| {
        let request = request(path, JSON, row("1"));
        door.router(others()).oneshot(request).await.unwrap().status()
    };
    assert_eq!(ask(ROWS).await, 202);
    assert_eq!(ask("/other").await, 200);
    assert_eq!(ask("/other").await, 429);
    assert_eq!(ask(ROWS).await, 429);
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(status(&door, get(path)).await, 200, "{path} is not limited");
    }
}

#[tokio::test(start_paused = true)]
async fn json_beyond_the_rate_of_events_is_told_when_to_come_again_and_nothing_is_accepted() {
    let door = ten_events();
    let array = |number: usize| format!("[{}]", vec![row("1"); number].join(","));
    assert_eq!(status(&door, request(ROWS, JSON, array(6))).await, 202);
    insta::assert_snapshot!(seen(&door, request(ROWS, JSON, array(8))).await);
    assert_eq!(door.outside.kafka.sent(), 6);
    assert_eq!(limited(&door, "events"), "1");
    advance(Duration::from_secs(1)).await;
    assert_eq!(status(&door, request(ROWS, JSON, array(8))).await, 202);
    advance(Duration::from_secs(2)).await;
    assert_eq!(
        status(&door, request(ROWS, JSON, array(30))).await,
        202,
        "more than a burst is taken when the bucket is full"
    );
    assert_eq!(status(&door, request(ROWS, JSON, row("1"))).await, 429);
}

#[tokio::test(start_paused = true)]
async fn ndjson_beyond_the_rate_of_events_is_read_more_slowly_and_never_cut_off() {
    let door = ten_events();
    let begun = Instant::now();
    let answer = send(&door, request(ROWS, NDJSON, rows(1..=60))).await;
    assert_eq!(answer.status(), 202);
    assert_eq!(json(answer).await["accepted"], 60);
    assert_eq!(
        begun.elapsed().as_secs(),
        10,
        "fifty lines behind the burst, five a second"
    );
    assert_eq!(limited(&door, "slowed"), "1", "once a request");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_wrong_keys_is_bounded_for_its_address_and_locks_out_nobody_who_was_let_in() {
    let door = door_at(IngestSettings {
        wrong_keys_per_second: number(1),
        wrong_keys_burst: number(3),
        ..IngestSettings::default()
    });
    let from = |address: &str, mut request: Request<Body>| {
        let address: SocketAddr = address.parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(address));
        request
    };
    let made_up = |number: u32| shown(&format!("rl_{number:012x}_{}", "2".repeat(64)));
    let true_key = || request(ROWS, JSON, row("1"));
    let guesser = "192.0.2.1:1000";
    assert_eq!(status(&door, from(guesser, true_key())).await, 202);
    let lookups = || door.outside.lookups.load(Ordering::Relaxed);
    let before = lookups();
    let mut answers = Vec::new();
    for number in 0..50 {
        answers.push(status(&door, from(guesser, made_up(number))).await.as_u16());
    }
    assert_eq!(answers.iter().filter(|status| **status == 401).count(), 2);
    assert_eq!(answers.iter().filter(|status| **status == 429).count(), 48);
    assert_eq!(lookups() - before, 2, "who is over the limit is not looked up");
    assert_eq!(limited(&door, "wrong_keys"), "48");
    insta::assert_snapshot!(seen(&door, from(guesser, made_up(7))).await);

    let wrong_secret = shown(&key().replace('1', "3"));
    assert_eq!(status(&door, from(guesser, wrong_secret)).await, 429);
    assert_eq!(status(&door, from(guesser, shown("rl_guess"))).await, 429);
    assert_eq!(
        status(&door, from(guesser, true_key())).await,
        202,
        "a known key goes through, from the same address too"
    );
    assert_eq!(status(&door, from("192.0.2.2:1000", made_up(1))).await, 401);
    advance(Duration::from_secs(1)).await;
    assert_eq!(status(&door, from(guesser, made_up(1))).await, 401);
}

#[tokio::test(start_paused = true)]
async fn many_who_come_at_once_with_one_new_key_pay_for_one_lookup() {
    let door = door_at(IngestSettings {
        wrong_keys_per_second: number(1),
        wrong_keys_burst: number(1),
        ..IngestSettings::default()
    });
    let answers = futures_util::future::join_all((0..20).map(|_| {
        let mut request = request(ROWS, JSON, row("1"));
        let address: SocketAddr = "192.0.2.1:1000".parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(address));
        status(&door, request)
    }));
    assert!(answers.await.iter().all(|status| *status == 202));
}

/// A request with another key.
fn shown(key: &str) -> Request<Body> {
    let mut request = request(ROWS, JSON, row("1"));
    let value = format!("Bearer {key}").parse().unwrap();
    request.headers_mut().insert("authorization", value);
    request
}
