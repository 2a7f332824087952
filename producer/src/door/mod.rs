//! The HTTP door: events and facts come in as JSON or NDJSON and are answered when Kafka has acknowledged them.
//!
//! Every event of a request ends as accepted or as named in the answer; where the request breaks off, the answer
//! says from which line to go on. Sending anything again is harmless.

mod array;
mod auth;
mod body;
mod health;
mod intake;
mod metrics;
mod outside;
mod problem;
mod server;
mod settings;
mod taken;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use tokio::sync::Semaphore;

use self::auth::Keys;
use self::health::Health;
use self::metrics::Metrics;
use self::outside::Outside;
use self::problem::{Kind, Problem};
use self::taken::Taken;

pub use self::outside::Services;
pub use self::server::{BoundDoor, ServeError, bind, serve};
pub use self::settings::IngestSettings;

/// What all requests share.
pub(crate) struct Door<O> {
    outside: O,
    settings: IngestSettings,
    requests: Semaphore,
    keys: Keys,
    health: Health,
    metrics: Metrics,
}

impl<O: Outside> Door<O> {
    fn new(
        settings: IngestSettings,
        outside: O,
        registry: prometheus::Registry,
    ) -> prometheus::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            outside,
            requests: Semaphore::new(settings.max_requests.get().min(Semaphore::MAX_PERMITS)),
            settings,
            keys: Keys::default(),
            health: Health::default(),
            metrics: Metrics::new(registry)?,
        }))
    }

    fn router(self: &Arc<Self>) -> Router {
        let router = Router::new();
        let router = Taken::PATHS.into_iter().fold(router, |router, (path, taken)| {
            router.route(path, self.takes(taken))
        });
        router
            .route("/healthz", get(health::healthz))
            .route("/readyz", get(health::readyz::<O>))
            .route("/metrics", get(metrics::metrics::<O>))
            .fallback(not_found)
            .method_not_allowed_fallback(method_not_allowed)
            .layer(axum::middleware::from_fn_with_state(
                Arc::clone(self),
                metrics::measure::<O>,
            ))
            .with_state(Arc::clone(self))
    }

    fn takes(self: &Arc<Self>, taken: Taken) -> MethodRouter<Arc<Self>> {
        let door = Arc::clone(self);
        post(move |request: Request| intake::take(Arc::clone(&door), taken, request))
    }
}

async fn not_found(uri: Uri) -> Response {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(Kind::NotFound, format!("there is no {path} here")).into_response()
}

async fn method_not_allowed() -> Response {
    let detail = "this path has another method; `Allow` names it";
    Problem::new(Kind::MethodNotAllowed, detail).into_response()
}
