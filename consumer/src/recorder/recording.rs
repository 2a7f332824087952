//! Everything that a batch brings about, put together for its transaction. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use redline_domain::finding::Ledger;
use redline_schemas::Timestamp;
use redline_schemas::avro::{SCHEMAS, encode};
use redline_schemas::flag::Flag;
use redline_store::outbox::Message;
use redline_store::quarantine::Quarantined;
use redline_store::record::{EntityUpdate, Outcome, Range, RecordOutcome, Recording};
use redline_telemetry::context::Headers;

use super::{Destinations, RecordError};
use crate::batch::{Batch, Body, Decoded, Refusal};
use crate::detect::Slot;
use crate::facts::Facts;
use crate::sums;
use crate::traces::Origins;

/// The header of quarantined records that says why.
pub(crate) const REASON_HEADER: &str = "redline-reason";
/// What goes before the names of a quarantined record's own headers.
pub(crate) const ORIGINAL_PREFIX: &str = "original-";

/// Everything that the batch brings about.
pub(super) fn recording(
    destinations: &Destinations,
    facts: &Facts,
    batch: &Batch<Decoded>,
    entities: Vec<EntityUpdate>,
    (outcomes, refused): (Vec<Vec<RecordOutcome>>, &BTreeMap<Slot, Refusal>),
    origins: &Origins<'_>,
) -> Result<Recording, RecordError> {
    let (brought, touched) = facts.brought(&entities)?;
    let flags = entities.iter().flat_map(|update| {
        let flags = update.flags.iter();
        flags.map(|flag| (flag, origins.of_entity(&update.key)))
    });
    let mut recording = Recording {
        messages: flag_messages(destinations, flags)?,
        entities,
        generation: facts.generation,
        facts: brought,
        touched,
        ..Recording::default()
    };
    for (part_index, (part, records)) in batch.iter().zip(outcomes).enumerate() {
        for (index, decoded) in part.records.iter().enumerate() {
            let refusal = match &decoded.body {
                Body::Refused(refusal) => Some(&**refusal),
                Body::Event(_) => refused.get(&(part_index, index)),
            };
            if let Some(refusal) = refusal {
                let origin = origins.of_record(part.assigned.position_id, decoded.offset);
                recording.messages.push(quarantine_message(
                    &destinations.quarantine,
                    &part.assigned.ledger,
                    refusal,
                    origin,
                ));
                recording
                    .quarantined
                    .push(quarantined(&part.assigned.ledger, refusal));
            }
        }
        recording.ranges.push(Range {
            position_id: part.assigned.position_id,
            ledger: Arc::clone(&part.assigned.ledger),
            from: part.from,
            to: part.to,
            watermark: watermark(&part.records, &records),
            sums: sums::of_range(&part.records, &records, facts.knowledge.rules()),
            records,
        });
    }
    Ok(recording)
}

/// What the relay publishes of flags, each with the headers by which a trace goes on.
pub(crate) fn flag_messages<'f>(
    destinations: &Destinations,
    flags: impl Iterator<Item = (&'f Flag, Headers)>,
) -> Result<Vec<Message>, RecordError> {
    flags
        .map(|(flag, headers)| {
            let value = encode(&SCHEMAS.flag, destinations.flag_schema_id, flag);
            Ok(Message {
                topic: destinations.flagged.clone(),
                key: Some(flag.key().into_bytes()),
                value: Some(value.map_err(RecordError::Encode)?),
                headers,
            })
        })
        .collect()
}

/// The original bytes under the original key, with reason and position as headers.
fn quarantine_message(topic: &str, ledger: &Ledger, refusal: &Refusal, origin: Headers) -> Message {
    let header = |name: &str, value: String| (name.to_owned(), Some(value.into_bytes()));
    let mut headers = vec![
        header(REASON_HEADER, refusal.reason.to_owned()),
        header("redline-detail", refusal.detail.clone()),
        header("redline-topic", ledger.topic.clone()),
        header("redline-partition", ledger.partition.to_string()),
        header("redline-offset", refusal.raw.offset.to_string()),
    ];
    headers.extend(origin);
    let originals = refusal.raw.headers.iter();
    headers.extend(originals.map(|(name, value)| (format!("{ORIGINAL_PREFIX}{name}"), value.clone())));
    Message {
        topic: topic.to_owned(),
        key: refusal.raw.key.clone(),
        value: refusal.raw.value.clone(),
        headers,
    }
}

fn quarantined(ledger: &Arc<Ledger>, refusal: &Refusal) -> Quarantined {
    Quarantined {
        ledger: Arc::clone(ledger),
        offset: refusal.raw.offset,
        reason: refusal.reason,
        detail: refusal.detail.clone(),
        key: refusal.raw.key.clone(),
        value: refusal.raw.value.clone(),
        headers: refusal.raw.headers.clone(),
        kafka_timestamp: refusal.raw.kafka_timestamp,
    }
}

/// Greatest min(event time, Kafka timestamp) that was accepted.
fn watermark(records: &[Decoded], outcomes: &[RecordOutcome]) -> Option<Timestamp> {
    let accepted = records
        .iter()
        .zip(outcomes)
        .filter(|(_, outcome)| outcome.outcome == Outcome::Accepted);
    accepted
        .filter_map(|(record, _)| match &record.body {
            Body::Event(sighting) => {
                let time = sighting.event.time();
                Some(record.kafka_timestamp.map_or(time, |kafka| kafka.min(time)))
            }
            Body::Refused(_) => None,
        })
        .max()
}
