//! The recording transaction: everything that one batch brings about, or nothing.
//!
//! Order inside: the positions first, by compare-and-set, which ends a zombie at once; then the entities in the
//! order of their keys, by compare-and-set of their revisions; then what hangs on them. Rows that are known to
//! be new go in by COPY.

mod entities;
mod recording;
mod totals;
mod versions;

use redline_schemas::flag::Flag;
use sqlx::{Connection, PgConnection, Row};

use self::entities::write_entities;
pub use self::recording::{
    AcceptedVersion, EntityUpdate, Outcome, Range, RecordOutcome, Recording, Sum, SumKey,
};
use self::totals::write_totals;
use self::versions::{copy_events, copy_versions, lower_observations, write_changes};
use crate::error::StoreError;
use crate::types::{Timestamptz, optional_time};
use crate::{flags, outbox, quarantine};

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
