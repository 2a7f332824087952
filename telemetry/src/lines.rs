//! Log lines that say in which trace they were written.
//!
//! tracing-subscriber's formats know spans by their names and fields, not by the ids that a trace has elsewhere, and
//! no library adds those: so these two wrap its formats and add the ids at the end of each line. What is written
//! outside of a span, or without traces, stays as it is.

use std::fmt;

use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// A format of tracing-subscriber, and the trace at the end of its lines.
pub(crate) enum WithTrace {
    /// ` trace=` and the id, by which a trace is looked up.
    Text(Format<Full>),
    /// The fields `trace_id` and `span_id`.
    Json(Format<Json>),
}

impl<S, N> FormatEvent<S, N> for WithTrace
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // The layer of traces makes the context of the present span the current one.
        let trace = opentelemetry::Context::map_current(|now| now.span().span_context().clone());
        if !trace.is_valid() {
            return match self {
                Self::Text(format) => format.format_event(context, writer, event),
                Self::Json(format) => format.format_event(context, writer, event),
            };
        }
        let mut line = String::with_capacity(256);
        match self {
            Self::Text(format) => format.format_event(context, Writer::new(&mut line), event)?,
            Self::Json(format) => format.format_event(context, Writer::new(&mut line), event)?,
        }
        match self {
            Self::Text(_) => add_to_text(&line, &trace, &mut writer),
            Self::Json(_) => add_to_json(&line, &trace, &mut writer),
        }
    }
}

fn add_to_text(line: &str, trace: &SpanContext, writer: &mut Writer<'_>) -> fmt::Result {
    let line = line.trim_end_matches('\n');
    writeln!(writer, "{line} trace={}", trace.trace_id())
}

fn add_to_json(line: &str, trace: &SpanContext, writer: &mut Writer<'_>) -> fmt::Result {
    let line = line.trim_end_matches('\n');
    match line.strip_suffix('}') {
        Some(fields) => {
            let (trace_id, span_id) = (trace.trace_id(), trace.span_id());
            writeln!(
                writer,
                r#"{fields},"trace_id":"{trace_id}","span_id":"{span_id}"}}"#
            )
        }
        None => writeln!(writer, "{line}"),
    }
}
