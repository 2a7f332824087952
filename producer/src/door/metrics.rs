//! What the door counts.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

use super::Door;
use super::outside::Outside;
use super::taken::Taken;
use crate::window::Tally;

/// Upper bounds of the durations in seconds: Kafka's round trip at one end, long streams at the other.
const BUCKETS: [f64; 8] = [0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 30.0, 120.0];

pub(crate) struct Metrics {
    registry: Registry,
    events: IntCounterVec,
    requests: HistogramVec,
}

impl Metrics {
    /// Registers what the door counts; fails when the registry has another door already.
    pub(crate) fn new(registry: Registry) -> prometheus::Result<Self> {
        let events = IntCounterVec::new(
            Opts::new(
                "redline_ingest_events_total",
                "Events and facts that came through the HTTP door, by kind and outcome.",
            ),
            &["kind", "outcome"],
        )?;
        let requests = HistogramVec::new(
            HistogramOpts::new(
                "redline_ingest_request_duration_seconds",
                "Time until a request was answered, by route and status.",
            )
            .buckets(BUCKETS.to_vec()),
            &["route", "status"],
        )?;
        registry.register(Box::new(events.clone()))?;
        registry.register(Box::new(requests.clone()))?;
        Ok(Self {
            registry,
            events,
            requests,
        })
    }

    #[cfg(test)]
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn count(&self, taken: Taken, tally: &Tally) {
        for (outcome, number) in [("accepted", tally.accepted), ("refused", tally.refused)] {
            self.events
                .with_label_values(&[taken.name(), outcome])
                .inc_by(number);
        }
    }
}

/// Measures every request.
pub(crate) async fn measure<O: Outside>(
    State(door): State<Arc<Door<O>>>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    // A path that nobody serves is one label, whatever it is.
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    door.metrics
        .requests
        .with_label_values(&[route, response.status().as_str()])
        .observe(begun.elapsed().as_secs_f64());
    response
}

/// `GET /metrics`
pub(crate) async fn metrics<O: Outside>(State(door): State<Arc<Door<O>>>) -> Response {
    redline_http::metrics::text(&door.metrics.registry)
}
