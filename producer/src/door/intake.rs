//! From a request to events in Kafka: open, read, check, publish, answer.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use redline_http::limits::{KeyLimits, Reason};
use redline_http::{Caller, Limits};
use redline_schemas::{Event, EventKind, FieldError};
use redline_store::keys::StoredKey;
use redline_telemetry::context::Headers;
use tracing::Instrument as _;

use super::Door;
use super::array;
use super::auth::{self, speaks_for};
use super::body::{BodyError, Chunks, Coding, Form};
use super::outside::Outside;
use super::problem::{Kind, Problem, Told as _};
use super::taken::Taken;
use super::traces;
use crate::lines::{Line, Lines};
use crate::publisher::Publish;
use crate::traces::{sending, settled};
use crate::window::{Bounds, Broken, Lane, Refused, Tally, Window, whole_line};

/// Why reading ended before the end.
enum Stopped {
    /// The request is wrong as a whole; nothing was published.
    Whole(Box<Problem>),
    /// The body ended before its end, in this line.
    Body { error: BodyError, line: u64 },
    /// Kafka went away.
    Kafka(Broken),
}

impl From<Broken> for Stopped {
    fn from(broken: Broken) -> Self {
        Self::Kafka(broken)
    }
}

/// `POST` to one of [`Taken::PATHS`].
pub(crate) async fn take<O: Outside>(door: Arc<Door<O>>, taken: Taken, request: Request) -> Response {
    match Box::pin(work(&door, taken, request)).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn work<O: Outside>(door: &Door<O>, taken: Taken, request: Request) -> Result<Response, Box<Problem>> {
    let (parts, body) = request.into_parts();
    let _in_flight = door.enter()?;
    let caller = Caller::of(&parts);
    let key = auth::open(&door.keys, &door.outside, &caller, taken).await?;
    let (form, coding) = (Form::of(&parts.headers)?, Coding::of(&parts.headers)?);
    let sending = sending(door.outside.topic(taken.kind()));
    let headers = traces::headers(&sending, &parts.headers);
    let lane = open_lane(door, taken.kind(), headers)
        .instrument(sending.clone())
        .await?;
    let settings = &door.settings;
    let bounds = Bounds {
        records: settings.window_records.get(),
        bytes: settings.window_bytes.get(),
        attempts: 1,
    };
    let mut intake = Intake {
        taken,
        key: &key,
        allowance: Allowance::new(&door.limits, &key.name),
        window: Window::new(door.outside.kafka(), lane, bounds),
    };
    let chunks = Chunks::new(body, coding, settings.idle_timeout());
    let work = async {
        match form {
            Form::Lines => intake.lines(chunks, settings.max_line_bytes.get()).await,
            Form::Json => {
                let limits = (settings.max_body_bytes.get(), settings.max_array_elements.get());
                intake.json(chunks, limits).await
            }
        }
    };
    let ended = work.instrument(sending.clone()).await;
    let tally = intake.window.into_tally();
    settled(&sending, tally.accepted, !matches!(ended, Err(Stopped::Kafka(_))));
    let topic = door.outside.topic(taken.kind());
    door.metrics.count(taken, topic, &tally);
    answer(tally, ended)
}

/// Finds topic and schema, and that Kafka is there at all, before a byte of the body is read.
async fn open_lane<O: Outside>(
    door: &Door<O>,
    kind: EventKind,
    headers: Headers,
) -> Result<Lane, Box<Problem>> {
    let away = |reason: String| Problem::new(Kind::Away, reason).with_resume_line(Tally::default(), 1);
    let topic = door.outside.topic(kind).to_owned();
    let schema_id = door.outside.schema_id(kind).await;
    let schema_id = schema_id.map_err(|error| away(error.to_string()))?;
    let partitions = door.outside.kafka().partitions(&topic).await;
    partitions.map_err(|error| away(error.to_string()))?;
    Ok(Lane {
        topic,
        schema_id,
        headers,
    })
}

/// How many events the key of a request may still send.
struct Allowance<'a> {
    limits: &'a Limits,
    key: Arc<KeyLimits>,
    was_slowed: bool,
}

impl<'a> Allowance<'a> {
    fn new(limits: &'a Limits, key: &str) -> Self {
        Self {
            limits,
            key: limits.of_key(key),
            was_slowed: false,
        }
    }

    /// Waits until one more event may come. Nothing is read meanwhile, so the sender waits too; a stream that was cut off
    /// instead would only be sent again.
    async fn in_turn(&mut self) {
        if self.key.events.take_in_turn().await && !self.was_slowed {
            self.was_slowed = true;
            self.limits.count(Reason::Slowed);
        }
    }

    /// Takes the events of a body that is here already, or none of them.
    fn at_once(&self, number: usize) -> Result<(), Box<Problem>> {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        self.limits.events(&self.key, number)
    }
}

/// One request's events on their way.
struct Intake<'a, P> {
    taken: Taken,
    key: &'a StoredKey,
    allowance: Allowance<'a>,
    window: Window<'a, P>,
}

impl<P: Publish> Intake<'_, P> {
    /// NDJSON, of any length.
    async fn lines(&mut self, mut chunks: Chunks, limit: usize) -> Result<(), Stopped> {
        let mut lines = Lines::new(limit);
        let ended = self.read_lines(&mut chunks, &mut lines, limit).await;
        // Whatever ended the reading: the lines before it are settled first, and may have failed earlier.
        match ended {
            Ok(()) => self.window.settle_all().await?,
            Err(Stopped::Body { error, line }) => {
                self.window.settle_all().await?;
                return Err(Stopped::Body { error, line });
            }
            Err(other) => return Err(other),
        }
        Ok(())
    }

    async fn read_lines(
        &mut self,
        chunks: &mut Chunks,
        lines: &mut Lines,
        limit: usize,
    ) -> Result<(), Stopped> {
        let too_long = |number: u64| Stopped::Body {
            error: BodyError::TooLarge(format!(
                "a line, or the white space between two, may have {limit} bytes (ingest.max_line_bytes)"
            )),
            line: number + 1,
        };
        loop {
            let chunk = chunks.next().await.map_err(|error| Stopped::Body {
                error,
                line: lines.number() + 1,
            })?;
            let Some(chunk) = chunk else { break };
            lines.feed(&chunk);
            while let Some(line) = lines.next_line().map_err(|_| too_long(lines.number()))? {
                self.line(line).await?;
            }
        }
        if let Some(line) = lines.last_line().map_err(|_| too_long(lines.number()))? {
            self.line(line).await?;
        }
        Ok(())
    }

    async fn line(&mut self, line: Line) -> Result<(), Broken> {
        self.allowance.in_turn().await;
        match std::str::from_utf8(&line.bytes) {
            Ok(text) => self.event(line.number, text).await,
            Err(_) => self.window.refuse(line.number, whole_line("is not UTF-8")).await,
        }
    }

    /// One JSON object or an array of them.
    async fn json(
        &mut self,
        chunks: Chunks,
        (max_bytes, max_elements): (usize, usize),
    ) -> Result<(), Stopped> {
        let body = chunks.whole(max_bytes).await;
        let body = body.map_err(|error| Stopped::Whole(error.problem()))?;
        let unreadable = |detail: String| Stopped::Whole(Problem::new(Kind::Unreadable, detail));
        let text = std::str::from_utf8(&body).map_err(|_| unreadable("the body is not UTF-8".to_owned()))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let elements = array::elements(text, max_elements)
            .map_err(|error| unreadable(format!("the body is not valid JSON: {error}")))?;
        if elements.number > max_elements {
            let detail = format!(
                "an array may have {max_elements} elements (ingest.max_array_elements), this one has {}; NDJSON \
                 (application/x-ndjson) may have any length",
                elements.number
            );
            return Err(Stopped::Whole(Problem::new(Kind::TooLarge, detail)));
        }
        self.allowance.at_once(elements.number).map_err(Stopped::Whole)?;
        for (element, place) in elements.kept.iter().zip(1..) {
            self.event(place, element.get()).await?;
        }
        self.window.settle_all().await?;
        Ok(())
    }

    /// One event, at a line or a place in an array.
    async fn event(&mut self, line: u64, text: &str) -> Result<(), Broken> {
        match self.read(text) {
            Ok((event, warning)) => self.window.send_warned(line, &event, warning).await,
            Err(refused) => self.window.refuse(line, refused).await,
        }
    }

    fn read(&self, text: &str) -> Result<(Event, Option<FieldError>), Refused> {
        let (event, warning) = self.taken.read(text, self.key).map_err(Refused::Field)?;
        speaks_for(self.key, &event).map_err(Refused::Foreign)?;
        Ok((event, warning))
    }
}

fn answer(tally: Tally, ended: Result<(), Stopped>) -> Result<Response, Box<Problem>> {
    match ended {
        Ok(()) if tally.refused == 0 => Ok(accepted(&tally)),
        Ok(()) => Err(refused(tally)),
        Err(Stopped::Whole(problem)) => Err(problem),
        Err(Stopped::Body { error, line }) => Err(error.problem().with_resume_line(tally, line)),
        Err(Stopped::Kafka(Broken { line, error })) => {
            let problem = Problem::new(Kind::Away, format!("{error}; send again from line {line}"));
            Err(problem.with_resume_line(tally, line))
        }
    }
}

fn accepted(tally: &Tally) -> Response {
    let mut body = format!(r#"{{"accepted":{}"#, tally.accepted);
    if !tally.warnings.is_empty() {
        body.push_str(r#","warnings":"#);
        body.push_str(&serde_json::to_string(&tally.warnings).unwrap_or_default());
    }
    body.push('}');
    (
        StatusCode::ACCEPTED,
        [(header::CONTENT_TYPE, "application/json")],
        body,
    )
        .into_response()
}

fn refused(tally: Tally) -> Box<Problem> {
    let Tally {
        accepted, refused, ..
    } = tally;
    if accepted == 0 && tally.foreign == refused {
        let detail = "everything is of a source that this API key may not send for";
        return Problem::new(Kind::Forbidden, detail).with_tally(tally);
    }
    let named = tally.errors.len();
    let detail = format!("accepted: {accepted}; refused: {refused}, of which `errors` names {named}");
    Problem::new(Kind::EventsRefused, detail).with_tally(tally)
}
