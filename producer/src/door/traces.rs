//! The span of a request, which goes on from its sender's, and from which its records go on.
//!
//! It has the route and never the path, no query, no address and no header: those may name people, rows and keys.

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;
use redline_telemetry::context::{self, Headers, PARENT, STATE};
use tracing::field::Empty;
use tracing::{Instrument as _, Span, info_span};

/// Makes a span of every request but those that machines send every few seconds.
pub(crate) async fn trace(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let span = match route {
        Some("/healthz" | "/readyz" | "/metrics") => Span::none(),
        route => span(method(request.method()), route),
    };
    if span.is_disabled() {
        return next.run(request).await;
    }
    if let Some(sender) = context::of(|name| request.headers().get(name)?.to_str().ok()) {
        context::go_on(&span, sender);
    }
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", status.as_str());
    }
    response
}

fn span(method: &'static str, route: Option<&str>) -> Span {
    let span = info_span!(
        parent: None,
        "request",
        otel.name = Empty,
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        url.scheme = "http",
        error.type = Empty,
    );
    match route {
        Some(route) => span.record(
            "otel.name",
            tracing::field::display(format_args!("{method} {route}")),
        ),
        None => span.record("otel.name", method),
    };
    span
}

/// A method that nobody has heard of may be any text.
fn method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "_OTHER",
    }
}

/// The headers of a request's records: those of the span in which they are sent, where it is kept; else the sender's own
/// trace context, handed on as it is when it has the form of W3C's recommendation.
pub(crate) fn headers(sending: &Span, sender: &HeaderMap) -> Headers {
    const PARENT_LENGTH: usize = 55;
    const MAX_STATE: usize = 512;
    let own = context::headers(sending);
    if !own.is_empty() {
        return own;
    }
    let header = |name: &str| sender.get(name).and_then(|value| value.to_str().ok());
    let Some(parent) = header(PARENT).filter(|parent| {
        parent.len() == PARENT_LENGTH && parent.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
    }) else {
        return Headers::new();
    };
    let state = header(STATE).filter(|state| state.len() <= MAX_STATE);
    [(PARENT, Some(parent)), (STATE, state)]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), Some(value?.as_bytes().to_vec()))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handed_on(parent: &str, state: &str) -> Headers {
        let mut sender = HeaderMap::new();
        sender.insert(PARENT, parent.parse().unwrap());
        sender.insert(STATE, state.parse().unwrap());
        headers(&Span::none(), &sender)
    }

    #[test]
    fn without_traces_of_our_own_the_senders_context_is_handed_on_as_it_is() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        let both = [(PARENT, parent), (STATE, "vendor=1")];
        let both = both.map(|(name, value)| (name.to_owned(), Some(value.as_bytes().to_vec())));
        assert_eq!(handed_on(parent, "vendor=1"), both);
        assert_eq!(handed_on(parent, &"x".repeat(513)), both[..1]);
    }

    #[test]
    fn a_context_of_another_form_is_not_handed_on() {
        for parent in [
            "",
            "00-1-2-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-xx",
        ] {
            assert_eq!(handed_on(parent, "vendor=1"), []);
        }
    }
}
