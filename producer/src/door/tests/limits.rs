//! What is too large, too slow or too much.

use std::io::Write as _;
use std::num::NonZeroUsize;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn gzipped(content_type: &str, body: impl Into<Body>) -> Request<Body> {
    let mut request = request(ROWS, content_type, body);
    request
        .headers_mut()
        .insert("content-encoding", "gzip".parse().unwrap());
    request
}

fn small() -> Arc<Door<World>> {
    let size = |bytes| NonZeroUsize::new(bytes).unwrap();
    let settings = IngestSettings {
        max_body_bytes: size(2_000),
        max_line_bytes: size(1_000),
        max_array_elements: size(3),
        max_requests: size(1),
        ..IngestSettings::default()
    };
    door_with(settings, Kafka::default())
}

#[tokio::test]
async fn a_body_that_is_too_large_names_its_limit() {
    let body = format!("[{}]", vec![row("1"); 20].join(","));
    insta::assert_snapshot!(seen(&small(), request(ROWS, JSON, body)).await);
}

#[tokio::test]
async fn an_array_of_too_many_elements_names_its_limit_and_nothing_is_accepted() {
    let door = small();
    let body = |number| format!("[{}]", vec![row("1"); number].join(","));
    assert_eq!(status(&door, request(ROWS, JSON, body(3))).await, 202);
    insta::assert_snapshot!(seen(&door, request(ROWS, JSON, body(4))).await);
    assert_eq!(door.outside.kafka.sent(), 3);
}

#[tokio::test]
async fn a_line_that_is_too_long_ends_the_stream_with_what_came_before_it() {
    let door = small();
    let body = format!("{}{}\n{}", rows(1..=2), "x".repeat(1_001), rows(4..=4));
    insta::assert_snapshot!(seen(&door, request(ROWS, NDJSON, body)).await);
    assert_eq!(door.outside.kafka.keys(), ["billing/1", "billing/2"]);
}

#[tokio::test]
async fn ndjson_may_be_longer_than_every_limit() {
    let settings = IngestSettings {
        max_body_bytes: NonZeroUsize::MIN,
        window_records: NonZeroUsize::MIN,
        ..IngestSettings::default()
    };
    let door = door_with(settings, Kafka::default());
    let answer = json(send(&door, request(ROWS, NDJSON, rows(1..=3_000))).await).await;
    assert_eq!(answer["accepted"], 3_000);
}

#[tokio::test]
async fn gzip_is_taken_also_in_several_members() {
    let door = door();
    assert_eq!(status(&door, gzipped(JSON, gzip(row("1").as_bytes()))).await, 202);
    let members = [gzip(rows(2..=3).as_bytes()), gzip(rows(4..=5).as_bytes())].concat();
    assert_eq!(status(&door, gzipped(NDJSON, members)).await, 202);
    assert_eq!(door.outside.kafka.keys().len(), 5);
}

#[tokio::test]
async fn damaged_gzip_is_unreadable_and_keeps_its_whole_lines() {
    let door = door();
    assert_eq!(status(&door, gzipped(JSON, row("1"))).await, 400);
    let whole = gzip(rows(1..=500).as_bytes());
    let response = send(&door, gzipped(NDJSON, whole[..whole.len() - 6].to_vec())).await;
    assert_eq!(response.status(), 400);
    let answer = json(response).await;
    let accepted = answer["accepted"].as_u64().unwrap();
    assert_eq!(answer["resume_line"], accepted + 1);
}

#[tokio::test]
async fn a_gzip_bomb_is_refused_before_it_is_unpacked() {
    for (fill, content_type) in [(b' ', JSON), (b'x', NDJSON), (b'\n', NDJSON)] {
        let bomb = gzip(&vec![fill; 32 << 20]);
        let taken = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&taken);
        let pieces: Vec<Bytes> = bomb.chunks(100).map(Bytes::copy_from_slice).collect();
        let number = pieces.len();
        let body = Body::from_stream(stream::iter(pieces.into_iter().map(move |piece| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok::<_, std::io::Error>(piece)
        })));
        assert_eq!(status(&small(), gzipped(content_type, body)).await, 413);
        let taken = taken.load(Ordering::Relaxed);
        assert!(taken * 10 < number, "{taken} of {number} pieces were taken");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_is_given_up_with_what_came_before() {
    let door = door();
    let head = stream::iter([Ok::<_, std::io::Error>(Bytes::from(rows(1..=2) + "{\"source\""))]);
    let stalled = futures_util::StreamExt::chain(head, stream::pending());
    insta::assert_snapshot!(seen(&door, request(ROWS, NDJSON, Body::from_stream(stalled))).await);
    assert_eq!(door.outside.kafka.keys(), ["billing/1", "billing/2"]);
}

#[tokio::test(start_paused = true)]
async fn more_requests_than_the_limit_are_told_to_come_again() {
    let door = small();
    let waiting = request(
        ROWS,
        NDJSON,
        Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>()),
    );
    let first = tokio::spawn({
        let door = Arc::clone(&door);
        async move { status(&door, waiting).await }
    });
    tokio::task::yield_now().await;
    insta::assert_snapshot!(seen(&door, request(ROWS, JSON, row("1"))).await);
    assert_eq!(first.await.unwrap(), 408);
    assert_eq!(status(&door, request(ROWS, JSON, row("1"))).await, 202);
}

#[tokio::test]
async fn what_another_role_answers_shares_the_limit_and_the_words_for_what_is_not_there() {
    let door = small();
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    let post = |path: &str| Request::post(path).body(Body::empty()).unwrap();
    let others = || Router::new().route("/other", axum::routing::get(async || "said"));
    let ask = async |request: Request<Body>| door.router(others()).oneshot(request).await.unwrap().status();
    assert_eq!(ask(get("/other")).await, 200);
    assert_eq!(ask(post("/other")).await, 405);
    assert_eq!(ask(get("/another")).await, 404);
    let places = door.requests.available_permits();
    let all = door.requests.acquire_many(places.try_into().unwrap()).await;
    assert_eq!(ask(get("/other")).await, 429);
    assert_eq!(ask(get("/healthz")).await, 200);
    drop(all);
    assert_eq!(ask(get("/other")).await, 200);
    let wrong = door.router(others()).oneshot(post("/other")).await.unwrap();
    assert_eq!(wrong.headers()["content-type"], "application/problem+json");
}
