//! The recording transaction: everything that one batch brings about, or nothing.
//!
//! Order inside: the positions first, by compare-and-set, which ends a zombie at once; then the entities in the
//! order of their keys, by compare-and-set of their revisions; then what hangs on them. Rows that are known to
//! be new go in by COPY.

use std::collections::BTreeMap;
use std::sync::Arc;

use ethnum::I256;
use redline_domain::change::Change;
use redline_domain::entity::EntityState;
use redline_domain::finding::Ledger;
use redline_schemas::flag::Flag;
use redline_schemas::row::columns_to_json;
use redline_schemas::{ContentHash, EntityKey, Event, Timestamp};
use sqlx::{Connection, PgConnection, Row};

use crate::copy::CopyBuffer;
use crate::error::StoreError;
use crate::flags;
use crate::outbox::{self, Message};
use crate::quarantine::{self, Quarantined};
use crate::types::{Timestamptz, numeric_bytes, optional_time};

/// What became of a record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Outcome {
    /// Its content is new.
    Accepted = 0,
    /// Its content was accepted before.
    Duplicate = 1,
    /// It cannot be accepted; its bytes are kept.
    Quarantined = 2,
}

impl Outcome {
    /// The word in tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Quarantined => "quarantined",
        }
    }
}

/// What became of one record, for the control totals and, later, the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordOutcome {
    /// Offset in the partition.
    pub offset: i64,
    /// What became of it.
    pub outcome: Outcome,
    /// Hash of its content; of its raw value when it could not be read.
    pub hash: ContentHash,
}

/// By what sums are kept.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SumKey {
    /// Last day of the period, or `YYYY-MM`.
    pub period: Option<String>,
    /// ISO 4217.
    pub currency: Option<String>,
    /// What became of the records.
    pub outcome: Outcome,
}

/// An exact sum, in 256 bits: no batch can overflow it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sum {
    /// Records in the sum.
    pub records: i64,
    /// Units of 10^-9.
    pub units: I256,
}

/// A contiguous range of offsets of one partition.
#[derive(Clone, Debug)]
pub struct Range {
    /// The ledger's number.
    pub position_id: i32,
    /// The partition.
    pub ledger: Arc<Ledger>,
    /// Where the position must stand.
    pub from: i64,
    /// Where it will stand.
    pub to: i64,
    /// Greatest min(event time, Kafka timestamp) accepted in the range.
    pub watermark: Option<Timestamp>,
    /// Every record of the range.
    pub records: Vec<RecordOutcome>,
    /// Sums of the range.
    pub sums: BTreeMap<SumKey, Sum>,
}

/// An entity that the batch changes.
#[derive(Clone, Debug)]
pub struct EntityUpdate {
    /// What it is.
    pub key: EntityKey,
    /// Its number; none before its first record.
    pub entity: Option<i64>,
    /// The revision that was read; 0 before its first record.
    pub revision: i64,
    /// What detection will need of its past.
    pub state: EntityState,
    /// Versions whose content was accepted.
    pub accepted: Vec<AcceptedVersion>,
    /// Contents that were observed earlier than was known.
    pub observed_earlier: Vec<(i64, ContentHash, Timestamp)>,
    /// Changes to write.
    pub changes: Vec<Change>,
    /// Whether `changes` replaces all recorded changes of the entity.
    pub derived_again: bool,
    /// New revisions of flags.
    pub flags: Vec<Flag>,
}

/// A version whose content was accepted.
#[derive(Clone, Debug)]
pub struct AcceptedVersion {
    /// Its version.
    pub version: i64,
    /// Hash of its content.
    pub hash: ContentHash,
    /// When it was observed, as sent; rows only.
    pub observed_at: Option<Timestamp>,
    /// The least time at which its content was observed within the batch; rows only.
    pub least_observed_at: Option<Timestamp>,
    /// Canonical form of its content.
    pub content: String,
    /// The ledger's number.
    pub position_id: i32,
    /// Offset in the partition.
    pub offset: i64,
}

/// Everything that one batch brings about.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// Moves of positions, one a partition.
    pub ranges: Vec<Range>,
    /// Changed entities, sorted by key.
    pub entities: Vec<EntityUpdate>,
    /// Records that could not be accepted.
    pub quarantined: Vec<Quarantined>,
    /// What the relay has to publish.
    pub messages: Vec<Message>,
}

/// Records a batch. Answers the numbers of the entities, in their order in the recording.
///
/// # Errors
/// [`StoreError::PositionMoved`] and [`StoreError::EntityChanged`] say that nothing was recorded; so does every
/// other error except a lost connection during the commit, after which the position tells.
pub async fn record(connection: &mut PgConnection, recording: &Recording) -> Result<Vec<i64>, StoreError> {
    let mut transaction = connection.begin().await?;
    let recorded_at = move_positions(&mut transaction, &recording.ranges).await?;
    let entities = write_entities(&mut transaction, &recording.entities).await?;
    copy_versions(&mut transaction, &recording.entities, &entities, recorded_at).await?;
    copy_events(&mut transaction, &recording.entities, &entities, recorded_at).await?;
    lower_observations(&mut transaction, &recording.entities, &entities).await?;
    write_changes(&mut transaction, &recording.entities, &entities).await?;
    let new_flags: Vec<(i64, &Flag)> = recording
        .entities
        .iter()
        .zip(&entities)
        .flat_map(|(update, entity)| update.flags.iter().map(|flag| (*entity, flag)))
        .collect();
    flags::write(&mut transaction, &new_flags, recorded_at).await?;
    quarantine::add(&mut transaction, &recording.quarantined).await?;
    // After the entities are locked, so that the numbers of one entity follow its commits.
    outbox::add(&mut transaction, &recording.messages).await?;
    write_totals(&mut transaction, &recording.ranges, recorded_at).await?;
    transaction.commit().await?;
    Ok(entities)
}

async fn move_positions(connection: &mut PgConnection, ranges: &[Range]) -> Result<Timestamptz, StoreError> {
    let moved = sqlx::query(
        "update redline.positions p set next_offset = u.next_offset, updated_at = now(),
            watermark = greatest(p.watermark, u.watermark)
         from unnest($1::int[], $2::bigint[], $3::bigint[], $4::timestamptz[])
            u (position_id, first_offset, next_offset, watermark)
         where p.position_id = u.position_id and p.next_offset = u.first_offset and p.superseded_at is null
         returning now() as now",
    )
    .bind(ranges.iter().map(|range| range.position_id).collect::<Vec<_>>())
    .bind(ranges.iter().map(|range| range.from).collect::<Vec<_>>())
    .bind(ranges.iter().map(|range| range.to).collect::<Vec<_>>())
    .bind(
        ranges
            .iter()
            .map(|range| optional_time(range.watermark))
            .collect::<Vec<_>>(),
    )
    .fetch_all(connection)
    .await?;
    match moved.first() {
        Some(row) if moved.len() == ranges.len() => Ok(row.try_get("now")?),
        _ => Err(StoreError::PositionMoved),
    }
}

/// The columns of an entity, one list each, for UNNEST.
struct EntityColumns {
    version: Vec<i64>,
    hash: Vec<Vec<u8>>,
    observed_at: Vec<Option<Timestamptz>>,
    baseline: Vec<Option<String>>,
    baseline_observed_at: Vec<Option<Timestamptz>>,
    previous: Vec<Option<String>>,
}

impl EntityColumns {
    fn of(updates: &[&EntityUpdate]) -> Self {
        let latest = |update: &&EntityUpdate| update.state.latest;
        let baseline = |update: &&EntityUpdate| {
            update
                .state
                .baseline
                .as_ref()
                .map(|row| Event::Row(row.clone()).canonical())
        };
        Self {
            version: updates
                .iter()
                .map(|update| latest(update).map_or(0, |latest| latest.version))
                .collect(),
            hash: updates
                .iter()
                .map(|update| latest(update).map_or_else(Vec::new, |latest| latest.hash.0.to_vec()))
                .collect(),
            observed_at: updates
                .iter()
                .map(|update| optional_time(latest(update).and_then(|latest| latest.observed_at)))
                .collect(),
            baseline: updates.iter().map(baseline).collect(),
            baseline_observed_at: updates
                .iter()
                .map(|update| {
                    update
                        .state
                        .baseline
                        .as_ref()
                        .map(|row| Timestamptz(row.observed_at))
                })
                .collect(),
            previous: updates
                .iter()
                .map(|update| {
                    let previous = &update.state.previous;
                    (!previous.is_empty()).then(|| columns_to_json(previous))
                })
                .collect(),
        }
    }
}

/// Inserts new entities and updates known ones, each by compare-and-set; answers their numbers.
async fn write_entities(
    connection: &mut PgConnection,
    updates: &[EntityUpdate],
) -> Result<Vec<i64>, StoreError> {
    let (new, known): (Vec<_>, Vec<_>) = updates.iter().partition(|update| update.entity.is_none());
    let mut inserted = insert_entities(connection, &new).await?;
    update_entities(connection, &known).await?;
    updates
        .iter()
        .map(|update| match update.entity {
            Some(entity) => Ok(entity),
            None => inserted.remove(&update.key).ok_or(StoreError::EntityChanged),
        })
        .collect()
}

async fn insert_entities(
    connection: &mut PgConnection,
    updates: &[&EntityUpdate],
) -> Result<BTreeMap<EntityKey, i64>, StoreError> {
    if updates.is_empty() {
        return Ok(BTreeMap::new());
    }
    let columns = EntityColumns::of(updates);
    let rows = sqlx::query(
        "insert into redline.entities (entity_type, source, entity_id, revision, version, content_hash, observed_at,
            baseline, baseline_observed_at, previous)
         select entity_type, source, entity_id, 1, version, content_hash, observed_at, baseline,
            baseline_observed_at, previous
         from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bytea[], $6::timestamptz[], $7::text[],
            $8::timestamptz[], $9::text[]) with ordinality u (entity_type, source, entity_id, version,
            content_hash, observed_at, baseline, baseline_observed_at, previous, ordinality)
         order by ordinality on conflict do nothing returning entity, entity_type, source, entity_id",
    )
    .bind(updates.iter().map(|update| update.key.kind.entity_type()).collect::<Vec<_>>())
    .bind(updates.iter().map(|update| update.key.source.as_str()).collect::<Vec<_>>())
    .bind(updates.iter().map(|update| update.key.entity_id.as_str()).collect::<Vec<_>>())
    .bind(columns.version)
    .bind(columns.hash)
    .bind(columns.observed_at)
    .bind(columns.baseline)
    .bind(columns.baseline_observed_at)
    .bind(columns.previous)
    .fetch_all(connection)
    .await?;
    if rows.len() != updates.len() {
        return Err(StoreError::EntityChanged);
    }
    rows.iter()
        .map(|row| Ok((crate::entities::read_key(row)?, row.try_get("entity")?)))
        .collect()
}

async fn update_entities(connection: &mut PgConnection, updates: &[&EntityUpdate]) -> Result<(), StoreError> {
    if updates.is_empty() {
        return Ok(());
    }
    // Rows are locked in the order of their numbers, whoever updates them.
    let mut updates = updates.to_vec();
    updates.sort_by_key(|update| update.entity);
    let columns = EntityColumns::of(&updates);
    let updated = sqlx::query(
        "update redline.entities e set revision = u.revision + 1, version = u.version,
            content_hash = u.content_hash, observed_at = u.observed_at, baseline = u.baseline,
            baseline_observed_at = u.baseline_observed_at, previous = u.previous
         from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::timestamptz[], $6::text[],
            $7::timestamptz[], $8::text[]) u (entity, revision, version, content_hash, observed_at, baseline,
            baseline_observed_at, previous)
         where e.entity = u.entity and e.revision = u.revision",
    )
    .bind(updates.iter().map(|update| update.entity).collect::<Vec<_>>())
    .bind(updates.iter().map(|update| update.revision).collect::<Vec<_>>())
    .bind(columns.version)
    .bind(columns.hash)
    .bind(columns.observed_at)
    .bind(columns.baseline)
    .bind(columns.baseline_observed_at)
    .bind(columns.previous)
    .execute(connection)
    .await?;
    if updated.rows_affected() != updates.len() as u64 {
        return Err(StoreError::EntityChanged);
    }
    Ok(())
}

/// Every accepted version with its entity's number.
fn accepted<'a>(
    updates: &'a [EntityUpdate],
    entities: &'a [i64],
) -> impl Iterator<Item = (i64, &'a AcceptedVersion)> {
    updates
        .iter()
        .zip(entities)
        .flat_map(|(update, entity)| update.accepted.iter().map(|version| (*entity, version)))
}

fn time_bytes(time: Timestamp) -> [u8; 8] {
    Timestamptz(time).postgres_micros().to_be_bytes()
}

async fn copy_versions(
    connection: &mut PgConnection,
    updates: &[EntityUpdate],
    entities: &[i64],
    recorded_at: Timestamptz,
) -> Result<(), StoreError> {
    let mut buffer = CopyBuffer::new(7, 64 * 1024);
    for (entity, version) in accepted(updates, entities) {
        let observed_at = version.least_observed_at.map(time_bytes);
        buffer
            .row()
            .long(entity)
            .long(version.version)
            .field(Some(&version.hash.0))
            .field(observed_at.as_ref().map(|bytes| &bytes[..]))
            .int(version.position_id)
            .long(version.offset)
            .long(recorded_at.postgres_micros());
    }
    buffer
        .send(
            connection,
            "copy redline.versions (entity, version, content_hash, observed_at, position_id, \"offset\", recorded_at)
             from stdin (format binary)",
        )
        .await?;
    Ok(())
}

async fn copy_events(
    connection: &mut PgConnection,
    updates: &[EntityUpdate],
    entities: &[i64],
    recorded_at: Timestamptz,
) -> Result<(), StoreError> {
    let mut buffer = CopyBuffer::new(7, 1024 * 1024);
    for (entity, version) in accepted(updates, entities) {
        let observed_at = version.observed_at.map(time_bytes);
        buffer
            .row()
            .int(version.position_id)
            .long(version.offset)
            .long(recorded_at.postgres_micros())
            .long(entity)
            .long(version.version)
            .field(observed_at.as_ref().map(|bytes| &bytes[..]))
            .text(&version.content);
    }
    buffer
        .send(
            connection,
            "copy redline.events (position_id, \"offset\", recorded_at, entity, version, observed_at, content)
             from stdin (format binary)",
        )
        .await?;
    Ok(())
}

async fn lower_observations(
    connection: &mut PgConnection,
    updates: &[EntityUpdate],
    entities: &[i64],
) -> Result<(), StoreError> {
    let lowered: Vec<(i64, &(i64, ContentHash, Timestamp))> = updates
        .iter()
        .zip(entities)
        .flat_map(|(update, entity)| update.observed_earlier.iter().map(|one| (*entity, one)))
        .collect();
    if lowered.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update redline.versions v set observed_at = least(v.observed_at, u.observed_at)
         from unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::timestamptz[])
            u (entity, version, content_hash, observed_at)
         where v.entity = u.entity and v.version = u.version and v.content_hash = u.content_hash",
    )
    .bind(lowered.iter().map(|(entity, _)| *entity).collect::<Vec<_>>())
    .bind(
        lowered
            .iter()
            .map(|(_, (version, _, _))| *version)
            .collect::<Vec<_>>(),
    )
    .bind(
        lowered
            .iter()
            .map(|(_, (_, hash, _))| hash.0.to_vec())
            .collect::<Vec<_>>(),
    )
    .bind(
        lowered
            .iter()
            .map(|(_, (_, _, time))| Timestamptz(*time))
            .collect::<Vec<_>>(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn write_changes(
    connection: &mut PgConnection,
    updates: &[EntityUpdate],
    entities: &[i64],
) -> Result<(), StoreError> {
    let derived_again: Vec<i64> = updates
        .iter()
        .zip(entities)
        .filter(|(update, _)| update.derived_again && update.entity.is_some())
        .map(|(_, entity)| *entity)
        .collect();
    if !derived_again.is_empty() {
        sqlx::query("delete from redline.changes where entity = any($1)")
            .bind(&derived_again)
            .execute(&mut *connection)
            .await?;
    }
    let mut buffer = CopyBuffer::new(15, 16 * 1024);
    for (update, entity) in updates.iter().zip(entities) {
        for change in &update.changes {
            buffer
                .row()
                .long(*entity)
                .text(update.key.kind.entity_type())
                .text(&update.key.source)
                .text(&update.key.entity_id)
                .long(change.version)
                .text(&change.column)
                .optional_text(change.before.to_text().as_deref())
                .optional_text(change.after.to_text().as_deref())
                .field(change.impact.map(numeric_bytes).as_deref())
                .optional_text(change.currency.as_deref())
                .text(&change.risk.to_string())
                .optional_text(change.editor.as_deref())
                .field(Some(&time_bytes(change.modified_at)))
                .text(change.attribution.word())
                .text(change.timing.word());
        }
    }
    buffer
        .send(
            connection,
            "copy redline.changes (entity, entity_type, source, entity_id, version, column_name, before, after,
                impact, currency, risk, editor, modified_at, attribution, timing) from stdin (format binary)",
        )
        .await?;
    Ok(())
}

async fn write_totals(
    connection: &mut PgConnection,
    ranges: &[Range],
    recorded_at: Timestamptz,
) -> Result<(), StoreError> {
    let count = |range: &Range, outcome: Outcome| {
        i64::try_from(
            range
                .records
                .iter()
                .filter(|record| record.outcome == outcome)
                .count(),
        )
        .unwrap_or(i64::MAX)
    };
    sqlx::query(
        "insert into redline.control_totals (position_id, topic, incarnation, partition, first_offset, next_offset,
            read, accepted, duplicate, quarantined, records, recorded_at)
         select position_id, topic, incarnation, partition, first_offset, next_offset,
            accepted + duplicate + quarantined, accepted, duplicate, quarantined, records, $11
         from unnest($1::int[], $2::text[], $3::text[], $4::int[], $5::bigint[], $6::bigint[], $7::bigint[],
            $8::bigint[], $9::bigint[], $10::bytea[]) u (position_id, topic, incarnation, partition,
            first_offset, next_offset, accepted, duplicate, quarantined, records)",
    )
    .bind(ranges.iter().map(|range| range.position_id).collect::<Vec<_>>())
    .bind(ranges.iter().map(|range| range.ledger.topic.as_str()).collect::<Vec<_>>())
    .bind(ranges.iter().map(|range| range.ledger.incarnation.as_str()).collect::<Vec<_>>())
    .bind(ranges.iter().map(|range| range.ledger.partition).collect::<Vec<_>>())
    .bind(ranges.iter().map(|range| range.from).collect::<Vec<_>>())
    .bind(ranges.iter().map(|range| range.to).collect::<Vec<_>>())
    .bind(ranges.iter().map(|range| count(range, Outcome::Accepted)).collect::<Vec<_>>())
    .bind(ranges.iter().map(|range| count(range, Outcome::Duplicate)).collect::<Vec<_>>())
    .bind(ranges.iter().map(|range| count(range, Outcome::Quarantined)).collect::<Vec<_>>())
    .bind(ranges.iter().map(|range| packed(&range.records)).collect::<Vec<_>>())
    .bind(recorded_at)
    .execute(&mut *connection)
    .await?;
    write_sums(connection, ranges).await
}

/// Of each record its offset (8 bytes, big-endian), outcome (1) and hash (32).
fn packed(records: &[RecordOutcome]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(records.len() * 41);
    for record in records {
        bytes.extend_from_slice(&record.offset.to_be_bytes());
        bytes.push(record.outcome as u8);
        bytes.extend_from_slice(&record.hash.0);
    }
    bytes
}

async fn write_sums(connection: &mut PgConnection, ranges: &[Range]) -> Result<(), StoreError> {
    let sums: Vec<(&Range, &SumKey, &Sum)> = ranges
        .iter()
        .flat_map(|range| range.sums.iter().map(move |(key, sum)| (range, key, sum)))
        .collect();
    if sums.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into redline.control_sums (position_id, topic, partition, first_offset, next_offset, period, currency,
            outcome, records, amount)
         select position_id, topic, partition, first_offset, next_offset, period, currency, outcome, records,
            trim_scale(units::numeric * 0.000000001)
         from unnest($1::int[], $2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::text[],
            $9::bigint[], $10::text[]) u (position_id, topic, partition, first_offset, next_offset, period,
            currency, outcome, records, units)",
    )
    .bind(sums.iter().map(|(range, _, _)| range.position_id).collect::<Vec<_>>())
    .bind(sums.iter().map(|(range, _, _)| range.ledger.topic.as_str()).collect::<Vec<_>>())
    .bind(sums.iter().map(|(range, _, _)| range.ledger.partition).collect::<Vec<_>>())
    .bind(sums.iter().map(|(range, _, _)| range.from).collect::<Vec<_>>())
    .bind(sums.iter().map(|(range, _, _)| range.to).collect::<Vec<_>>())
    .bind(sums.iter().map(|(_, key, _)| key.period.as_deref()).collect::<Vec<_>>())
    .bind(sums.iter().map(|(_, key, _)| key.currency.as_deref()).collect::<Vec<_>>())
    .bind(sums.iter().map(|(_, key, _)| key.outcome.word()).collect::<Vec<_>>())
    .bind(sums.iter().map(|(_, _, sum)| sum.records).collect::<Vec<_>>())
    .bind(sums.iter().map(|(_, _, sum)| sum.units.to_string()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
