//! Decoding: raw records become events, or refusals with a reason. Pure, but for the schemas it is given.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use redline_domain::facts;
use redline_schemas::avro::{DecodeError, WriterSchema, split_frame};
use redline_schemas::{ContentHash, EntityKey, Event, EventKind};

use crate::batch::{Batch, Body, Decoded, Part, RawRecord, Refusal, Sighting};

/// The header by which a quarantined record that is published again names its original.
pub const RETRY_HEADER: &str = "redline-retry-of";

/// The reason for which a content is refused that belongs to a part of a history that retention has removed; detection
/// gives it.
pub(crate) const BEYOND_HORIZON: &str = "late_beyond_horizon";

/// The codes of all reasons for which a record is refused.
pub const REASONS: [&str; 9] = [
    "tombstone",
    "missing_key",
    "key_mismatch",
    "unknown_schema_id",
    "not_framed",
    "not_decodable",
    "unknown_field",
    "invalid_field",
    BEYOND_HORIZON,
];

/// What to do about records with a reason, in a sentence; none for a reason that this version does not give.
pub fn remedy(reason: &str) -> Option<&'static str> {
    let remedy = match reason {
        "not_framed" | "not_decodable" => {
            "the producer must write Avro in Confluent's framing, under the schema whose id it names, and send it again; \
             then discard this record"
        }
        "unknown_schema_id" => "register the schema, then retry",
        "unknown_field" => "the producer's schema is newer than this Redline: upgrade, then retry",
        "missing_key" | "key_mismatch" | "tombstone" => {
            "the producer must send the key that the value says, and a value; then discard this record"
        }
        "invalid_field" => {
            "the producer must mend the field that is named, and send the event again; then discard this record"
        }
        BEYOND_HORIZON => {
            "what it says can be sent as a version above the latest one, where it still matters; then discard this record"
        }
        _ => return None,
    };
    Some(remedy)
}

/// What is known of a writer's schema.
#[derive(Clone)]
pub enum Known {
    /// It can be used.
    Writer(Arc<WriterSchema>),
    /// It is no schema of ours.
    Unusable(DecodeError),
    /// The registry does not know the id.
    Missing,
}

/// Writers' schemas by id and kind of events.
pub type Writers = HashMap<(u32, EventKind), Known>;

/// The schema ids that those records of a batch name for which `wanted` answers true.
pub fn schema_ids(
    batch: &Batch<RawRecord>,
    wanted: impl Fn(&RawRecord) -> bool,
) -> BTreeSet<(u32, EventKind)> {
    let mut ids = BTreeSet::new();
    for part in batch {
        for record in part.records.iter().filter(|record| wanted(record)) {
            ids.extend(schema_id(record, part.assigned.kind));
        }
    }
    ids
}

/// The schema id that a record names, if it names one.
pub fn schema_id(record: &RawRecord, kind: EventKind) -> Option<(u32, EventKind)> {
    let (schema_id, _) = split_frame(record.value.as_deref()?).ok()?;
    Some((schema_id, kind))
}

/// Whether a record was quarantined before and is published again.
pub fn is_retried(record: &RawRecord) -> bool {
    record.headers.iter().any(|(name, _)| name == RETRY_HEADER)
}

/// Decodes a batch; every record ends as an event or a refusal.
pub fn decode(batch: Batch<RawRecord>, writers: &Writers) -> Batch<Decoded> {
    batch
        .into_iter()
        .map(|part| {
            let kind = part.assigned.kind;
            let records = part
                .records
                .into_iter()
                .map(|record| decode_record(kind, record, writers))
                .collect();
            Part {
                assigned: part.assigned,
                from: part.from,
                to: part.to,
                records,
            }
        })
        .collect()
}

fn decode_record(kind: EventKind, raw: RawRecord, writers: &Writers) -> Decoded {
    let (offset, kafka_timestamp) = (raw.offset, raw.kafka_timestamp);
    let body = match read(kind, &raw, writers) {
        Ok((event, key)) => {
            let content = event.canonical();
            let hash = ContentHash::of(content.as_bytes());
            Body::Event(Box::new(Sighting {
                event,
                key,
                content,
                hash,
                raw,
            }))
        }
        Err((reason, detail)) => {
            let hash = ContentHash::of(raw.value.as_deref().unwrap_or_default());
            Body::Refused(Box::new(Refusal {
                reason,
                detail,
                hash,
                raw,
            }))
        }
    };
    Decoded {
        offset,
        kafka_timestamp,
        body,
    }
}

/// An event and what it is about, or why it is none.
type Readable = Result<(Event, EntityKey), (&'static str, String)>;

fn read(kind: EventKind, raw: &RawRecord, writers: &Writers) -> Readable {
    let Some(value) = raw.value.as_deref() else {
        let detail = "the record has no value; a row that is gone is sent as an event with op `delete`";
        return Err(("tombstone", detail.to_owned()));
    };
    let Some(key) = raw.key.as_deref() else {
        return Err((
            "missing_key",
            format!("the record has no key; {} is expected", key_shape(kind)),
        ));
    };
    let (schema_id, datum) = split_frame(value).map_err(refusal)?;
    let event = match writers.get(&(schema_id, kind)) {
        Some(Known::Writer(writer)) => writer.decode(datum).map_err(refusal)?,
        Some(Known::Unusable(error)) => return Err(refusal(error.clone())),
        Some(Known::Missing) | None => {
            let detail =
                format!("the registry does not know the schema id {schema_id}; register it, then retry");
            return Err(("unknown_schema_id", detail));
        }
    };
    check(kind, key, event)
}

fn check(kind: EventKind, key: &[u8], event: Event) -> Readable {
    if let Event::Fact(fact) = &event {
        facts::check(fact).map_err(|error| refusal(DecodeError::Field(error)))?;
    }
    let entity = event.entity();
    let expected = entity.kafka_key();
    if key != expected.as_bytes() {
        let found = String::from_utf8_lossy(key).chars().take(250).collect::<String>();
        let detail = format!(
            "the key is {found:?} and the value is about {expected:?}; the key must be {}",
            key_shape(kind)
        );
        return Err(("key_mismatch", detail));
    }
    Ok((event, entity))
}

fn key_shape(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Row => "{source}/{row_id}",
        EventKind::Payout => "{system}/{payout_id}",
        EventKind::Order => "{order_id}",
        EventKind::Fact => "{kind}/{id}",
    }
}

fn refusal(error: DecodeError) -> (&'static str, String) {
    let reason = match &error {
        DecodeError::NotFramed => "not_framed",
        DecodeError::NotDecodable { .. } => "not_decodable",
        DecodeError::UnknownField(_) => "unknown_field",
        DecodeError::Field(_) => "invalid_field",
    };
    (reason, error.to_string())
}

#[cfg(test)]
mod tests {
    use redline_schemas::avro::{ORDER_SCHEMA, encode_event};

    use super::*;

    const ORDER: &str = r#"{"order_id":"o-1","customer_id":"c","amount":1,"currency":"USD","status":"created","created_at":"2026-01-01T00:00:00Z"}"#;

    fn value() -> Vec<u8> {
        encode_event(3, &Event::from_json(EventKind::Order, ORDER).unwrap()).unwrap()
    }

    fn outcome(key: Option<&[u8]>, value: Option<Vec<u8>>) -> &'static str {
        let writer = WriterSchema::new(3, EventKind::Order, ORDER_SCHEMA).unwrap();
        let writers = Writers::from([
            ((3, EventKind::Order), Known::Writer(Arc::new(writer))),
            ((4, EventKind::Order), Known::Missing),
        ]);
        let raw = RawRecord {
            key: key.map(<[u8]>::to_vec),
            value,
            ..RawRecord::default()
        };
        match decode_record(EventKind::Order, raw, &writers).body {
            Body::Event(_) => "event",
            Body::Refused(refusal) => {
                assert!(
                    REASONS.contains(&refusal.reason),
                    "{} is no known reason",
                    refusal.reason
                );
                refusal.reason
            }
        }
    }

    #[test]
    fn every_record_ends_as_an_event_or_with_a_reason() {
        let with = |change: fn(&mut Vec<u8>)| {
            let mut value = value();
            change(&mut value);
            Some(value)
        };
        let key = Some(&b"o-1"[..]);
        assert_eq!(outcome(key, Some(value())), "event");
        assert_eq!(outcome(key, None), "tombstone");
        assert_eq!(outcome(None, Some(value())), "missing_key");
        assert_eq!(outcome(Some(b"o-2"), Some(value())), "key_mismatch");
        assert_eq!(outcome(Some(b"\xff\xfe"), Some(value())), "key_mismatch");
        assert_eq!(outcome(key, Some(b"{}".to_vec())), "not_framed");
        assert_eq!(outcome(key, with(|value| value[4] = 4)), "unknown_schema_id");
        assert_eq!(outcome(key, with(|value| value.truncate(9))), "not_decodable");
        assert_eq!(outcome(key, with(|value| value.push(0))), "not_decodable");
        assert_eq!(outcome(key, with(|value| value[6] = b'\n')), "invalid_field");
    }
}
