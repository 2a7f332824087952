//! What a worker and a relay say of themselves.

use std::time::Duration;

use redline_tests::{Plan, until};
use serde_json::{Value, json};

use crate::dashboards::shown;

const LIMIT: Duration = Duration::from_secs(60);

async fn asked(address: &str, path: &str) -> (u16, Value) {
    let answer = reqwest::get(format!("http://{address}{path}"))
        .await
        .expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

#[tokio::test]
async fn a_worker_and_a_relay_are_ready_once_they_can_work() {
    let redline = Plan::new("health").make().await;
    let (worker, worker_at) = shown(&redline, "work", &[]).await;
    let (relay, relay_at) = shown(&redline, "relay", &[]).await;
    let (standing_by, standing_by_at) = shown(&redline, "relay", &[]).await;
    for address in [&worker_at, &relay_at, &standing_by_at] {
        assert_eq!(
            asked(address, "/healthz").await,
            (200, json!({"status": "alive"}))
        );
        until("it is ready", LIMIT, async || {
            match asked(address, "/readyz").await {
                (200, _) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
    redline.stop(vec![worker, relay, standing_by]).await;
    redline.remove().await;
}

#[tokio::test]
async fn a_worker_that_reaches_nobody_is_alive_and_says_what_it_misses() {
    let redline = Plan::new("not-ready").make().await;
    // Nobody listens on these ports.
    let away = [
        ("DATABASE_URL", "postgres://redline@127.0.0.1:9/redline"),
        ("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9"),
    ];
    let (worker, address) = shown(&redline, "work", &away).await;
    assert_eq!(asked(&address, "/healthz").await.0, 200);
    let not_ready = json!({"status": "not ready", "not_ready": ["database", "work.kafka"]});
    assert_eq!(asked(&address, "/readyz").await, (503, not_ready));
    worker.kill9();
    redline.remove().await;
}
