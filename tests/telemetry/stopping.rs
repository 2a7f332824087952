//! A collector that is away, or hangs, holds nobody up.

use std::time::{Duration, Instant};

use redline_tests::{Installation, Plan, Process};

/// How long an idle role may take to stop.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Starts a role that sends its spans there, and soon.
fn start(redline: &Installation, role: &str, endpoint: &str) -> Process {
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    redline.start(role, &variables)
}

async fn stops_at_once(redline: &Installation, endpoint: &str) {
    let mut relay = start(redline, "relay", endpoint);
    relay
        .wait_for_log("the relay is at work", Duration::from_secs(30))
        .await;
    let began = Instant::now();
    assert_eq!(relay.terminate(Duration::from_secs(10)).await, 0);
    assert!(began.elapsed() < AT_ONCE, "it took {:?}", began.elapsed());
}

#[tokio::test]
async fn a_role_whose_collector_is_dead_or_hangs_stops_within_a_second() {
    let redline = Plan::new("stopping").make().await;
    // Nobody listens on this port.
    stops_at_once(&redline, "http://127.0.0.1:9").await;
    // Takes connections and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = silent.local_addr().expect("an address");
    stops_at_once(&redline, &format!("http://{address}")).await;
    redline.remove().await;
}
