//! What entities contribute to state that crosses them. State keys are locked in their order, missing ones inserted
//! first, before any entity: whoever changes a contribution, and whoever derives from all of them, takes turns.

use std::collections::{BTreeSet, HashMap};

use redline_domain::natural_key::Contribution;
use sqlx::{PgConnection, Row};

use crate::error::StoreError;
use crate::record::EntityUpdate;

/// Locks every state key that the updates touch: those of new contributions, and those of the ones that a derivation
/// replaces. Answers them.
pub(crate) async fn lock(
    connection: &mut PgConnection,
    updates: &[EntityUpdate],
) -> Result<Vec<String>, StoreError> {
    let mut keys: BTreeSet<String> = updates
        .iter()
        .flat_map(|update| &update.contributions)
        .map(|contribution| contribution.state_key.clone())
        .collect();
    let replaced = replaced(updates);
    if !replaced.is_empty() {
        let old: Vec<String> =
            sqlx::query_scalar("select distinct state_key from redline.contributions where entity = any($1)")
                .bind(&replaced)
                .fetch_all(&mut *connection)
                .await?;
        keys.extend(old);
    }
    let keys: Vec<String> = keys.into_iter().collect();
    if keys.is_empty() {
        return Ok(keys);
    }
    sqlx::query(
        "insert into redline.state_keys (state_key)
         select state_key from unnest($1::text[]) with ordinality k (state_key, ordinality) order by ordinality
         on conflict do nothing",
    )
    .bind(&keys)
    .execute(&mut *connection)
    .await?;
    sqlx::query("select from redline.state_keys where state_key = any($1) order by state_key collate \"C\" for update")
        .bind(&keys)
        .fetch_all(connection)
        .await?;
    Ok(keys)
}

/// Recorded entities whose contributions are replaced.
fn replaced(updates: &[EntityUpdate]) -> Vec<i64> {
    updates
        .iter()
        .filter(|update| update.derived_again)
        .filter_map(|update| update.entity)
        .collect()
}

/// Writes the contributions, and marks those locked keys whose findings may be others now.
pub(crate) async fn write(
    connection: &mut PgConnection,
    updates: &[EntityUpdate],
    entities: &[i64],
    locked: &[String],
) -> Result<(), StoreError> {
    if locked.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "delete from redline.contributions c using redline.entities e where c.entity = any($1)
            and e.entity = c.entity and (e.horizon is null or c.version > e.horizon)",
    )
    .bind(replaced(updates))
    .execute(&mut *connection)
    .await?;
    let new: Vec<(i64, &Contribution)> = updates
        .iter()
        .zip(entities)
        .flat_map(|(update, entity)| update.contributions.iter().map(|one| (*entity, one)))
        .collect();
    let damaged = |error: serde_json::Error| StoreError::Damaged {
        what: "a contribution".to_owned(),
        reason: error.to_string(),
    };
    let contents: Vec<String> = new
        .iter()
        .map(|(_, one)| one.to_json().map_err(damaged))
        .collect::<Result<_, _>>()?;
    sqlx::query(
        "insert into redline.contributions (entity, version, role, state_key, content)
         select * from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[])",
    )
    .bind(new.iter().map(|(entity, _)| *entity).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, one)| one.version).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, one)| one.role.word()).collect::<Vec<_>>())
    .bind(
        new.iter()
            .map(|(_, one)| one.state_key.as_str())
            .collect::<Vec<_>>(),
    )
    .bind(contents)
    .execute(&mut *connection)
    .await?;
    // A key of one entity alone has no findings, and most keys are of one.
    sqlx::query(
        "update redline.state_keys k set dirty_since = coalesce(dirty_since, now())
         where state_key = any($1) and ((select count(distinct entity) from redline.contributions c
                where c.state_key = k.state_key) > 1
            or exists (select from redline.flags f where f.state_key = k.state_key))",
    )
    .bind(locked)
    .execute(connection)
    .await?;
    Ok(())
}

/// A contribution with the number and id of its entity.
pub struct Contributed {
    /// Number of the entity.
    pub entity: i64,
    /// Its id in the source.
    pub entity_id: String,
    /// What it contributes.
    pub contribution: Contribution,
}

/// What is recorded of the contributions of some entities above their horizons, as JSON text, by number of the entity.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn of_entities(
    connection: &mut PgConnection,
    entities: &[i64],
) -> Result<HashMap<i64, Vec<String>>, StoreError> {
    let rows = sqlx::query(
        "select entity, content from redline.contributions c where entity = any($1) and not exists (
            select from redline.entities e where e.entity = c.entity and c.version <= e.horizon)",
    )
    .bind(entities)
    .fetch_all(connection)
    .await?;
    let mut contributions: HashMap<i64, Vec<String>> = HashMap::new();
    for row in &rows {
        let of_entity = contributions.entry(row.try_get("entity")?).or_default();
        of_entity.push(row.try_get("content")?);
    }
    Ok(contributions)
}

/// The next state keys behind one, in their order, that several entities contribute to, or that have findings.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn shared_after(
    connection: &mut PgConnection,
    state_key: &str,
    most: i64,
) -> Result<Vec<String>, StoreError> {
    Ok(sqlx::query_scalar(
        "select state_key from redline.state_keys k where state_key collate \"C\" > $1
            and ((select count(distinct entity) from redline.contributions c where c.state_key = k.state_key) > 1
                or exists (select from redline.flags f where f.state_key = k.state_key))
         order by state_key collate \"C\" limit $2",
    )
    .bind(state_key)
    .bind(most)
    .fetch_all(connection)
    .await?)
}

/// Everything that entities contribute to a state key.
///
/// # Errors
/// When Postgres cannot be reached, or the record is damaged.
pub async fn load(connection: &mut PgConnection, state_key: &str) -> Result<Vec<Contributed>, StoreError> {
    let rows = sqlx::query(
        "select c.entity, e.entity_id, c.content from redline.contributions c
         join redline.entities e using (entity) where c.state_key = $1 order by c.entity, c.version, c.role",
    )
    .bind(state_key)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let contribution = Contribution::from_json(row.try_get("content")?);
            Ok(Contributed {
                entity: row.try_get("entity")?,
                entity_id: row.try_get("entity_id")?,
                contribution: contribution.map_err(|error| StoreError::Damaged {
                    what: format!("a contribution to {state_key}"),
                    reason: error.to_string(),
                })?,
            })
        })
        .collect()
}
