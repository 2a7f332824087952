//! What is said when a request does not get what it asks for: problem details (RFC 9457).

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// Seconds after which a sender may try again when something is away.
const RETRY_AFTER: &str = "5";
/// The same when it is only busy here.
const RETRY_SOON: &str = "1";

/// The kinds of problems. Their words are part of the interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The body cannot be read.
    Unreadable,
    /// A parameter of the address is unknown or wrong.
    BadParameter,
    /// There is no valid API key.
    Unauthorized,
    /// The API key does not open this.
    Forbidden,
    /// There is nothing here.
    NotFound,
    /// The path has other methods.
    MethodNotAllowed,
    /// The body came too slowly.
    Stalled,
    /// Something is too large.
    TooLarge,
    /// The body's type or encoding is not taken.
    Unsupported,
    /// Some events or facts break the contract.
    EventsRefused,
    /// Too many requests at once.
    Busy,
    /// More than a limit of rate lets through.
    Limited,
    /// Something that is needed is away.
    Away,
    /// The same, said by a look at readiness.
    NotReady,
    /// The answer would take longer than answers may.
    TooSlow,
    /// A defect: what is recorded cannot be read.
    Damaged,
}

impl Kind {
    /// Status, word and title.
    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Unreadable => (StatusCode::BAD_REQUEST, "unreadable", "The body cannot be read"),
            Self::BadParameter => (
                StatusCode::BAD_REQUEST,
                "bad-parameter",
                "A parameter cannot be used",
            ),
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
                "Some events or facts break the contract",
            ),
            Self::Busy => (StatusCode::TOO_MANY_REQUESTS, "busy", "Too many requests at once"),
            Self::Limited => (
                StatusCode::TOO_MANY_REQUESTS,
                "limited",
                "More than may be sent in this time",
            ),
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
            Self::TooSlow => (
                StatusCode::SERVICE_UNAVAILABLE,
                "too-slow",
                "The answer takes too long",
            ),
            Self::Damaged => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "damaged",
                "Something that is recorded cannot be read",
            ),
        }
    }
}

/// A problem on its way to the sender.
#[derive(Debug)]
pub struct Problem {
    kind: Kind,
    detail: String,
    members: Vec<(&'static str, Box<RawValue>)>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem and what is to be known of it.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Box<Self> {
        let headers = match kind {
            Kind::Unauthorized => Some((header::WWW_AUTHENTICATE, r#"Bearer realm="redline""#)),
            Kind::Away | Kind::NotReady => Some((header::RETRY_AFTER, RETRY_AFTER)),
            Kind::Busy => Some((header::RETRY_AFTER, RETRY_SOON)),
            _ => None,
        };
        let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
        Box::new(Self {
            kind,
            detail: detail.into(),
            members: Vec::new(),
            headers: headers.into_iter().collect(),
        })
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// With one more member, behind those that every problem has.
    #[must_use]
    pub fn with(mut self: Box<Self>, name: &'static str, value: &impl Serialize) -> Box<Self> {
        if let Ok(value) = to_raw_value(value) {
            self.members.push((name, value));
        }
        self
    }

    /// With one more header.
    #[must_use]
    pub fn with_header(mut self: Box<Self>, name: HeaderName, value: &'static str) -> Box<Self> {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// With the seconds after which the sender may come again.
    #[must_use]
    pub fn with_retry_after(mut self: Box<Self>, seconds: u64) -> Box<Self> {
        self.headers.push((header::RETRY_AFTER, seconds.into()));
        self
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (status, word, title) = self.kind.parts();
        let mut map = serializer.serialize_map(Some(4 + self.members.len()))?;
        map.serialize_entry("type", &format!("urn:redline:problem:{word}"))?;
        map.serialize_entry("title", title)?;
        map.serialize_entry("status", &status.as_u16())?;
        map.serialize_entry("detail", &self.detail)?;
        for (name, value) in &self.members {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl IntoResponse for Box<Problem> {
    fn into_response(self) -> Response {
        let json = serde_json::to_string(&self).unwrap_or_default();
        let mut response = Response::new(Body::from(json));
        *response.status_mut() = self.kind.parts().0;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        response
    }
}
