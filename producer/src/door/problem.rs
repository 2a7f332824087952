//! What the door says when it does not answer 202: problem details (RFC 9457).

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::window::{LineError, Tally};

/// Seconds after which a sender may try again when something is away.
const RETRY_AFTER: &str = "5";
/// The same when the door itself is busy.
const RETRY_SOON: &str = "1";

/// The kinds of problems. Their words are part of the interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Unreadable,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Stalled,
    TooLarge,
    Unsupported,
    EventsRefused,
    Busy,
    Away,
    NotReady,
}

impl Kind {
    /// Status, word and title.
    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Unreadable => (StatusCode::BAD_REQUEST, "unreadable", "The body cannot be read"),
            Self::Unauthorized => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "A valid API key is needed",
            ),
            Self::Forbidden => (
                StatusCode::FORBIDDEN,
                "forbidden",
                "The API key does not open this",
            ),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is nothing here"),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "This path has other methods",
            ),
            Self::Stalled => (StatusCode::REQUEST_TIMEOUT, "stalled", "The body came too slowly"),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                "Something is too large",
            ),
            Self::Unsupported => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported",
                "The body's type or encoding is not taken here",
            ),
            Self::EventsRefused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "events-refused",
                "Some events break the contract",
            ),
            Self::Busy => (StatusCode::TOO_MANY_REQUESTS, "busy", "Too many requests at once"),
            Self::Away => (
                StatusCode::SERVICE_UNAVAILABLE,
                "away",
                "Something that is needed is away",
            ),
            Self::NotReady => (
                StatusCode::SERVICE_UNAVAILABLE,
                "not-ready",
                "Something that is needed is away",
            ),
        }
    }
}

/// A problem on its way to the sender.
#[derive(Debug)]
pub(crate) struct Problem {
    kind: Kind,
    detail: String,
    tally: Option<Tally>,
    resume_line: Option<u64>,
    not_ready: Vec<&'static str>,
    headers: Vec<(HeaderName, &'static str)>,
}

/// The JSON of a problem, in the order of its members.
#[derive(Serialize)]
struct Members<'a> {
    #[serde(rename = "type")]
    uri: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resume_line: Option<u64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    not_ready: &'a [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<&'a [LineError]>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [LineError],
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Box<Self> {
        let headers = match kind {
            Kind::Unauthorized => vec![(header::WWW_AUTHENTICATE, r#"Bearer realm="redline""#)],
            Kind::Away | Kind::NotReady => vec![(header::RETRY_AFTER, RETRY_AFTER)],
            Kind::Busy => vec![(header::RETRY_AFTER, RETRY_SOON)],
            _ => Vec::new(),
        };
        Box::new(Self {
            kind,
            detail: detail.into(),
            tally: None,
            resume_line: None,
            not_ready: Vec::new(),
            headers,
        })
    }

    /// With what became of the lines.
    pub(crate) fn with_tally(mut self: Box<Self>, tally: Tally) -> Box<Self> {
        self.tally = Some(tally);
        self
    }

    /// With the line to go on from.
    pub(crate) fn with_resume_line(mut self: Box<Self>, line: u64) -> Box<Self> {
        self.resume_line = Some(line);
        self
    }

    /// With the names of what is not ready.
    pub(crate) fn with_not_ready(mut self: Box<Self>, names: Vec<&'static str>) -> Box<Self> {
        self.not_ready = names;
        self
    }

    pub(crate) fn with_header(mut self: Box<Self>, name: HeaderName, value: &'static str) -> Box<Self> {
        self.headers.push((name, value));
        self
    }

    fn json(&self) -> String {
        let (status, word, title) = self.kind.parts();
        let tally = self.tally.as_ref();
        let members = Members {
            uri: format!("urn:redline:problem:{word}"),
            title,
            status: status.as_u16(),
            detail: &self.detail,
            accepted: tally.map(|tally| tally.accepted),
            refused: tally.map(|tally| tally.refused),
            resume_line: self.resume_line,
            not_ready: &self.not_ready,
            errors: tally.map(|tally| tally.errors.as_slice()),
            warnings: tally.map(|tally| tally.warnings.as_slice()).unwrap_or_default(),
        };
        serde_json::to_string(&members).unwrap_or_default()
    }
}

impl IntoResponse for Box<Problem> {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.json()));
        *response.status_mut() = self.kind.parts().0;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        for (name, value) in self.headers {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
