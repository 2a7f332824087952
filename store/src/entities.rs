//! Entities: what detection needs of each one's past.

use std::collections::HashMap;

use redline_domain::entity::{EntityState, Latest};
use redline_schemas::row::columns_from_json;
use redline_schemas::{ContentHash, EntityKey, Event, EventKind, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use crate::error::StoreError;
use crate::types::{Timestamptz, content_hash, optional_time};

/// An entity as it is recorded.
#[derive(Clone, Debug)]
pub struct Entity {
    /// Its number.
    pub entity: i64,
    /// Compared and set by every writer.
    pub revision: i64,
    /// What detection needs of its past.
    pub state: EntityState,
}

/// Locks those of the entities that are recorded until the transaction ends, in the order of their numbers, which
/// is that of every update.
///
/// # Errors
/// When Postgres cannot be reached, or a lock is not to be had in time.
pub async fn lock(connection: &mut PgConnection, keys: &[&EntityKey]) -> Result<(), StoreError> {
    sqlx::query(
        "select e.entity from unnest($1::text[], $2::text[], $3::text[]) k (entity_type, source, entity_id)
         join redline.entities e using (entity_type, source, entity_id)
         order by e.entity for no key update of e",
    )
    .bind(keys.iter().map(|key| key.kind.entity_type()).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.source.as_str()).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.entity_id.as_str()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    Ok(())
}

/// Locks entities by their numbers until the transaction ends, in their order.
///
/// # Errors
/// When Postgres cannot be reached, or a lock is not to be had in time.
pub async fn lock_numbers(connection: &mut PgConnection, entities: &[i64]) -> Result<(), StoreError> {
    sqlx::query("select from redline.entities where entity = any($1) order by entity for no key update")
        .bind(entities)
        .fetch_all(connection)
        .await?;
    Ok(())
}

/// Loads those of the entities that are recorded, in one query.
///
/// # Errors
/// When Postgres cannot be reached, or the record is damaged.
pub async fn load(
    connection: &mut PgConnection,
    keys: &[&EntityKey],
) -> Result<HashMap<EntityKey, Entity>, StoreError> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query(
        "select e.entity, e.entity_type, e.source, e.entity_id, e.revision, e.version, e.content_hash,
            e.observed_at, e.baseline, e.baseline_observed_at, e.previous, e.deleted, e.reach
         from unnest($1::text[], $2::text[], $3::text[]) k (entity_type, source, entity_id)
         join redline.entities e using (entity_type, source, entity_id)",
    )
    .bind(keys.iter().map(|key| key.kind.entity_type()).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.source.as_str()).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.entity_id.as_str()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    rows.iter().map(read_entity).collect()
}

/// The next recorded rows behind a number, in the order of their numbers.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn rows_after(
    connection: &mut PgConnection,
    entity: i64,
    most: i64,
) -> Result<Vec<(i64, EntityKey)>, StoreError> {
    let rows = sqlx::query(
        "select entity, entity_type, source, entity_id from redline.entities
         where entity > $1 and entity_type = 'row' order by entity limit $2",
    )
    .bind(entity)
    .bind(most)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| Ok((row.try_get("entity")?, read_key(row)?)))
        .collect()
}

fn read_entity(row: &PgRow) -> Result<(EntityKey, Entity), StoreError> {
    let key = read_key(row)?;
    let entity = Entity {
        entity: row.try_get("entity")?,
        revision: row.try_get("revision")?,
        state: read_state(row, &key)?,
    };
    Ok((key, entity))
}

/// Reads the state of an entity from the columns in which it is kept.
pub(crate) fn read_state(row: &PgRow, key: &EntityKey) -> Result<EntityState, StoreError> {
    let damaged = |reason: String| StoreError::Damaged {
        what: key.to_string(),
        reason,
    };
    let latest = Latest {
        version: row.try_get("version")?,
        hash: content_hash(row.try_get("content_hash")?)?,
        observed_at: time(row, "observed_at")?,
    };
    let baseline = match row.try_get::<Option<&str>, _>("baseline")? {
        None => None,
        Some(content) => {
            let event = Event::from_canonical(key.kind, content, time(row, "baseline_observed_at")?)
                .map_err(|error| damaged(error.to_string()))?;
            match event {
                Event::Row(row) => Some(row),
                Event::Payout(_) | Event::Order(_) | Event::Fact(_) => None,
            }
        }
    };
    let previous = match row.try_get::<Option<&str>, _>("previous")? {
        None => std::collections::BTreeMap::new(),
        Some(json) => columns_from_json(json).map_err(|error| damaged(error.to_string()))?,
    };
    Ok(EntityState {
        latest: Some(latest),
        baseline,
        deleted: row.try_get("deleted")?,
        reach: time(row, "reach")?,
        previous,
    })
}

pub(crate) fn read_key(row: &PgRow) -> Result<EntityKey, StoreError> {
    let entity_type: &str = row.try_get("entity_type")?;
    let kind = EventKind::from_entity_type(entity_type).ok_or_else(|| StoreError::Damaged {
        what: "an entity".to_owned(),
        reason: format!("`{entity_type}` is no type of entities"),
    })?;
    Ok(EntityKey {
        kind,
        source: row.try_get("source")?,
        entity_id: row.try_get("entity_id")?,
    })
}

pub(crate) fn time(row: &PgRow, column: &str) -> Result<Option<Timestamp>, StoreError> {
    Ok(row.try_get::<Option<Timestamptz>, _>(column)?.map(|time| time.0))
}

/// A version that may have been accepted before.
#[derive(Clone, Copy, Debug)]
pub struct Probable<'a> {
    /// What it is about.
    pub key: &'a EntityKey,
    /// Its version.
    pub version: i64,
    /// Its content.
    pub hash: ContentHash,
    /// When it was observed; rows only.
    pub observed_at: Option<Timestamp>,
}

/// Which of the probable duplicates are: their content was accepted, and observed no later. One query for all.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn confirm_duplicates(
    connection: &mut PgConnection,
    probable: &[Probable<'_>],
) -> Result<Vec<bool>, StoreError> {
    let mut confirmed = vec![false; probable.len()];
    if probable.is_empty() {
        return Ok(confirmed);
    }
    let ordinals: Vec<i64> = sqlx::query_scalar(
        "select k.ordinality from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bytea[],
            $6::timestamptz[]) with ordinality
            k (entity_type, source, entity_id, version, content_hash, observed_at, ordinality)
         join redline.entities e using (entity_type, source, entity_id)
         join redline.versions v on v.entity = e.entity and v.version = k.version
            and v.content_hash = k.content_hash
         where k.observed_at is null or k.observed_at >= v.observed_at",
    )
    .bind(
        probable
            .iter()
            .map(|one| one.key.kind.entity_type())
            .collect::<Vec<_>>(),
    )
    .bind(
        probable
            .iter()
            .map(|one| one.key.source.as_str())
            .collect::<Vec<_>>(),
    )
    .bind(
        probable
            .iter()
            .map(|one| one.key.entity_id.as_str())
            .collect::<Vec<_>>(),
    )
    .bind(probable.iter().map(|one| one.version).collect::<Vec<_>>())
    .bind(probable.iter().map(|one| one.hash.0.to_vec()).collect::<Vec<_>>())
    .bind(
        probable
            .iter()
            .map(|one| optional_time(one.observed_at))
            .collect::<Vec<_>>(),
    )
    .fetch_all(connection)
    .await?;
    for ordinal in ordinals {
        if let Some(slot) = usize::try_from(ordinal - 1)
            .ok()
            .and_then(|index| confirmed.get_mut(index))
        {
            *slot = true;
        }
    }
    Ok(confirmed)
}
