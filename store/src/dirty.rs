//! What has to be derived again, and is not yet: entities that a fact touched, and state keys whose entities changed.

use std::collections::BTreeMap;

use redline_schemas::{EntityKey, Timestamp};
use sqlx::{PgConnection, Row};

use crate::entities::read_key;
use crate::error::StoreError;
use crate::facts::NewFact;
use crate::types::Timestamptz;

/// How much has to be derived again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dirty {
    /// Entities.
    pub entities: i64,
    /// State keys.
    pub state_keys: i64,
}

/// Counts what has to be derived again.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn count(connection: &mut PgConnection) -> Result<Dirty, StoreError> {
    let row = sqlx::query(
        "select (select count(*) from redline.dirty_entities) as entities,
            (select count(*) from redline.state_keys where dirty_since is not null) as state_keys",
    )
    .fetch_one(connection)
    .await?;
    Ok(Dirty {
        entities: row.try_get("entities")?,
        state_keys: row.try_get("state_keys")?,
    })
}

/// Whether any entity, and whether any state key has to be derived again; costs the same however many there are.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn any(connection: &mut PgConnection) -> Result<(bool, bool), StoreError> {
    let row = sqlx::query(
        "select exists (select from redline.dirty_entities) as entities,
            exists (select from redline.state_keys where dirty_since is not null) as state_keys",
    )
    .fetch_one(connection)
    .await?;
    Ok((row.try_get("entities")?, row.try_get("state_keys")?))
}

/// Marks the rows of sources, each from an instant on: rows of which nothing was judged at it or later stay as they are.
pub(crate) async fn mark_sources(
    connection: &mut PgConnection,
    touched: &BTreeMap<String, Timestamp>,
) -> Result<(), StoreError> {
    if touched.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into redline.dirty_entities (entity)
         select e.entity from unnest($1::text[], $2::timestamptz[]) t (source, since)
         join redline.entities e on e.entity_type = 'row' and e.source = t.source
            and (e.reach is null or e.reach >= t.since)
         on conflict do nothing",
    )
    .bind(touched.keys().map(String::as_str).collect::<Vec<_>>())
    .bind(
        touched
            .values()
            .map(|since| Timestamptz(*since))
            .collect::<Vec<_>>(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Marks the rows that approvals are about, or were in an earlier version. The approvals are recorded already.
pub(crate) async fn mark_approved(
    connection: &mut PgConnection,
    facts: &[NewFact],
) -> Result<(), StoreError> {
    let ids: Vec<&str> = facts
        .iter()
        .filter(|new| new.fact.kind == "approval")
        .map(|new| new.fact.id.as_str())
        .collect();
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into redline.dirty_entities (entity)
         select e.entity from (select distinct source, row_id from redline.facts
            where kind = 'approval' and id = any($1)) f
         join redline.entities e on e.entity_type = 'row' and e.source = f.source and e.entity_id = f.row_id
         on conflict do nothing",
    )
    .bind(ids)
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes some marked entities, in the order of their numbers; nobody else gets them until the transaction ends.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn take_entities(
    connection: &mut PgConnection,
    most: i64,
) -> Result<Vec<(i64, EntityKey)>, StoreError> {
    let rows = sqlx::query(
        "select d.entity, e.entity_type, e.source, e.entity_id from redline.dirty_entities d
         join redline.entities e using (entity) order by d.entity limit $1 for update of d skip locked",
    )
    .bind(most)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| Ok((row.try_get("entity")?, read_key(row)?)))
        .collect()
}

/// Takes the marks of entities away, in the transaction that derived them again.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn clean_entities(connection: &mut PgConnection, entities: &[i64]) -> Result<(), StoreError> {
    sqlx::query("delete from redline.dirty_entities where entity = any($1)")
        .bind(entities)
        .execute(connection)
        .await?;
    Ok(())
}

/// Takes the state key that has been marked for longest, and locks it until the transaction ends.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn take_state_key(connection: &mut PgConnection) -> Result<Option<String>, StoreError> {
    let key = sqlx::query_scalar(
        "select state_key from redline.state_keys where dirty_since is not null
         order by dirty_since limit 1 for update skip locked",
    )
    .fetch_optional(connection)
    .await?;
    Ok(key)
}

/// Takes the mark of a state key away.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn clean_state_key(connection: &mut PgConnection, state_key: &str) -> Result<(), StoreError> {
    sqlx::query("update redline.state_keys set dirty_since = null where state_key = $1")
        .bind(state_key)
        .execute(connection)
        .await?;
    Ok(())
}
