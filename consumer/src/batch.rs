//! What travels between the steps of a worker: raw batches, decoded batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redline_domain::finding::Ledger;
use redline_schemas::{ContentHash, EntityKey, Event, EventKind, Timestamp};
use redline_store::outbox::Headers;

/// A partition that this worker records, from the moment it was opened to the moment it is given up.
#[derive(Debug)]
pub struct Assigned {
    /// The ledger's number.
    pub position_id: i32,
    /// Topic, incarnation and partition, as they are recorded.
    pub ledger: Arc<Ledger>,
    /// Kafka's id of the topic.
    pub topic_id: String,
    /// What the topic holds.
    pub kind: EventKind,
    given_up: AtomicBool,
}

impl Assigned {
    /// A partition that was just opened.
    pub fn new(position_id: i32, ledger: Ledger, topic_id: String, kind: EventKind) -> Self {
        Self {
            position_id,
            ledger: Arc::new(ledger),
            topic_id,
            kind,
            given_up: AtomicBool::new(false),
        }
    }

    /// Marks the partition as given up: batches that were read from it are discarded.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
    }

    /// Whether batches that were read from it may still be recorded.
    pub fn is_live(&self) -> bool {
        !self.given_up.load(Ordering::Acquire)
    }
}

/// A record as Kafka has it.
#[derive(Clone, Debug, Default)]
pub struct RawRecord {
    /// Offset in the partition.
    pub offset: i64,
    /// Kafka's timestamp, where it is one of the contract's years.
    pub kafka_timestamp: Option<Timestamp>,
    /// Raw key.
    pub key: Option<Vec<u8>>,
    /// Raw value.
    pub value: Option<Vec<u8>>,
    /// Raw headers.
    pub headers: Headers,
}

impl RawRecord {
    /// Bytes that it holds in memory, about.
    pub fn bytes(&self) -> usize {
        const OVERHEAD: usize = 150;
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len) + 50)
            .sum();
        OVERHEAD + self.key.as_ref().map_or(0, Vec::len) + self.value.as_ref().map_or(0, Vec::len) + headers
    }
}

/// A contiguous piece of one partition; `Record` is raw or decoded.
#[derive(Debug)]
pub struct Part<Record> {
    /// The partition.
    pub assigned: Arc<Assigned>,
    /// Where the position must stand for this piece to be recorded.
    pub from: i64,
    /// Where the position will stand.
    pub to: i64,
    /// The records, in the order of their offsets.
    pub records: Vec<Record>,
}

/// Pieces of several partitions, recorded in one transaction.
pub type Batch<Record> = Vec<Part<Record>>;

/// A record after decoding.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// Offset in the partition.
    pub offset: i64,
    /// Kafka's timestamp.
    pub kafka_timestamp: Option<Timestamp>,
    /// What it turned out to be.
    pub body: Body,
}

/// What a record turned out to be.
#[derive(Clone, Debug)]
pub enum Body {
    /// An event.
    Event(Box<Sighting>),
    /// Something that cannot be accepted.
    Refused(Box<Refusal>),
}

/// An event with what identifies it.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// The event.
    pub event: Event,
    /// What it is about.
    pub key: EntityKey,
    /// Canonical form of its content.
    pub content: String,
    /// Hash of that.
    pub hash: ContentHash,
    /// The record as it was read, should it turn out that it cannot be accepted.
    pub raw: RawRecord,
}

/// A record that cannot be accepted, with its bytes.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The code of the reason.
    pub reason: &'static str,
    /// A sentence that names the field and the fix.
    pub detail: String,
    /// Hash of the raw value.
    pub hash: ContentHash,
    /// The record as it was read.
    pub raw: RawRecord,
}
