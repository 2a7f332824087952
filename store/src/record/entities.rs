//! Entities: inserted and updated by compare-and-set, each in one statement.

use std::collections::BTreeMap;

use redline_domain::entity::EntityState;
use redline_schemas::row::columns_to_json;
use redline_schemas::{EntityKey, Event};
use sqlx::{PgConnection, Row};

use super::EntityUpdate;
use crate::error::StoreError;
use crate::types::{Timestamptz, optional_time};

/// The columns of states, one list each, for UNNEST.
pub(crate) struct StateColumns {
    pub(crate) version: Vec<i64>,
    pub(crate) hash: Vec<Vec<u8>>,
    pub(crate) observed_at: Vec<Option<Timestamptz>>,
    pub(crate) baseline: Vec<Option<String>>,
    pub(crate) baseline_observed_at: Vec<Option<Timestamptz>>,
    pub(crate) previous: Vec<Option<String>>,
    pub(crate) deleted: Vec<bool>,
    pub(crate) reach: Vec<Option<Timestamptz>>,
}

/// States as columns.
pub(crate) fn state_columns(states: &[&EntityState]) -> StateColumns {
    let each = || states.iter();
    let baseline = |state: &&EntityState| {
        let row = state.baseline.as_ref();
        row.map(|row| Event::Row(row.clone()).canonical())
    };
    let previous = |state: &&EntityState| {
        let previous = &state.previous;
        (!previous.is_empty()).then(|| columns_to_json(previous))
    };
    StateColumns {
        version: each()
            .map(|state| state.latest.map_or(0, |latest| latest.version))
            .collect(),
        hash: each()
            .map(|state| {
                state
                    .latest
                    .map_or_else(Vec::new, |latest| latest.hash.0.to_vec())
            })
            .collect(),
        observed_at: each()
            .map(|state| optional_time(state.latest.and_then(|latest| latest.observed_at)))
            .collect(),
        baseline: each().map(baseline).collect(),
        baseline_observed_at: each()
            .map(|state| state.baseline.as_ref().map(|row| Timestamptz(row.observed_at)))
            .collect(),
        previous: each().map(previous).collect(),
        deleted: each().map(|state| state.deleted).collect(),
        reach: each().map(|state| optional_time(state.reach)).collect(),
    }
}

fn columns_of(updates: &[&EntityUpdate]) -> StateColumns {
    let states: Vec<&EntityState> = updates.iter().map(|update| &update.state).collect();
    state_columns(&states)
}

/// Inserts new entities and updates known ones, each by compare-and-set; answers their numbers.
pub(super) async fn write_entities(
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
    let columns = columns_of(updates);
    let rows = sqlx::query(
        "insert into redline.entities (entity_type, source, entity_id, revision, version, content_hash, observed_at,
            baseline, baseline_observed_at, previous, deleted, reach)
         select entity_type, source, entity_id, 1, version, content_hash, observed_at, baseline,
            baseline_observed_at, previous, deleted, reach
         from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bytea[], $6::timestamptz[], $7::text[],
            $8::timestamptz[], $9::text[], $10::boolean[], $11::timestamptz[]) with ordinality u (entity_type, source,
            entity_id, version, content_hash, observed_at, baseline, baseline_observed_at, previous, deleted, reach,
            ordinality)
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
    .bind(columns.deleted)
    .bind(columns.reach)
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
    #[cfg(feature = "break-revisions")]
    crate::broken::accept_any_revision(connection, &updates).await?;
    let columns = columns_of(&updates);
    let updated = sqlx::query(
        "update redline.entities e set revision = u.revision + 1, version = u.version,
            content_hash = u.content_hash, observed_at = u.observed_at, baseline = u.baseline,
            baseline_observed_at = u.baseline_observed_at, previous = u.previous, deleted = u.deleted,
            reach = u.reach
         from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::timestamptz[], $6::text[],
            $7::timestamptz[], $8::text[], $9::boolean[], $10::timestamptz[]) u (entity, revision, version, content_hash,
            observed_at, baseline, baseline_observed_at, previous, deleted, reach)
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
    .bind(columns.deleted)
    .bind(columns.reach)
    .execute(connection)
    .await?;
    if updated.rows_affected() != updates.len() as u64 {
        return Err(StoreError::EntityChanged);
    }
    Ok(())
}
