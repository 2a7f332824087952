//! Metrics as Prometheus reads them.

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Encoder as _, Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Everything in a registry, in Prometheus's text form.
pub fn text(registry: &Registry) -> Response {
    let mut text = Vec::new();
    let encoder = TextEncoder::new();
    if let Err(error) = encoder.encode(&registry.gather(), &mut text) {
        tracing::error!("metrics cannot be written: {error}");
    }
    ([(header::CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response()
}

/// Answers `GET /metrics` until told to stop, for roles that answer nothing else.
///
/// # Errors
/// What the system says of the listener.
pub async fn serve(
    listener: TcpListener,
    registry: Registry,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new().route("/metrics", get(move || async move { text(&registry) }));
    axum::serve(listener, router)
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await
}
