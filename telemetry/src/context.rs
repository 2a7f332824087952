//! Where a trace goes on: in the headers of requests and of Kafka's records, by W3C's recommendation.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
pub use opentelemetry::trace::SpanContext;
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Headers of a record, in order.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

/// The header that names a trace and the span that a record or request comes from.
pub const PARENT: &str = "traceparent";
/// What vendors add to it.
pub const STATE: &str = "tracestate";

/// What is longer is left out.
const LONGEST_STATE: usize = 512;

static IS_ON: AtomicBool = AtomicBool::new(false);
static W3C: LazyLock<TraceContextPropagator> = LazyLock::new(TraceContextPropagator::new);

/// Whether this process makes traces.
pub fn is_on() -> bool {
    IS_ON.load(Ordering::Relaxed)
}

pub(crate) fn turn_on() {
    IS_ON.store(true, Ordering::Relaxed);
}

/// The values of both headers.
struct Values<'h> {
    parent: Option<&'h str>,
    state: Option<&'h str>,
}

impl Extractor for Values<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        match name {
            PARENT => self.parent,
            _ => self.state.filter(|state| state.len() <= LONGEST_STATE),
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![PARENT, STATE]
    }
}

/// The context that headers carry, by whatever answers a header's value; none when there is none or it is malformed.
pub fn of<'h>(header: impl Fn(&str) -> Option<&'h str>) -> Option<SpanContext> {
    let values = Values {
        parent: header(PARENT),
        state: header(STATE),
    };
    let context = W3C.extract_with_context(&Context::new(), &values);
    let context = context.span().span_context().clone();
    context.is_valid().then_some(context)
}

/// The context that a record carries, if it is in a trace that is kept. Of all others only two bytes are looked at.
pub fn kept(headers: &[(String, Option<Vec<u8>>)]) -> Option<SpanContext> {
    /// Where the flags of version 00 stand, and where later versions have them too.
    const FLAGS: std::ops::Range<usize> = 53..55;
    let value = |name: &str| {
        let (_, value) = headers.iter().find(|(found, _)| found == name)?;
        std::str::from_utf8(value.as_deref()?).ok()
    };
    let flags = value(PARENT)?.get(FLAGS)?;
    u8::from_str_radix(flags, 16)
        .ok()
        .filter(|flags| flags & 1 == 1)?;
    of(value).filter(SpanContext::is_sampled)
}

/// The context of a span; none when it is not in a trace that is kept.
pub fn of_span(span: &Span) -> Option<SpanContext> {
    if span.is_disabled() {
        return None;
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_sampled().then_some(context)
}

/// Headers by which others go on from a span; none when it is not in a trace that is kept.
pub fn headers(span: &Span) -> Headers {
    let Some(context) = of_span(span) else {
        return Headers::new();
    };
    let mut headers = Headers::with_capacity(2);
    let parent = format!("00-{}-{}-01", context.trace_id(), context.span_id());
    headers.push((PARENT.to_owned(), Some(parent.into_bytes())));
    let state = context.trace_state().header();
    if !state.is_empty() {
        headers.push((STATE.to_owned(), Some(state.into_bytes())));
    }
    headers
}

/// Makes a span that was just made go on from another process's. Before it is entered, or asked for its context.
pub fn go_on(span: &Span, from: SpanContext) {
    // Nothing to do where spans are off.
    let _ = span.set_parent(Context::new().with_remote_span_context(from));
}

/// Ties a span to another one that is not its parent. Links that decide whether the span is kept come before it is
/// entered, or asked for its context.
pub fn link(span: &Span, to: &SpanContext) {
    span.add_link(to.clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT_VALUE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn record(parent: &str) -> Headers {
        vec![
            ("other".to_owned(), None),
            (PARENT.to_owned(), Some(parent.as_bytes().to_vec())),
            (STATE.to_owned(), Some(b"vendor=1".to_vec())),
        ]
    }

    #[test]
    fn a_record_in_a_trace_that_is_kept_has_its_context() {
        let context = kept(&record(PARENT_VALUE)).unwrap();
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span_id().to_string(), "00f067aa0ba902b7");
        assert_eq!(context.trace_state().header(), "vendor=1");
        assert!(context.is_remote());
    }

    #[test]
    fn what_is_malformed_or_not_kept_is_no_context() {
        for parent in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-1",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
            "éééééééééééééééééééééééééééé-01",
        ] {
            assert_eq!(kept(&record(parent)), None, "{parent}");
        }
        assert_eq!(kept(&[]), None);
        assert_eq!(kept(&[(PARENT.to_owned(), Some(vec![0xff; 60]))]), None);
        assert_eq!(kept(&[(PARENT.to_owned(), None)]), None);
    }

    #[test]
    fn a_state_that_is_too_long_is_left_out() {
        let long = format!("vendor={}", "x".repeat(LONGEST_STATE));
        let context = of(|name| match name {
            PARENT => Some(PARENT_VALUE),
            _ => Some(&long),
        });
        assert_eq!(context.unwrap().trace_state().header(), "");
    }
}
