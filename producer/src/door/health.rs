//! Whether the door is alive and ready.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use redline_http::{Asked, Keep};

use super::Door;
use super::outside::{Outside, Service};
use super::problem::{Kind, Problem};

/// Whoever asks often gets the answer of the last second.
const KEEP: Keep = Keep {
    answer: Duration::from_secs(1),
    failure: Duration::from_secs(1),
    old_before_failure: false,
};

/// The last answers of the services.
#[derive(Default)]
pub(crate) struct Health {
    answers: [Asked<(), String>; 3],
}

impl Health {
    /// The names of the services that do not answer.
    async fn not_ready(&self, outside: &impl Outside) -> Vec<&'static str> {
        let [kafka, registry, database] = &self.answers;
        let [first, second, third] = Service::ALL;
        let (kafka, registry, database) = tokio::join!(
            kafka.get(KEEP, outside.check(first)),
            registry.get(KEEP, outside.check(second)),
            database.get(KEEP, outside.check(third)),
        );
        Service::ALL
            .into_iter()
            .zip([kafka, registry, database])
            .filter_map(|(service, answer)| {
                // The reasons may name inner addresses, so they go to the log only.
                let reason = answer.err()?;
                tracing::warn!(service = service.name(), "not ready: {reason}");
                Some(service.name())
            })
            .collect()
    }
}

fn json(text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// `GET /healthz`
pub(crate) async fn healthz() -> Response {
    json(r#"{"status":"alive"}"#)
}

/// `GET /readyz`
pub(crate) async fn readyz<O: Outside>(State(door): State<Arc<Door<O>>>) -> Response {
    let not_ready = door.health.not_ready(&door.outside).await;
    if not_ready.is_empty() {
        return json(r#"{"status":"ready"}"#);
    }
    let detail = format!("not ready: {}", not_ready.join(", "));
    Problem::new(Kind::NotReady, detail)
        .with("not_ready", &not_ready)
        .into_response()
}
