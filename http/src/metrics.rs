//! Metrics as Prometheus reads them, and health, for roles that answer nothing else.

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use redline_telemetry::health::Health;
use redline_telemetry::metrics::Meter;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Everything that a meter has made, in Prometheus's text form.
pub fn text(meter: &Meter) -> Response {
    let (media_type, text) = meter.text();
    ([(header::CONTENT_TYPE, media_type)], text).into_response()
}

/// Answers `GET /metrics`, `/healthz` and `/readyz` until told to stop.
///
/// # Errors
/// What the system says of the listener.
pub async fn serve(
    listener: TcpListener,
    meter: Meter,
    health: Health,
    stop: CancellationToken,
) -> std::io::Result<()> {
    axum::serve(listener, router(meter, health))
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await
}

fn router(meter: Meter, health: Health) -> Router {
    Router::new()
        .route("/metrics", get(move || async move { text(&meter) }))
        .route(
            "/healthz",
            get(async || json(StatusCode::OK, r#"{"status":"alive"}"#)),
        )
        .route("/readyz", get(move || async move { ready(&health) }))
}

fn ready(health: &Health) -> Response {
    let not_ready = health.not_ready();
    if not_ready.is_empty() {
        return json(StatusCode::OK, r#"{"status":"ready"}"#);
    }
    let body = serde_json::json!({"status": "not ready", "not_ready": not_ready});
    json(StatusCode::SERVICE_UNAVAILABLE, &body.to_string())
}

fn json(status: StatusCode, text: &str) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        text.to_owned(),
    )
        .into_response()
}
