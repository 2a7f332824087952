//! Who may send what, and where.

use super::*;

fn other_key() -> String {
    format!("rl_bbbbbbbbbbbb_{}", "2".repeat(64))
}

fn with_key(key: &str, path: &str, content_type: &str, body: String) -> Request<Body> {
    let mut request = request(path, content_type, body);
    let value = format!("Bearer {key}").parse().unwrap();
    request.headers_mut().insert("authorization", value);
    request
}

#[tokio::test]
async fn a_request_without_a_valid_key_is_told_how_to_get_one() {
    let door = door();
    let mut without = request(ROWS, JSON, row("1"));
    without.headers_mut().remove("authorization");
    insta::assert_snapshot!(seen(&door, without).await);
    let wrong_secret = key().replace('1', "3");
    let unknown = other_key();
    for key in [wrong_secret.as_str(), unknown.as_str(), "", "rl_x_y", "é"] {
        let response = send(&door, with_key(key, ROWS, JSON, row("1"))).await;
        assert_eq!(response.status(), 401, "{key}");
        assert!(response.headers().contains_key("www-authenticate"));
    }
    assert_eq!(door.outside.kafka.sent(), 0);
}

#[tokio::test]
async fn a_flood_of_requests_is_no_flood_of_lookups() {
    let door = door();
    for _ in 0..20 {
        assert_eq!(status(&door, request(ROWS, JSON, row("1"))).await, 202);
        assert_eq!(
            status(&door, with_key(&other_key(), ROWS, JSON, row("1"))).await,
            401
        );
        assert_eq!(
            status(&door, with_key("rl_guess", ROWS, JSON, row("1"))).await,
            401
        );
    }
    assert_eq!(
        door.outside.lookups.load(Ordering::Relaxed),
        2,
        "one for each key of the right shape"
    );
}

#[tokio::test]
async fn a_key_of_another_scope_does_not_open_the_door() {
    let door = door();
    door.outside.add_key(&other_key(), &["read", "facts"], None);
    insta::assert_snapshot!(seen(&door, with_key(&other_key(), ROWS, JSON, row("1"))).await);
}

#[tokio::test]
async fn a_key_of_one_source_sends_for_that_source_only() {
    let door = door();
    door.outside.add_key(&other_key(), &["rows"], Some("billing"));
    let send = |path, body| seen(&door, with_key(&other_key(), path, NDJSON, body));

    let mixed = format!("{}\n{}\n", row("1"), row_of("outages", "2"));
    insta::assert_snapshot!("one_event_of_another_source", send(ROWS, mixed).await);
    let foreign = row_of("outages", "2");
    insta::assert_snapshot!("only_events_of_another_source", send(ROWS, foreign).await);
    insta::assert_snapshot!("orders_have_no_source", send("/v1/orders", String::new()).await);
    let payout = r#"{"system":"tube","payout_id":"P","period":"2025-01","amount":1,"currency":"USD","reported_at":"2025-02-01T00:00:00Z"}"#;
    let answer = send("/v1/payouts", payout.to_owned()).await;
    assert!(
        answer.starts_with("403") && answer.contains(r#""field":"system""#),
        "{answer}"
    );
    assert_eq!(door.outside.kafka.keys(), ["billing/1"]);
}

#[tokio::test]
async fn other_types_and_encodings_are_refused() {
    let door = door();
    for content_type in [
        "text/plain",
        "text/csv",
        "application/json; charset=latin1",
        "",
        "json",
    ] {
        assert_eq!(
            status(&door, request(ROWS, content_type, row("1"))).await,
            415,
            "{content_type}"
        );
    }
    for content_type in [
        "Application/JSON",
        "application/json; charset=\"UTF-8\"",
        "application/x-ndjson ;v=1",
    ] {
        assert_eq!(
            status(&door, request(ROWS, content_type, row("1"))).await,
            202,
            "{content_type}"
        );
    }
    for encoding in ["br", "deflate", "gzip, gzip", "x"] {
        let mut request = request(ROWS, JSON, row("1"));
        request
            .headers_mut()
            .insert("content-encoding", encoding.parse().unwrap());
        assert_eq!(status(&door, request).await, 415, "{encoding}");
    }
    let mut request = request(ROWS, JSON, row("1"));
    request
        .headers_mut()
        .insert("content-encoding", "br".parse().unwrap());
    insta::assert_snapshot!(seen(&door, request).await);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let door = door();
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    insta::assert_snapshot!("unknown_path", seen(&door, get("/v1/nothing")).await);
    insta::assert_snapshot!("wrong_method", seen(&door, get(ROWS)).await);
    let post = Request::post("/healthz").body(Body::empty()).unwrap();
    assert_eq!(status(&door, post).await, 405);
}

#[tokio::test]
async fn health_needs_no_key_and_readiness_names_what_is_away() {
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    let ready = door();
    assert_eq!(status(&ready, get("/healthz")).await, 200);
    assert_eq!(status(&ready, get("/readyz")).await, 200);
    let away = door();
    away.outside.kafka.away.store(true, Ordering::Relaxed);
    away.outside.database_away.store(true, Ordering::Relaxed);
    assert_eq!(status(&away, get("/healthz")).await, 200);
    insta::assert_snapshot!(seen(&away, get("/readyz")).await);
}
