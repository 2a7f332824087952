//! Spans of publishing.
//!
//! One span stands for all records of a request, a file or a command, however many these are: a span each would cost
//! more than the records. Every record's headers name it, so that what becomes of the record goes on from there.

use redline_telemetry::context::{self, Headers};
use tracing::field::Empty;
use tracing::{Span, info_span};

/// The span of sending records to a topic.
pub fn sending(topic: &str) -> Span {
    info_span!(
        "send",
        otel.name = %format_args!("send {topic}"),
        otel.kind = "producer",
        otel.status_code = Empty,
        messaging.system = "kafka",
        messaging.operation.name = "send",
        messaging.operation.type = "send",
        messaging.destination.name = topic,
        messaging.batch.message_count = Empty,
    )
}

/// The headers of records that are sent in a span: none when it is not kept.
pub fn headers(sending: &Span) -> Headers {
    context::headers(sending)
}

/// Says in the span how many records Kafka has, and whether that is all that were to be sent.
pub fn settled(sending: &Span, accepted: u64, is_whole: bool) {
    sending.record("messaging.batch.message_count", accepted);
    if !is_whole {
        sending.record("otel.status_code", "ERROR");
    }
}
