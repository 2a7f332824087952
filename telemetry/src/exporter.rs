//! Sending spans to the collector.
//!
//! OpenTelemetry's thread hands over batches and is no part of the tokio runtime that the clients need: so each batch
//! is sent by a task. That the collector is away is said once, and again once when it is back; meanwhile what does not
//! fit into the queue is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_otlp::SpanExporter as Sender;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::runtime::Handle;

/// How long the collector may take for one batch, attempts in a row included.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// An exporter whose batches are sent on a runtime.
#[derive(Debug)]
pub(crate) struct Exporter {
    sender: Arc<Sender>,
    runtime: Handle,
    /// Where it sends to, for people.
    place: String,
    is_away: AtomicBool,
}

impl Exporter {
    pub(crate) fn new(sender: Sender, place: String) -> Self {
        Self {
            sender: Arc::new(sender),
            runtime: Handle::current(),
            place,
            is_away: AtomicBool::new(false),
        }
    }

    fn tell(&self, sent: &OTelSdkResult) {
        let place = &self.place;
        match sent {
            Ok(()) => {
                if self.is_away.swap(false, Ordering::Relaxed) {
                    tracing::info!(place, "the collector of traces takes them again");
                }
            }
            Err(error) => {
                if !self.is_away.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        place,
                        %error,
                        "the collector of traces does not take them (traces.endpoint); until it does they are dropped"
                    );
                }
            }
        }
    }
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let sender = Arc::clone(&self.sender);
        let sending = self.runtime.spawn(async move {
            match tokio::time::timeout(PATIENCE, sender.export(batch)).await {
                Ok(sent) => sent,
                Err(_) => Err(OTelSdkError::Timeout(PATIENCE)),
            }
        });
        let sent = sending
            .await
            .unwrap_or_else(|error| Err(OTelSdkError::InternalFailure(error.to_string())));
        self.tell(&sent);
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.sender.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        // Set before the first batch is sent, while nobody else has the sender.
        if let Some(sender) = Arc::get_mut(&mut self.sender) {
            sender.set_resource(resource);
        }
    }
}
