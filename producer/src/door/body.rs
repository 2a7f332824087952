//! Bodies: what they say they are, and their bytes piece by piece.

use std::pin::Pin;
use std::time::Duration;

use async_compression::tokio::bufread::GzipDecoder;
use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::{HeaderMap, header};
use futures_util::TryStreamExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_util::bytes::BytesMut;
use tokio_util::io::StreamReader;

use super::problem::{Kind, Problem};

/// Bytes that are decompressed at once.
const PIECE: usize = 16 * 1024;

/// What a body says that it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// One object or an array.
    Json,
    /// One object a line.
    Lines,
}

impl Form {
    /// Reads `Content-Type`.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Box<Problem>> {
        let text = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let (media_type, parameters) = match text.map(|text| text.split_once(';').unwrap_or((text, ""))) {
            Some((media_type, parameters)) => (media_type.trim(), parameters),
            None => ("", ""),
        };
        let form = if media_type.eq_ignore_ascii_case("application/json") {
            Self::Json
        } else if media_type.eq_ignore_ascii_case("application/x-ndjson") {
            Self::Lines
        } else {
            let detail = "Content-Type must be application/json (one object or an array) or application/x-ndjson \
                          (one object a line)";
            return Err(Problem::new(Kind::Unsupported, detail));
        };
        if !is_utf8(parameters) {
            return Err(Problem::new(Kind::Unsupported, "only the charset UTF-8 is taken"));
        }
        Ok(form)
    }
}

/// How a body is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Coding {
    Identity,
    Gzip,
}

impl Coding {
    /// Reads `Content-Encoding`.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Box<Problem>> {
        let mut named = headers.get_all(header::CONTENT_ENCODING).iter();
        let text = named
            .next()
            .map_or("identity", |value| value.to_str().unwrap_or_default());
        let only = named.next().is_none();
        if only && text.eq_ignore_ascii_case("identity") {
            return Ok(Self::Identity);
        }
        if only && (text.eq_ignore_ascii_case("gzip") || text.eq_ignore_ascii_case("x-gzip")) {
            return Ok(Self::Gzip);
        }
        let detail = "only gzip is taken as Content-Encoding, once";
        Err(Problem::new(Kind::Unsupported, detail).with_header(header::ACCEPT_ENCODING, "gzip"))
    }
}

/// Whether no parameter names another charset than UTF-8.
fn is_utf8(parameters: &str) -> bool {
    parameters.split(';').all(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        !name.trim().eq_ignore_ascii_case("charset")
            || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
    })
}

/// Why a body could not be read to its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum BodyError {
    /// No bytes came for so long.
    Stalled(Duration),
    /// The connection or the compressed data ended early, or is damaged.
    CutOff(String),
    /// More than a limit, which is named.
    TooLarge(String),
}

impl BodyError {
    pub(crate) fn problem(self) -> Box<Problem> {
        match self {
            Self::Stalled(idle) => Problem::new(
                Kind::Stalled,
                format!("no bytes of the body came for {} s", idle.as_secs()),
            ),
            Self::CutOff(reason) => Problem::new(
                Kind::Unreadable,
                format!("the body ended early or its compression is damaged: {reason}"),
            ),
            Self::TooLarge(detail) => Problem::new(Kind::TooLarge, detail),
        }
    }
}

/// The bytes of a body, decompressed.
///
/// tower-http's layer is not used for this: it reads the first member of a gzip file only and passes over the
/// rest in silence, so that lines would be lost behind a 202.
pub(crate) struct Chunks {
    source: Source,
    idle: Duration,
}

enum Source {
    Identity(BodyDataStream),
    Gzip(Pin<Box<dyn AsyncRead + Send>>),
}

impl Chunks {
    pub(crate) fn new(body: Body, coding: Coding, idle: Duration) -> Self {
        let stream = body.into_data_stream();
        let source = match coding {
            Coding::Identity => Source::Identity(stream),
            Coding::Gzip => {
                let mut decoder = GzipDecoder::new(StreamReader::new(stream.map_err(std::io::Error::other)));
                decoder.multiple_members(true);
                Source::Gzip(Box::pin(decoder))
            }
        };
        Self { source, idle }
    }

    /// The next piece; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        // A body that is always there must not keep this thread from all other requests.
        tokio::task::coop::consume_budget().await;
        match tokio::time::timeout(self.idle, self.source.next()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(reason)) => Err(BodyError::CutOff(reason)),
            Err(_) => Err(BodyError::Stalled(self.idle)),
        }
    }

    /// Everything, up to a limit in bytes.
    pub(crate) async fn whole(mut self, limit: usize) -> Result<Vec<u8>, BodyError> {
        let mut whole = Vec::new();
        while let Some(chunk) = self.next().await? {
            if whole.len() + chunk.len() > limit {
                return Err(BodyError::TooLarge(format!(
                    "a JSON object or array may have {limit} bytes (ingest.max_body_bytes); NDJSON \
                     (application/x-ndjson) may have any length"
                )));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole)
    }
}

impl Source {
    async fn next(&mut self) -> Result<Option<Bytes>, String> {
        match self {
            Self::Identity(stream) => stream.try_next().await.map_err(|error| error.to_string()),
            Self::Gzip(decoder) => {
                let mut piece = BytesMut::with_capacity(PIECE);
                let read = decoder.read_buf(&mut piece).await;
                let read = read.map_err(|error| error.to_string())?;
                Ok((read > 0).then(|| piece.freeze()))
            }
        }
    }
}
