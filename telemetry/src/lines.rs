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

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::Layer as _;
    use tracing_subscriber::fmt::format::JsonFields;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::logs::only_lines;
    use crate::traces::only_own_spans;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Two lines, the second within a span; and the trace of that.
    fn lines(format: WithTrace) -> (Vec<String>, String) {
        let written = Written::default();
        let writer = written.clone();
        let is_json = matches!(format, WithTrace::Json(_));
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .event_format(format);
        let wanted = only_lines(tracing_subscriber::EnvFilter::new("info"));
        let lines = match is_json {
            true => lines.fmt_fields(JsonFields::new()).with_filter(wanted).boxed(),
            false => lines.with_filter(wanted).boxed(),
        };
        let spans = tracing_opentelemetry::layer()
            .with_tracer(SdkTracerProvider::default().tracer("test"))
            .with_filter(only_own_spans());
        let subscriber = tracing_subscriber::registry().with(spans).with(lines);
        let trace = tracing::subscriber::with_default(subscriber, || {
            tracing::info!(number = 7, "outside");
            let span = tracing::info_span!("some", secret = "hunter2");
            let _within = span.enter();
            tracing::info!(number = 7, "within");
            crate::context::of_span(&span).unwrap().trace_id().to_string()
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert!(
            !text.contains("hunter2"),
            "a span's fields are no part of a line: {text}"
        );
        (text.lines().map(str::to_owned).collect(), trace)
    }

    #[test]
    fn a_json_line_within_a_span_has_the_ids_of_its_trace_and_one_outside_has_none() {
        let (lines, trace) = lines(WithTrace::Json(Format::default().json().flatten_event(true)));
        let read = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        let (outside, within) = (read(&lines[0]), read(&lines[1]));
        assert_eq!(
            (&outside["message"], &outside["number"]),
            (&"outside".into(), &7.into())
        );
        assert!(outside.get("trace_id").is_none());
        assert_eq!(
            (&within["message"], &within["number"]),
            (&"within".into(), &7.into())
        );
        assert_eq!(within["trace_id"], trace.as_str());
        assert_eq!(within["span_id"].as_str().map(str::len), Some(16));
    }

    #[test]
    fn a_line_for_people_within_a_span_ends_with_its_trace() {
        let (lines, trace) = lines(WithTrace::Text(
            Format::default().with_ansi(false).with_target(false),
        ));
        assert!(lines[0].ends_with("outside number=7"), "{}", lines[0]);
        assert!(
            lines[1].ends_with(&format!("within number=7 trace={trace}")),
            "{}",
            lines[1]
        );
        assert_eq!(lines.len(), 2);
    }
}
