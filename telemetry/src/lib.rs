//! Telemetry: what a running Redline says about itself. Logs, traces over OTLP, metrics and health.
//!
//! A process starts it once, before anything else, and ends it last:
//!
//! ```no_run
//! # use redline_telemetry::{logs::{Destination, LogSettings}, traces::TraceSettings};
//! # async fn run() -> Result<(), redline_telemetry::StartError> {
//! let telemetry = redline_telemetry::start(&LogSettings::default(), &TraceSettings::default(), "work", Destination::ErrorStream)?;
//! // … the role …
//! telemetry.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Spans are for traces and lines are for logs: a span is never a line, nor a line part of a trace. What ties them
//! together is the trace id at the end of every line that was written inside of a span.

pub mod context;
mod exporter;
pub mod health;
mod lines;
pub mod logs;
pub mod metrics;
mod sampling;
pub mod traces;

use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use self::logs::{Destination, LogSettings};
use self::traces::{TraceSettings, Traces};

/// Why telemetry could not be started; names the setting.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub(crate) String);

/// Telemetry that runs until its process ends.
#[must_use = "spans that are not sent yet are lost without `shutdown`"]
pub struct Telemetry {
    traces: Option<Traces>,
}

/// Starts logs, and traces where an endpoint is set. `role` is what the process is, such as `ingest`; `destination`
/// is where logs go. Called once, inside of a tokio runtime.
///
/// # Errors
/// When a setting or `RUST_LOG` cannot be used.
pub fn start(
    log: &LogSettings,
    traces: &TraceSettings,
    role: &'static str,
    destination: Destination,
) -> Result<Telemetry, StartError> {
    let lines = logs::layer(log, destination)?;
    let traces = Traces::start(traces, role)?;
    let spans = traces.as_ref().map(|traces| {
        tracing_opentelemetry::layer()
            .with_tracer(traces.tracer())
            // Where in our code a span was made, and in which thread, tells nobody anything; nor do lines belong to it.
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false)
            .with_filter(traces::only_own_spans())
    });
    tracing_subscriber::registry()
        .with(spans)
        .with(lines)
        .try_init()
        .map_err(|error| StartError(format!("logging was started before: {error}")))?;
    Ok(Telemetry { traces })
}

impl Telemetry {
    /// Sends the spans that are left, for half a second at most: a collector that is away holds nobody up.
    pub async fn shutdown(self) {
        if let Some(traces) = self.traces {
            traces.shutdown().await;
        }
    }
}
