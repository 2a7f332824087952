//! A collector that is away, or hangs, holds nobody up.

use std::time::{Duration, Instant};

use redline_tests::{Installation, Plan};

use crate::traced;

/// Longer than the last spans are waited for, on a busy machine too, and shorter than an export may take.
const AT_ONCE: Duration = Duration::from_secs(4);

/// Stops a door whose spans wait for a collector that does not take them.
async fn stops_at_once(redline: &Installation, endpoint: &str, protocol: &str) {
    let protocol = [("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)];
    let door = redline.ingest_with(&traced(endpoint, &protocol)).await;
    for _ in 0..3 {
        assert_eq!(door.get("/v1/flags").await.status, 200);
    }
    let began = Instant::now();
    assert_eq!(door.process.terminate(Duration::from_secs(30)).await, 0);
    assert!(began.elapsed() < AT_ONCE, "it took {:?}", began.elapsed());
}

#[tokio::test]
async fn a_role_whose_collector_is_dead_or_hangs_stops_at_once() {
    let redline = Plan::new("stopping").make().await;
    // Takes connections and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = silent.local_addr().expect("an address");
    for protocol in ["grpc", "http/protobuf"] {
        // Nobody listens on this port.
        stops_at_once(&redline, "http://127.0.0.1:9", protocol).await;
        stops_at_once(&redline, &format!("http://{address}"), protocol).await;
    }
    redline.remove().await;
}
