//! The recording transaction: everything that one batch brings about, or nothing.
//!
//! Order inside: facts are held as they are, or alone by whoever records some; then the positions, by compare-and-set,
//! which ends a zombie at once; then state keys, sorted; then the entities in the order of their keys, by
//! compare-and-set of their revisions; then what hangs on them. Rows that are known to be new go in by COPY.

mod entities;
mod recording;
mod totals;
mod versions;

use std::collections::HashMap;

use redline_schemas::flag::Flag;
use sqlx::{Connection, PgConnection, Row};

pub(crate) use self::entities::state_columns;
use self::entities::write_entities;
pub use self::recording::{
    AcceptedVersion, EntityUpdate, Outcome, Range, RecordOutcome, Recording, Sum, SumKey,
};
use self::totals::write_totals;
use self::versions::{Way, copy_events, copy_versions, lower_observations, write_changes};
use crate::error::StoreError;
use crate::outbox::Message;
use crate::types::{Timestamptz, optional_time};
use crate::{contributions, dirty, facts, flags, outbox, quarantine};

/// What a recorded batch came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The numbers of the entities, in their order in the recording.
    pub entities: Vec<i64>,
    /// Quarantined records since the last good one, by number of the position.
    pub quarantined_in_a_row: HashMap<i32, i64>,
}

/// Records a batch.
///
/// # Errors
/// [`StoreError::PositionMoved`], [`StoreError::EntityChanged`] and [`StoreError::FactsChanged`] say that nothing was recorded; so does every
/// other error except a lost connection during the commit, after which the position tells.
pub async fn record(connection: &mut PgConnection, recording: &Recording) -> Result<Recorded, StoreError> {
    let mut transaction = connection.begin().await?;
    if recording.facts.is_empty() {
        facts::hold(&mut transaction).await?;
    } else {
        facts::hold_alone(&mut transaction).await?;
    }
    let (recorded_at, quarantined_in_a_row) = move_positions(&mut transaction, recording).await?;
    let entities = write_findings(&mut transaction, &recording.entities, recorded_at, Way::Copy).await?;
    write_facts(&mut transaction, recording, recorded_at).await?;
    quarantine::add(&mut transaction, &recording.quarantined).await?;
    // After the entities are locked, so that the numbers of one entity follow its commits.
    outbox::add(&mut transaction, &recording.messages).await?;
    write_totals(&mut transaction, &recording.ranges, recorded_at).await?;
    transaction.commit().await?;
    Ok(Recorded {
        entities,
        quarantined_in_a_row,
    })
}

/// Records what entities that were derived again come to, within the caller's transaction, which holds facts.
///
/// # Errors
/// [`StoreError::EntityChanged`] says that another writer came first; the transaction is then of no use.
pub async fn record_derived(
    transaction: &mut PgConnection,
    updates: &[EntityUpdate],
    messages: &[Message],
) -> Result<(), StoreError> {
    let recorded_at: Timestamptz = sqlx::query_scalar("select now()")
        .fetch_one(&mut *transaction)
        .await?;
    // Nobody ends the backend of a deriver that stands still; Postgres has to do that itself.
    write_findings(transaction, updates, recorded_at, Way::Insert).await?;
    outbox::add(transaction, messages).await
}

/// Records what a state key comes to, within the caller's transaction, which holds facts and the key: the revisions of its
/// flags, each with the number of its entity.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn record_state(
    transaction: &mut PgConnection,
    state_key: &str,
    flags: &[(i64, Flag)],
    messages: &[Message],
) -> Result<(), StoreError> {
    if flags.is_empty() {
        return Ok(());
    }
    let entities: Vec<i64> = flags.iter().map(|(entity, _)| *entity).collect();
    crate::entities::lock_numbers(transaction, &entities).await?;
    let recorded_at: Timestamptz = sqlx::query_scalar("select now()")
        .fetch_one(&mut *transaction)
        .await?;
    let flags: Vec<(i64, &Flag)> = flags.iter().map(|(entity, flag)| (*entity, flag)).collect();
    flags::write(transaction, &flags, Some(state_key), recorded_at).await?;
    outbox::add(transaction, messages).await
}

/// Writes entities and all that hangs on them; answers their numbers.
async fn write_findings(
    transaction: &mut PgConnection,
    updates: &[EntityUpdate],
    recorded_at: Timestamptz,
    way: Way,
) -> Result<Vec<i64>, StoreError> {
    let state_keys = contributions::lock(transaction, updates).await?;
    let entities = write_entities(transaction, updates).await?;
    copy_versions(transaction, updates, &entities, recorded_at).await?;
    copy_events(transaction, updates, &entities, recorded_at).await?;
    lower_observations(transaction, updates, &entities).await?;
    write_changes(transaction, updates, &entities, way).await?;
    contributions::write(transaction, updates, &entities, &state_keys).await?;
    let flags: Vec<(i64, &Flag)> = updates
        .iter()
        .zip(&entities)
        .flat_map(|(update, entity)| update.flags.iter().map(|flag| (*entity, flag)))
        .collect();
    flags::write(transaction, &flags, None, recorded_at).await?;
    Ok(entities)
}

/// Records facts and marks what they touch, this recording's own entities as well: those were judged without them.
async fn write_facts(
    transaction: &mut PgConnection,
    recording: &Recording,
    recorded_at: Timestamptz,
) -> Result<(), StoreError> {
    if recording.facts.is_empty() {
        return Ok(());
    }
    facts::record(transaction, &recording.facts, recording.generation, recorded_at).await?;
    dirty::mark_sources(transaction, &recording.touched).await?;
    dirty::mark_approved(transaction, &recording.facts).await
}

async fn move_positions(
    connection: &mut PgConnection,
    recording: &Recording,
) -> Result<(Timestamptz, HashMap<i32, i64>), StoreError> {
    let ranges = &recording.ranges;
    #[cfg(feature = "break-positions")]
    crate::broken::accept_any_position(connection, ranges).await?;
    let moved = sqlx::query(
        "update redline.positions p set next_offset = u.next_offset, updated_at = now(),
            watermark = greatest(p.watermark, u.watermark),
            quarantined_in_a_row = u.quarantined + case when u.only_quarantined then p.quarantined_in_a_row else 0 end
         from unnest($1::int[], $2::bigint[], $3::bigint[], $4::timestamptz[], $5::bigint[], $6::bool[])
            u (position_id, first_offset, next_offset, watermark, quarantined, only_quarantined)
         where p.position_id = u.position_id and p.next_offset = u.first_offset and p.superseded_at is null
         returning p.position_id, p.quarantined_in_a_row, now() as now,
            (select generation from redline.knowledge) as generation",
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
    .bind(ranges.iter().map(Range::quarantined_last).collect::<Vec<_>>())
    .bind(ranges.iter().map(Range::is_quarantined).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    let Some(row) = moved.first().filter(|_| moved.len() == ranges.len()) else {
        return Err(StoreError::PositionMoved);
    };
    if row.try_get::<i64, _>("generation")? != recording.generation {
        return Err(StoreError::FactsChanged);
    }
    let in_a_row = moved.iter();
    let in_a_row =
        in_a_row.map(|row| Ok((row.try_get("position_id")?, row.try_get("quarantined_in_a_row")?)));
    Ok((row.try_get("now")?, in_a_row.collect::<Result<_, StoreError>>()?))
}
