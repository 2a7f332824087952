//! What the door counts.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use prometheus::{HistogramVec, IntCounterVec, IntGauge, IntGaugeVec};
use redline_schemas::EventKind;
use redline_telemetry::metrics::messaging::Sent;
use redline_telemetry::metrics::{Error, Meter};

use super::Door;
use super::outside::Outside;
use super::taken::Taken;
use crate::window::Tally;

/// Upper bounds of the durations in seconds: Kafka's round trip at one end, long streams at the other.
const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 2.5, 10.0, 30.0, 120.0];
/// The only scheme that the door speaks; TLS ends before it.
const SCHEME: &str = "http";

pub(crate) struct Metrics {
    meter: Meter,
    events: IntCounterVec,
    requests: HistogramVec,
    active: IntGaugeVec,
    sent: Sent,
}

impl Metrics {
    /// Asks for what the door counts.
    pub(crate) fn new(
        meter: &Meter,
        topic: impl Fn(EventKind) -> String,
        limit: usize,
    ) -> Result<Self, Error> {
        let meter = meter.of("ingest");
        let metrics = Self {
            events: meter.counters(
                "redline_ingest_events_total",
                "Events and facts that came through the HTTP door, by kind and outcome: `accepted` (Kafka has \
                 acknowledged them) or `refused`.",
                &["kind", "outcome"],
            )?,
            requests: meter.histograms(
                "http_server_request_duration_seconds",
                "Time until a request was answered. A path that nobody serves has the route `none`.",
                &["http_request_method", "http_route", "http_response_status_code", "url_scheme"],
                &BOUNDS,
            )?,
            active: meter.gauges(
                "http_server_active_requests",
                "Requests that are worked on.",
                &["http_request_method", "url_scheme"],
            )?,
            sent: Sent::new(&meter)?,
            meter: meter.clone(),
        };
        meter
            .gauge(
                "redline_ingest_requests_limit",
                "Requests that the door works on at once, at most (ingest.max_requests); more are answered 429.",
            )?
            .set(i64::try_from(limit).unwrap_or(i64::MAX));
        // What never happened is shown as 0, so that its first time is seen as a rise.
        for (_, taken) in Taken::PATHS {
            for outcome in ["accepted", "refused"] {
                metrics.events.with_label_values(&[taken.name(), outcome]);
            }
        }
        for kind in EventKind::ALL {
            metrics.sent.expect(&topic(kind));
        }
        metrics.active.with_label_values(&["POST", SCHEME]);
        Ok(metrics)
    }

    #[cfg(test)]
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.meter.text().1).unwrap()
    }

    pub(crate) fn count(&self, taken: Taken, topic: &str, tally: &Tally) {
        for (outcome, number) in [("accepted", tally.accepted), ("refused", tally.refused)] {
            self.events
                .with_label_values(&[taken.name(), outcome])
                .inc_by(number);
        }
        self.sent.add(topic, tally.accepted);
    }
}

/// A request that is worked on; ended also when its sender goes away.
struct Active(IntGauge);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A method as a label: names that nobody knows are one.
fn method_of(request: &Request) -> &'static str {
    match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "_OTHER",
    }
}

/// Measures every request.
pub(crate) async fn measure<O: Outside>(
    State(door): State<Arc<Door<O>>>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let method = method_of(&request);
    let active = door.metrics.active.with_label_values(&[method, SCHEME]);
    active.inc();
    let _active = Active(active);
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    // A path that nobody serves is one label, whatever it is.
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    door.metrics
        .requests
        .with_label_values(&[method, route, response.status().as_str(), SCHEME])
        .observe(began.elapsed().as_secs_f64());
    response
}

/// `GET /metrics`
pub(crate) async fn metrics<O: Outside>(State(door): State<Arc<Door<O>>>) -> Response {
    redline_http::metrics::text(&door.metrics.meter)
}
