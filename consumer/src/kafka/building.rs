//! The batch that is being filled.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::message::{BorrowedMessage, Message};
use redline_schemas::Timestamp;

use super::TopicPartition;
use super::assignment::{Shared, State};
use crate::batch::{Batch, Part, RawRecord};
use crate::headers;
use crate::settings::WorkSettings;

/// The batch that is being filled.
#[derive(Default)]
pub(super) struct Building {
    parts: HashMap<TopicPartition, Part<RawRecord>>,
    records: usize,
    bytes: usize,
    began: Option<Instant>,
}
impl Building {
    pub(super) fn is_full(&self, settings: &WorkSettings) -> bool {
        self.records >= settings.batch_records || self.bytes >= settings.batch_bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.began.is_none()
    }

    pub(super) fn is_ready(&self, settings: &WorkSettings) -> bool {
        let linger = Duration::from_millis(settings.linger_milliseconds);
        self.is_full(settings) || self.began.is_some_and(|began| began.elapsed() >= linger)
    }

    pub(super) fn discard(&mut self, partition: &TopicPartition) {
        if let Some(part) = self.parts.remove(partition) {
            self.records -= part.records.len();
            self.bytes -= part.records.iter().map(RawRecord::bytes).sum::<usize>();
        }
    }

    /// Records and bytes that are in it.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.records, self.bytes)
    }

    pub(super) fn finish(&mut self) -> Batch<RawRecord> {
        let building = std::mem::take(self);
        let mut batch: Batch<RawRecord> = building
            .parts
            .into_values()
            .filter(|part| part.assigned.is_live())
            .collect();
        // The same order of partitions in every transaction.
        batch.sort_by_key(|part| part.assigned.position_id);
        batch
    }
}

/// A record as Kafka has it.
pub(crate) fn raw_record(message: &BorrowedMessage<'_>) -> RawRecord {
    RawRecord {
        offset: message.offset(),
        kafka_timestamp: message.timestamp().to_millis().and_then(Timestamp::from_millis),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers::of(message),
    }
}

/// Takes one message into the batch that is being filled.
pub(super) fn take(shared: &Shared, building: &mut Building, message: &BorrowedMessage<'_>) {
    let partition = (message.topic().to_owned(), message.partition());
    let mut partitions = shared.lock();
    let Some(State::Reading {
        assigned,
        next,
        held_until: None,
    }) = partitions.get_mut(&partition)
    else {
        return;
    };
    let offset = message.offset();
    // Behind the position: it was on its way before the seek.
    if offset < *next {
        return;
    }
    let record = raw_record(message);
    building.records += 1;
    building.bytes += record.bytes();
    building.began.get_or_insert_with(Instant::now);
    let part = building.parts.entry(partition).or_insert_with(|| Part {
        assigned: Arc::clone(assigned),
        from: *next,
        to: *next,
        records: Vec::new(),
    });
    part.to = offset + 1;
    *next = offset + 1;
    part.records.push(record);
}
