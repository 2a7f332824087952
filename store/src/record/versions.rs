//! What hangs on entities: accepted versions with their events, and changes. New rows go in by COPY.

use redline_domain::change::Change;
use redline_schemas::{ContentHash, Timestamp};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{AcceptedVersion, EntityUpdate};
use crate::copy::CopyBuffer;
use crate::error::StoreError;
use crate::types::{Timestamptz, numeric_bytes};

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

pub(super) async fn copy_versions(
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

pub(super) async fn copy_events(
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

pub(super) async fn lower_observations(
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

/// How changes are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// Fast. No timeout of Postgres ends a COPY whose client stands still: only for backends that a successor ends.
    Copy,
    /// One statement, which every timeout ends.
    Insert,
}

/// Writes changes, those of entities that were derived again instead of all that are recorded.
pub(super) async fn write_changes(
    connection: &mut PgConnection,
    updates: &[EntityUpdate],
    entities: &[i64],
    way: Way,
) -> Result<(), StoreError> {
    let derived_again: Vec<i64> = updates
        .iter()
        .zip(entities)
        .filter(|(update, _)| update.derived_again && update.entity.is_some())
        .map(|(_, entity)| *entity)
        .collect();
    if !derived_again.is_empty() {
        sqlx::query(
            "delete from redline.changes c using redline.entities e where c.entity = any($1) and e.entity = c.entity
                and (e.horizon is null or c.version > e.horizon)",
        )
            .bind(&derived_again)
            .execute(&mut *connection)
            .await?;
    }
    match way {
        Way::Copy => copy_changes(connection, updates, entities).await,
        Way::Insert => insert_changes(connection, updates, entities).await,
    }
}

/// Every change with its entity's number.
fn changes<'a>(
    updates: &'a [EntityUpdate],
    entities: &'a [i64],
) -> impl Iterator<Item = (i64, &'a EntityUpdate, &'a Change)> {
    updates
        .iter()
        .zip(entities)
        .flat_map(|(update, entity)| update.changes.iter().map(move |change| (*entity, update, change)))
}

async fn copy_changes(
    connection: &mut PgConnection,
    updates: &[EntityUpdate],
    entities: &[i64],
) -> Result<(), StoreError> {
    let mut buffer = CopyBuffer::new(17, 16 * 1024);
    for (entity, update, change) in changes(updates, entities) {
        buffer
            .row()
            .long(entity)
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
            .text(change.timing.word())
            .field(Some(&[u8::from(change.authorised)]))
            .optional_text(change.approval.as_deref());
    }
    buffer
        .send(
            connection,
            "copy redline.changes (entity, entity_type, source, entity_id, version, column_name, before, after,
                impact, currency, risk, editor, modified_at, attribution, timing, authorised, approval) from stdin (format binary)",
        )
        .await?;
    Ok(())
}

async fn insert_changes(
    connection: &mut PgConnection,
    updates: &[EntityUpdate],
    entities: &[i64],
) -> Result<(), StoreError> {
    let rows: Vec<Value> = changes(updates, entities)
        .map(|(entity, update, change)| {
            json!({
                "entity": entity,
                "entity_type": update.key.kind.entity_type(),
                "source": update.key.source,
                "entity_id": update.key.entity_id,
                "version": change.version,
                "column_name": change.column,
                "before": change.before.to_text(),
                "after": change.after.to_text(),
                // As text, which loses no digit.
                "impact": change.impact.map(|impact| impact.to_string()),
                "currency": change.currency,
                "risk": change.risk.to_string(),
                "editor": change.editor,
                "modified_at": change.modified_at.to_string(),
                "attribution": change.attribution.word(),
                "timing": change.timing.word(),
                "authorised": change.authorised,
                "approval": change.approval,
            })
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into redline.changes (entity, entity_type, source, entity_id, version, column_name, before, after,
            impact, currency, risk, editor, modified_at, attribution, timing, authorised, approval)
         select entity, entity_type, source, entity_id, version, column_name, before, after,
            impact, currency, risk, editor, modified_at, attribution, timing, authorised, approval
         from jsonb_populate_recordset(null::redline.changes, $1::jsonb)",
    )
    .bind(Value::Array(rows).to_string())
    .execute(connection)
    .await?;
    Ok(())
}
