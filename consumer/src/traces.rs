//! The traces that a batch, a derivation and the relay are in.
//!
//! A batch is in a trace of its own, which links those of its records. In each of these one span says that its records
//! are being processed, links the batch, and is where what they bring about goes on from: flags, and records that are
//! quarantined. So a trace leads from a request to its flags, and there is a link in each direction between it and the
//! batch. All of it is bounded by the batch, whatever the records say: see [`MOST_TRACES`].
//!
//! Nothing here is part of what is recorded: a flag's content, id and bytes do not depend on traces.

use std::collections::HashMap;

use redline_schemas::EntityKey;
use redline_store::outbox::{Message, Waiting};
use redline_telemetry::context::{self, Headers, PARENT, STATE, SpanContext};
use tracing::field::{Empty, display};
use tracing::{Span, info_span};

use crate::batch::{Batch, Decoded, RawRecord};
use crate::detect::sightings;

/// Traces of one batch that are linked and gone on with; what records of further ones bring about goes on from the batch.
const MOST_TRACES: usize = 32;

/// What became of a batch, a turn or a message, for its span.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// It is in Postgres.
    Recorded,
    /// It is not ours any more, and was not recorded here.
    Discarded,
    /// Kafka has it.
    Published,
    /// Neither, for now: it is tried again.
    Postponed,
}

impl Outcome {
    fn tell(self, span: &Span) {
        let word = match self {
            Self::Recorded => "recorded",
            Self::Discarded => "discarded",
            Self::Published => "published",
            Self::Postponed => "postponed",
        };
        span.record("redline.outcome", word);
    }
}

/// A trace that some records of a batch are in.
struct OfRecords {
    context: SpanContext,
    span: Span,
    records: u64,
    /// The partition of the first of them.
    position_id: i32,
}

/// The span of a batch, and the traces of its records.
pub(crate) struct BatchTraces {
    span: Span,
    traces: Vec<OfRecords>,
    /// By number of the position and offset: the place of a record's trace.
    records: HashMap<(i32, i64), usize>,
}

impl BatchTraces {
    /// Begins the span of a batch. Where traces are off this costs nothing; of records that are in no trace that is kept,
    /// only the names of their headers are looked at.
    pub(crate) fn begin(batch: &Batch<RawRecord>, group: &str) -> Self {
        let mut begun = Self {
            span: Span::none(),
            traces: Vec::new(),
            records: HashMap::new(),
        };
        if !context::is_on() || batch.is_empty() {
            return begun;
        }
        begun.span = of_batch(batch, group);
        for part in batch {
            for record in &part.records {
                if let Some(context) = context::kept(&record.headers) {
                    begun.add(context, part.assigned.position_id, record.offset, || {
                        of_records(&part.assigned.ledger.topic, group)
                    });
                }
            }
        }
        // All links first: whether the batch is kept depends on them.
        for trace in &begun.traces {
            context::link(&begun.span, &trace.context);
        }
        if let Some(batch) = context::of_span(&begun.span) {
            for trace in &begun.traces {
                context::link(&trace.span, &batch);
            }
        }
        for trace in &begun.traces {
            trace.span.record("messaging.batch.message_count", trace.records);
        }
        begun
    }

    fn add(&mut self, context: SpanContext, position_id: i32, offset: i64, span: impl FnOnce() -> Span) {
        let known = self
            .traces
            .iter_mut()
            .position(|known| known.context.trace_id() == context.trace_id());
        let place = match known {
            Some(place) => {
                self.traces[place].records += 1;
                place
            }
            None if self.traces.len() < MOST_TRACES => {
                let span = span();
                context::go_on(&span, context.clone());
                self.traces.push(OfRecords {
                    context,
                    span,
                    records: 1,
                    position_id,
                });
                self.traces.len() - 1
            }
            None => return,
        };
        self.records.insert((position_id, offset), place);
    }

    /// The span of the batch.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Says what became of the batch, of which these parts are left.
    pub(crate) fn end(&self, outcome: Outcome, batch: &Batch<Decoded>) {
        outcome.tell(&self.span);
        for trace in &self.traces {
            let is_left = batch
                .iter()
                .any(|part| part.assigned.position_id == trace.position_id);
            if is_left { outcome } else { Outcome::Discarded }.tell(&trace.span);
        }
    }

    /// Where what a batch brings about goes on from.
    pub(crate) fn origins<'b>(&'b self, batch: &'b Batch<Decoded>) -> Origins<'b> {
        let mut entities = HashMap::new();
        if !self.records.is_empty() {
            for ((part, index), sighting) in sightings(batch) {
                let part = &batch[part];
                let place = (part.assigned.position_id, part.records[index].offset);
                if let Some(trace) = self.records.get(&place) {
                    entities.insert(&sighting.key, *trace);
                }
            }
        }
        Origins {
            batch: context::headers(&self.span),
            traces: self
                .traces
                .iter()
                .map(|trace| context::headers(&trace.span))
                .collect(),
            records: &self.records,
            entities,
        }
    }
}

/// Where what a batch brings about goes on from: of an entity its last record in the batch that is in a trace.
pub(crate) struct Origins<'b> {
    batch: Headers,
    traces: Vec<Headers>,
    records: &'b HashMap<(i32, i64), usize>,
    entities: HashMap<&'b EntityKey, usize>,
}

impl Origins<'_> {
    fn of_trace(&self, trace: Option<&usize>) -> Headers {
        let headers = trace.and_then(|trace| self.traces.get(*trace));
        headers.unwrap_or(&self.batch).clone()
    }

    /// The headers of an entity's flags.
    pub(crate) fn of_entity(&self, key: &EntityKey) -> Headers {
        self.of_trace(self.entities.get(key))
    }

    /// The headers of a record that is quarantined.
    pub(crate) fn of_record(&self, position_id: i32, offset: i64) -> Headers {
        self.of_trace(self.records.get(&(position_id, offset)))
    }
}

fn of_batch(batch: &Batch<RawRecord>, group: &str) -> Span {
    let records: usize = batch.iter().map(|part| part.records.len()).sum();
    let topic = |index: usize| batch.get(index).map(|part| part.assigned.ledger.topic.as_str());
    let first = topic(0).unwrap_or_default();
    let is_one = (1..batch.len()).all(|index| topic(index) == Some(first));
    let span = info_span!(
        parent: None,
        "process",
        otel.name = Empty,
        otel.kind = "consumer",
        messaging.system = "kafka",
        messaging.operation.name = "process",
        messaging.operation.type = "process",
        messaging.destination.name = Empty,
        messaging.consumer.group.name = group,
        messaging.batch.message_count = records,
        redline.partitions = batch.len(),
        redline.outcome = Empty,
    );
    // A batch of several topics has none of them as its own.
    if is_one {
        span.record("otel.name", display(format_args!("process {first}")));
        span.record("messaging.destination.name", first);
    }
    span
}

fn of_records(topic: &str, group: &str) -> Span {
    info_span!(
        parent: None,
        "record",
        otel.name = %format_args!("record {topic}"),
        otel.kind = "consumer",
        messaging.system = "kafka",
        messaging.operation.name = "record",
        messaging.operation.type = "process",
        messaging.destination.name = topic,
        messaging.consumer.group.name = group,
        messaging.batch.message_count = Empty,
        redline.outcome = Empty,
    )
}

/// The span of one step of what is under way.
pub(crate) fn step(name: &'static str) -> Span {
    info_span!("step", otel.name = name)
}

/// The span of a step that waits for another system, `postgresql` or `redis`.
pub(crate) fn asking(system: &'static str, name: &'static str) -> Span {
    info_span!(
        "step",
        otel.name = name,
        otel.kind = "client",
        db.system.name = system
    )
}

/// The span of deriving again what facts touched. Whoever said the fact has long been answered: it is a trace of its own.
pub(crate) fn deriving() -> Span {
    info_span!(parent: None, "derive", redline.entities = Empty, redline.flags = Empty)
}

/// The spans in which the relay sends messages, one for each that is in a trace; they are sent on with its headers.
pub(crate) struct Sends(Vec<(i64, Span)>);

impl Sends {
    /// Begins them.
    pub(crate) fn begin(waiting: &mut [Waiting]) -> Self {
        if !context::is_on() {
            return Self(Vec::new());
        }
        let begun = waiting.iter_mut().filter_map(|one| {
            let origin = context::kept(&one.message.headers)?;
            let span = of_message(&one.message);
            context::go_on(&span, origin);
            go_on_from(&span, &mut one.message);
            Some((one.outbox_id, span))
        });
        Self(begun.collect())
    }

    /// Says what became of them: these were published.
    pub(crate) fn end(mut self, published: &[i64]) {
        for (_, span) in self
            .0
            .extract_if(.., |(outbox_id, _)| published.contains(outbox_id))
        {
            Outcome::Published.tell(&span);
        }
    }
}

impl Drop for Sends {
    fn drop(&mut self) {
        for (_, span) in &self.0 {
            Outcome::Postponed.tell(span);
        }
    }
}

fn of_message(message: &Message) -> Span {
    info_span!(
        parent: None,
        "send",
        otel.name = %format_args!("send {}", message.topic),
        otel.kind = "producer",
        messaging.system = "kafka",
        messaging.operation.name = "send",
        messaging.operation.type = "send",
        messaging.destination.name = message.topic,
        redline.outcome = Empty,
    )
}

/// Readers of the message go on from this span; one that is not kept changes nothing.
fn go_on_from(span: &Span, message: &mut Message) {
    let headers = context::headers(span);
    if !headers.is_empty() {
        message
            .headers
            .retain(|(name, _)| name != PARENT && name != STATE);
        message.headers.extend(headers);
    }
}
