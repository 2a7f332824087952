//! Counted once: control totals, the outcome of each record, events and identities agree with one another and
//! with what Kafka holds.

use std::collections::{BTreeMap, BTreeSet};

use redline_schemas::ContentHash;
use sqlx::Row as _;

use crate::installation::Installation;
use crate::kafka::Read;

/// Bytes of one record's entry: offset, outcome, hash.
const ENTRY_BYTES: usize = 8 + 1 + 32;

/// What became of the records of all partitions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Records that were read.
    pub read: i64,
    /// Those whose content is new.
    pub accepted: i64,
    /// Those whose content was accepted before.
    pub duplicate: i64,
    /// Those that could not be accepted.
    pub quarantined: i64,
}

/// One record's entry in the control totals.
struct Entry {
    offset: i64,
    outcome: u8,
    hash: [u8; 32],
}

struct Position {
    position_id: i32,
    topic: String,
    incarnation: String,
    topic_id: String,
    partition: i32,
    next_offset: i64,
    is_live: bool,
}

pub(super) async fn check(installation: &Installation) -> Totals {
    let mut totals = Totals::default();
    let mut entries: BTreeMap<(i32, i64), Entry> = BTreeMap::new();
    let mut topics: BTreeMap<String, Vec<Read>> = BTreeMap::new();
    for position in positions(installation).await {
        let ranges = check_ranges(installation, &position, &mut totals).await;
        if position.is_live && !topics.contains_key(&position.topic) {
            let records = installation.kafka.read(&position.topic).await;
            topics.insert(position.topic.clone(), records);
        }
        if position.is_live
            && let Some(records) = topics.get(&position.topic)
        {
            check_against_kafka(&position, &ranges, records);
        }
        for entry in ranges.into_iter().flat_map(|range| range.entries) {
            let once = entries.insert((position.position_id, entry.offset), entry);
            assert!(once.is_none(), "an offset of {position:?} is recorded twice");
        }
    }
    check_identities(installation, &entries, totals).await;
    check_quarantined(installation, &entries, totals).await;
    totals
}

async fn positions(installation: &Installation) -> Vec<Position> {
    let rows = sqlx::query(
        "select position_id, topic, incarnation, topic_id, partition, next_offset, superseded_at is null
         from redline.positions order by position_id",
    )
    .fetch_all(&installation.pool)
    .await
    .expect("positions can be read");
    rows.iter()
        .map(|row| Position {
            position_id: row.get(0),
            topic: row.get(1),
            incarnation: row.get(2),
            topic_id: row.get(3),
            partition: row.get(4),
            next_offset: row.get(5),
            is_live: row.get(6),
        })
        .collect()
}

impl std::fmt::Debug for Position {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            topic,
            incarnation,
            topic_id,
            partition,
            next_offset,
            ..
        } = self;
        write!(
            out,
            "{topic}/{partition} of {incarnation} (topic id {topic_id}) at {next_offset}"
        )
    }
}

/// One row of the control totals.
struct Range {
    first: i64,
    next: i64,
    entries: Vec<Entry>,
}

/// The ranges of a position lie side by side up to it, but for gaps that an operator accepted, and each counts
/// what its entries say.
async fn check_ranges(installation: &Installation, position: &Position, totals: &mut Totals) -> Vec<Range> {
    let rows = sqlx::query(
        "select first_offset, next_offset, read, accepted, duplicate, quarantined, records, topic, incarnation,
            partition
         from redline.control_totals where position_id = $1 order by first_offset",
    )
    .bind(position.position_id)
    .fetch_all(&installation.pool)
    .await
    .expect("control totals can be read");
    let gaps: BTreeMap<i64, Option<i64>> = sqlx::query(
        "select first_offset, next_offset from redline.gaps where topic = $1 and incarnation = $2 and partition = $3",
    )
    .bind(&position.topic)
    .bind(&position.incarnation)
    .bind(position.partition)
    .fetch_all(&installation.pool)
    .await
    .expect("gaps can be read")
    .iter()
    .map(|row| (row.get(0), row.get(1)))
    .collect();

    let mut ranges: Vec<Range> = Vec::new();
    for row in &rows {
        let of_position = (row.get::<&str, _>(7), row.get::<&str, _>(8), row.get::<i32, _>(9));
        assert_eq!(
            of_position,
            (
                position.topic.as_str(),
                position.incarnation.as_str(),
                position.partition
            ),
            "a range names another partition than its position {position:?}"
        );
        let (first, next): (i64, i64) = (row.get(0), row.get(1));
        if let Some(last) = ranges.last() {
            assert!(
                last.next == first || gaps.get(&last.next) == Some(&Some(first)),
                "control totals of {position:?} end at {} and go on at {first}",
                last.next
            );
        }
        let bytes: Vec<u8> = row.get(6);
        assert_eq!(
            bytes.len() % ENTRY_BYTES,
            0,
            "entries of {position:?} are cut off"
        );
        let entries: Vec<Entry> = bytes.chunks_exact(ENTRY_BYTES).map(entry).collect();
        let count = |outcome: u8| {
            let matching = entries.iter().filter(|entry| entry.outcome == outcome).count();
            i64::try_from(matching).expect("few entries")
        };
        let counted = Totals {
            read: row.get(2),
            accepted: row.get(3),
            duplicate: row.get(4),
            quarantined: row.get(5),
        };
        let (accepted, duplicate, quarantined) = (count(0), count(1), count(2));
        let from_entries = Totals {
            read: accepted + duplicate + quarantined,
            accepted,
            duplicate,
            quarantined,
        };
        assert_eq!(
            counted, from_entries,
            "totals of {position:?} from {first} differ from their entries"
        );
        assert!(
            entries.iter().all(|entry| (first..next).contains(&entry.offset)),
            "an entry of {position:?} lies outside {first}..{next}"
        );
        assert!(
            entries.is_sorted_by(|one, other| one.offset < other.offset),
            "entries of {position:?} from {first} are not in order"
        );
        totals.read += counted.read;
        totals.accepted += counted.accepted;
        totals.duplicate += counted.duplicate;
        totals.quarantined += counted.quarantined;
        ranges.push(Range { first, next, entries });
    }
    if let Some(last) = ranges.last() {
        assert!(
            last.next == position.next_offset || gaps.get(&last.next) == Some(&Some(position.next_offset)),
            "control totals end at {} and the position is {position:?}",
            last.next
        );
    }
    ranges
}

fn entry(bytes: &[u8]) -> Entry {
    Entry {
        offset: i64::from_be_bytes(bytes[..8].try_into().expect("eight bytes")),
        outcome: bytes[8],
        hash: bytes[9..].try_into().expect("thirty-two bytes"),
    }
}

/// Everything that Kafka still holds below the position has its entry, and nothing else above the log's start.
fn check_against_kafka(position: &Position, ranges: &[Range], records: &[Read]) {
    let held: BTreeSet<i64> = records
        .iter()
        .filter(|read| read.partition == position.partition && read.offset < position.next_offset)
        .map(|read| read.offset)
        .collect();
    let Some(log_start) = held.first().copied() else {
        return;
    };
    let from = ranges.first().map_or(position.next_offset, |range| range.first);
    assert!(
        from <= log_start,
        "{position:?} was read from {from}, and Kafka's log starts at {log_start}"
    );
    let recorded: BTreeSet<i64> = ranges
        .iter()
        .flat_map(|range| &range.entries)
        .map(|entry| entry.offset)
        .filter(|offset| *offset >= log_start)
        .collect();
    assert_eq!(
        recorded, held,
        "the recorded offsets of {position:?} are not those that Kafka holds"
    );
}

/// Accepted records, events and identities are the same, with the hash of the content.
async fn check_identities(
    installation: &Installation,
    entries: &BTreeMap<(i32, i64), Entry>,
    totals: Totals,
) {
    let removed = installation
        .count("select coalesce(sum(rows), 0)::bigint from redline.removed_events")
        .await;
    let counts = [
        installation.count("select count(*) from redline.events").await + removed,
        installation.count("select count(*) from redline.versions").await,
    ];
    assert_eq!(
        counts, [totals.accepted; 2],
        "events and identities differ from accepted records"
    );
    let rows = sqlx::query(
        "select v.position_id, v.\"offset\", v.content_hash, sha256(convert_to(e.content, 'UTF8')),
            e.entity = v.entity and e.version = v.version
         from redline.versions v left join redline.events e using (position_id, \"offset\")",
    )
    .fetch_all(&installation.pool)
    .await
    .expect("events can be read");
    assert_eq!(
        i64::try_from(rows.len()).expect("few rows"),
        totals.accepted,
        "an accepted event has no identity, or the other way round"
    );
    let mut missing = 0;
    let mut known: BTreeSet<[u8; 32]> = BTreeSet::new();
    for row in &rows {
        let place: (i32, i64) = (row.get(0), row.get(1));
        let (identity, content): (Vec<u8>, Option<Vec<u8>>) = (row.get(2), row.get(3));
        if let Some(content) = content {
            assert_eq!(
                identity, content,
                "the hash at {place:?} is not that of its content"
            );
            assert!(
                row.get::<bool, _>(4),
                "the event at {place:?} is of another version"
            );
        } else {
            missing += 1;
        }
        let entry = entries
            .get(&place)
            .unwrap_or_else(|| panic!("the event at {place:?} is in no control total"));
        assert_eq!(
            (entry.outcome, &entry.hash[..]),
            (0, &identity[..]),
            "the entry at {place:?}"
        );
        known.insert(entry.hash);
    }
    assert_eq!(
        missing, removed,
        "other contents are missing than retention removed"
    );
    for (place, entry) in entries.iter().filter(|(_, entry)| entry.outcome == 1) {
        assert!(
            known.contains(&entry.hash),
            "the record at {place:?} counts as a duplicate, and its content was never accepted"
        );
    }
}

/// Every quarantined entry stands in the table with its bytes, and nothing else does.
async fn check_quarantined(
    installation: &Installation,
    entries: &BTreeMap<(i32, i64), Entry>,
    totals: Totals,
) {
    let rows = sqlx::query(
        "select p.position_id, q.\"offset\", coalesce(q.value, ''), q.reason <> '' and q.detail <> ''
         from redline.quarantine q join redline.positions p using (topic, incarnation, partition)",
    )
    .fetch_all(&installation.pool)
    .await
    .expect("the quarantine can be read");
    assert_eq!(
        i64::try_from(rows.len()).expect("few rows"),
        totals.quarantined,
        "the quarantine differs from the quarantined records"
    );
    for row in &rows {
        let place: (i32, i64) = (row.get(0), row.get(1));
        let value: Vec<u8> = row.get(2);
        let entry = entries
            .get(&place)
            .unwrap_or_else(|| panic!("the quarantined record at {place:?} is in no control total"));
        assert_eq!(
            (entry.outcome, entry.hash),
            (2, ContentHash::of(&value).0),
            "the entry of the quarantined record at {place:?}"
        );
        assert!(
            row.get::<bool, _>(3),
            "the record at {place:?} is quarantined without a reason"
        );
    }
}
