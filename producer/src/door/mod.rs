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
mod rest;
mod server;
mod settings;
mod taken;
#[cfg(test)]
mod tests;
mod traces;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::Uri;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};
use redline_http::limits::Reason;
use redline_http::{Keys, Limits};
use redline_telemetry::metrics::{Error, Meter};
use tokio::sync::{Semaphore, SemaphorePermit};

use self::health::Health;
use self::metrics::Metrics;
use self::outside::Outside;
use self::problem::{Kind, Problem};
use self::taken::Taken;

pub use self::outside::Services;
pub use self::server::{BoundDoor, ServeError, bind};
pub use self::settings::IngestSettings;

/// Asks for everything that a door counts, for the reference.
///
/// # Errors
/// When a name is that of another metric.
pub fn describe(meter: &Meter) -> Result<(), Error> {
    let settings = IngestSettings::default();
    Metrics::new(meter, |_| String::new(), settings.max_requests.get())?;
    Limits::new(settings.rates(), &meter.of("ingest")).map(|_| ())
}

/// What all requests share.
pub(crate) struct Door<O> {
    outside: O,
    settings: IngestSettings,
    requests: Semaphore,
    keys: Keys,
    limits: Arc<Limits>,
    health: Health,
    metrics: Metrics,
}

impl<O: Outside> Door<O> {
    fn new(settings: IngestSettings, outside: O, meter: &Meter) -> Result<Arc<Self>, Error> {
        let most = settings.max_requests.get().min(Semaphore::MAX_PERMITS);
        let metrics = Metrics::new(meter, |kind| outside.topic(kind).to_owned(), most)?;
        Ok(Arc::new(Self {
            outside,
            requests: Semaphore::new(most),
            keys: Keys::default(),
            limits: Arc::new(Limits::new(settings.rates(), &meter.of("ingest"))?),
            settings,
            health: Health::default(),
            metrics,
        }))
    }

    /// The door's own paths and `others`, which share its limits, its metrics and its words for what is not there.
    fn router(self: &Arc<Self>, others: Router) -> Router {
        let limit = axum::middleware::from_fn_with_state(Arc::clone(self), limit::<O>);
        let router = Router::new().merge(others.layer(limit).with_state(()));
        let router = Taken::PATHS.into_iter().fold(router, |router, (path, taken)| {
            router.route(path, self.takes(taken))
        });
        router
            .route("/healthz", get(health::healthz))
            .route("/readyz", get(health::readyz::<O>))
            .route("/metrics", get(metrics::metrics::<O>))
            .fallback(not_found)
            .method_not_allowed_fallback(method_not_allowed)
            .layer(Extension(Arc::clone(&self.limits)))
            .layer(axum::middleware::from_fn_with_state(
                Arc::clone(self),
                metrics::measure::<O>,
            ))
            .layer(axum::middleware::from_fn(traces::trace))
            .layer(axum::middleware::from_fn(rest::hear_out))
            .with_state(Arc::clone(self))
    }

    /// A place among the requests that are worked on.
    fn enter(&self) -> Result<SemaphorePermit<'_>, Box<Problem>> {
        self.requests.try_acquire().map_err(|_| {
            self.limits.count(Reason::Busy);
            let detail =
                "as many requests as this door takes at once are being worked on (ingest.max_requests)";
            Problem::new(Kind::Busy, detail)
        })
    }

    fn takes(self: &Arc<Self>, taken: Taken) -> MethodRouter<Arc<Self>> {
        let door = Arc::clone(self);
        post(move |request: Request| intake::take(Arc::clone(&door), taken, request))
    }
}

/// Lets no more requests through than the door works on at once.
async fn limit<O: Outside>(State(door): State<Arc<Door<O>>>, request: Request, next: Next) -> Response {
    match door.enter() {
        Ok(_in_flight) => next.run(request).await,
        Err(problem) => problem.into_response(),
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
