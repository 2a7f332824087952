//! Retention: whole months of recorded contents are removed, and what identity and detection need of them stays.
//!
//! The promise: nothing is ever derived from a part of a history. Before a content goes, its entity gets a horizon, a
//! version up to which its findings are final, with the state from which later versions are derived. The revision
//! rises with the horizon, so that no writer records what it derived without knowing of it.

use std::collections::HashSet;
use std::time::Duration;

use redline_domain::entity::EntityState;
use redline_schemas::{ContentHash, EntityKey};
use sqlx::{Connection, PgConnection, Row};

use crate::entities::{read_key, read_state};
use crate::error::StoreError;
use crate::record::state_columns;
use crate::types::content_hash;

/// Where rows lie whose month had no partition of its own.
const DEFAULT: &str = "events_default";
/// How often a table is tried to be removed that somebody reads, and the pause between.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(2);

/// Contents that are old enough to be removed: a month's partition, or the old part of the default one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removable {
    /// Name of the table in the schema `redline`.
    pub table: String,
    /// Events in it that are old enough.
    pub rows: i64,
    /// Bytes of the table with its index; nothing of the default one, which stays.
    pub bytes: i64,
}

/// What may be removed now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The first month that is kept, `2026-03`.
    pub first_kept: String,
    /// What is older, the oldest month first.
    pub tables: Vec<Removable>,
}

/// Finds what is recorded before the month that was so many months ago.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn plan(connection: &mut PgConnection, months: u32) -> Result<Plan, StoreError> {
    let months = i32::try_from(months).unwrap_or(i32::MAX);
    let first_kept: String = sqlx::query_scalar(
        "select to_char(now() at time zone 'UTC' - make_interval(months => $1), 'YYYY-MM')",
    )
    .bind(months)
    .fetch_one(&mut *connection)
    .await?;
    let found = sqlx::query(
        "select c.relname, pg_total_relation_size(c.oid) as bytes from pg_inherits i join pg_class c on c.oid = i.inhrelid
         where i.inhparent = 'redline.events'::regclass
            and (c.relname = 'events_default' or c.relname ~ '^events_[0-9]{4}_[0-9]{2}$'
                and replace(substr(c.relname, 8), '_', '-') < $1)
         order by c.relname",
    )
    .bind(&first_kept)
    .fetch_all(&mut *connection)
    .await?;
    let mut tables = Vec::with_capacity(found.len());
    for row in &found {
        let table: String = row.try_get("relname")?;
        let rows = rows_of(connection, &table, &first_kept).await?;
        let is_default = table == DEFAULT;
        if !is_default || rows > 0 {
            let bytes = if is_default { 0 } else { row.try_get("bytes")? };
            tables.push(Removable { table, rows, bytes });
        }
    }
    Ok(Plan { first_kept, tables })
}

/// What stands for a table in statements, which cannot be bound: its name comes from the catalog and has neither
/// quotes nor blanks.
fn old_rows_of(table: &str) -> String {
    format!("redline.{table} old where old.recorded_at < (($1 || '-01')::timestamp at time zone 'UTC')")
}

async fn rows_of(connection: &mut PgConnection, table: &str, first_kept: &str) -> Result<i64, StoreError> {
    let rows = sqlx::query_scalar(&format!("select count(*) from {}", old_rows_of(table)))
        .bind(first_kept)
        .fetch_one(connection)
        .await?;
    Ok(rows)
}

/// Refuses whoever may not drop partitions.
///
/// # Errors
/// When the user does not own the tables, or Postgres cannot be reached.
pub async fn require_owner(connection: &mut PgConnection) -> Result<(), StoreError> {
    let owner: Option<String> = sqlx::query_scalar(
        "select case when pg_has_role(relowner, 'usage') then null else relowner::regrole::text end
         from pg_class where oid = 'redline.events'::regclass",
    )
    .fetch_one(connection)
    .await?;
    match owner {
        None => Ok(()),
        Some(owner) => Err(StoreError::Refused(format!(
            "only {owner}, who owns the tables, may remove events; connect as it, as for `redline migrate`: database.url"
        ))),
    }
}

/// An entity that has old contents, and the greatest version among them.
#[derive(Clone, Debug)]
pub struct Ageing {
    /// Its number.
    pub entity: i64,
    /// What it is.
    pub key: EntityKey,
    /// The greatest version that is to go.
    pub version: i64,
}

/// Lists the entities with old contents in a table, for [`take_ageing`] over the same connection.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn list_ageing(
    connection: &mut PgConnection,
    table: &Removable,
    first_kept: &str,
) -> Result<(), StoreError> {
    sqlx::raw_sql("drop table if exists pg_temp.ageing")
        .execute(&mut *connection)
        .await?;
    sqlx::query(&format!(
        "create temporary table ageing as select entity, max(version) as version from {} group by entity",
        old_rows_of(&table.table)
    ))
    .bind(first_kept)
    .execute(&mut *connection)
    .await?;
    sqlx::raw_sql("alter table pg_temp.ageing add primary key (entity); analyze pg_temp.ageing")
        .execute(connection)
        .await?;
    Ok(())
}

/// The next listed entities behind a number, locked until the transaction ends; those whose horizon is high enough are left
/// out. Answers the last number that was looked at, too; none at the end.
///
/// # Errors
/// When one of them waits to be derived; or when Postgres cannot be reached.
pub async fn take_ageing(
    transaction: &mut PgConnection,
    behind: i64,
    most: i64,
) -> Result<(Vec<Ageing>, Option<i64>), StoreError> {
    let found: Vec<(i64, i64)> = sqlx::query_as(
        "select entity, version from pg_temp.ageing where entity > $1 order by entity limit $2",
    )
    .bind(behind)
    .bind(most)
    .fetch_all(&mut *transaction)
    .await?;
    let last = found.last().map(|(entity, _)| *entity);
    let (entities, versions): (Vec<i64>, Vec<i64>) = found.into_iter().unzip();
    let rows = sqlx::query(
        "select e.entity, e.entity_type, e.source, e.entity_id, u.version
         from unnest($1::bigint[], $2::bigint[]) u (entity, version) join redline.entities e using (entity)
         where e.horizon is null or e.horizon < u.version order by e.entity for no key update of e",
    )
    .bind(&entities)
    .bind(&versions)
    .fetch_all(&mut *transaction)
    .await?;
    let ageing: Vec<Ageing> = rows
        .iter()
        .map(|row| {
            Ok(Ageing {
                entity: row.try_get("entity")?,
                key: read_key(row)?,
                version: row.try_get("version")?,
            })
        })
        .collect::<Result<_, StoreError>>()?;
    let waiting: i64 =
        sqlx::query_scalar("select count(*) from redline.dirty_entities where entity = any($1)")
            .bind(ageing.iter().map(|one| one.entity).collect::<Vec<_>>())
            .fetch_one(transaction)
            .await?;
    if waiting > 0 {
        return Err(StoreError::Refused(
            "facts were recorded that some entities with old events are not judged under yet; let workers come to \
             rest (`redline doctor --quiet --wait 600`), then again"
                .to_owned(),
        ));
    }
    Ok((ageing, last))
}

/// Sets the horizon of entities of which nothing above it is recorded; answers their numbers. Their own state is that at
/// the horizon.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn set_at_latest(
    transaction: &mut PgConnection,
    ageing: &[Ageing],
) -> Result<HashSet<i64>, StoreError> {
    let set: Vec<i64> = sqlx::query_scalar(
        "update redline.entities e set horizon = e.version, revision = e.revision + 1
         from unnest($1::bigint[], $2::bigint[]) u (entity, version)
         where e.entity = u.entity and e.version = u.version returning e.entity",
    )
    .bind(ageing.iter().map(|one| one.entity).collect::<Vec<_>>())
    .bind(ageing.iter().map(|one| one.version).collect::<Vec<_>>())
    .fetch_all(&mut *transaction)
    .await?;
    sqlx::query("delete from redline.horizons where entity = any($1)")
        .bind(&set)
        .execute(transaction)
        .await?;
    Ok(set.into_iter().collect())
}

/// Sets the horizons of entities that have newer versions, each with its state there.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn set(transaction: &mut PgConnection, horizons: &[(i64, EntityState)]) -> Result<(), StoreError> {
    let states: Vec<&EntityState> = horizons.iter().map(|(_, state)| state).collect();
    let columns = state_columns(&states);
    sqlx::query(
        "with h as (
            insert into redline.horizons (entity, version, content_hash, observed_at, baseline, baseline_observed_at,
                previous, deleted, reach)
            select * from unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::timestamptz[], $5::text[],
                $6::timestamptz[], $7::text[], $8::boolean[], $9::timestamptz[])
            on conflict (entity) do update set version = excluded.version, content_hash = excluded.content_hash,
                observed_at = excluded.observed_at, baseline = excluded.baseline,
                baseline_observed_at = excluded.baseline_observed_at, previous = excluded.previous,
                deleted = excluded.deleted, reach = excluded.reach
            returning entity, version)
         update redline.entities e set horizon = h.version, revision = e.revision + 1 from h where e.entity = h.entity",
    )
    .bind(horizons.iter().map(|(entity, _)| *entity).collect::<Vec<_>>())
    .bind(columns.version)
    .bind(columns.hash)
    .bind(columns.observed_at)
    .bind(columns.baseline)
    .bind(columns.baseline_observed_at)
    .bind(columns.previous)
    .bind(columns.deleted)
    .bind(columns.reach)
    .execute(transaction)
    .await?;
    Ok(())
}

/// Writes down which content stands where several came under one version up to the horizon, while the contents tell.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn keep_standing(transaction: &mut PgConnection, entities: &[i64]) -> Result<(), StoreError> {
    sqlx::query(
        "with contested as (
            select v.entity, v.version from redline.versions v join redline.entities e using (entity)
            where v.entity = any($1) and v.version <= e.horizon and v.standing is null
            group by 1, 2 having count(*) > 1),
         standing as (
            select distinct on (v.entity, v.version) v.entity, v.version, v.content_hash
            from contested join redline.versions v using (entity, version)
            left join redline.events event on event.position_id = v.position_id and event.\"offset\" = v.\"offset\"
                and event.recorded_at = v.recorded_at
            order by v.entity, v.version, (event.content::jsonb->>'modified_at')::timestamptz desc nulls last,
                v.content_hash desc)
         update redline.versions v set standing = s.content_hash = v.content_hash from standing s
         where v.entity = s.entity and v.version = s.version",
    )
    .bind(entities)
    .execute(transaction)
    .await?;
    Ok(())
}

/// Removes the old contents of one table, all of whose entities have their horizons, in a transaction of its own.
///
/// # Errors
/// When a content has no horizon above it, when somebody reads the events all the time, or when Postgres cannot be reached.
pub async fn remove(
    connection: &mut PgConnection,
    table: &Removable,
    first_kept: &str,
) -> Result<(), StoreError> {
    for _ in 1..ATTEMPTS {
        match remove_once(connection, table, first_kept).await {
            Err(error) if error.is_locked_out() => tokio::time::sleep(PAUSE).await,
            done => return done,
        }
    }
    remove_once(connection, table, first_kept).await.map_err(|error| match error.is_locked_out() {
        true => StoreError::Refused(format!(
            "redline.{} cannot be removed while somebody reads the events for so long, such as `redline rederive`, \
             `redline rules backtest` or a backup; run it again later",
            table.table
        )),
        false => error,
    })
}

async fn remove_once(
    connection: &mut PgConnection,
    table: &Removable,
    first_kept: &str,
) -> Result<(), StoreError> {
    let name = &table.table;
    let mut transaction = connection.begin().await?;
    // Whoever asks for the lock holds up everybody behind it.
    sqlx::query("set local lock_timeout = '3s'")
        .execute(&mut *transaction)
        .await?;
    // No row can come in between the look at the horizons and the end.
    sqlx::raw_sql(&format!("lock table redline.{name} in share row exclusive mode"))
        .execute(&mut *transaction)
        .await?;
    let unsafe_rows: i64 = sqlx::query_scalar(&format!(
        "select count(*) from redline.entities e join (select entity, version from {}) o using (entity)
         where e.horizon is null or e.horizon < o.version",
        old_rows_of(name)
    ))
    .bind(first_kept)
    .fetch_one(&mut *transaction)
    .await?;
    let rows = rows_of(&mut transaction, name, first_kept).await?;
    if unsafe_rows > 0 || rows != table.rows {
        return Err(StoreError::Refused(format!(
            "redline.{name} changed while its events were to be removed; nothing of it was removed, run it again"
        )));
    }
    sqlx::query(
        "insert into redline.removed_events (events_table, before, rows, bytes)
         values ($1, ($2 || '-01')::timestamp at time zone 'UTC', $3, $4)",
    )
    .bind(name)
    .bind(first_kept)
    .bind(rows)
    .bind(table.bytes)
    .execute(&mut *transaction)
    .await?;
    if name == DEFAULT {
        sqlx::query(&format!("delete from {}", old_rows_of(name)))
            .bind(first_kept)
            .execute(&mut *transaction)
            .await?;
    } else {
        sqlx::raw_sql(&format!("drop table redline.{name}"))
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// How many contents retention removed so far.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn removed(connection: &mut PgConnection) -> Result<i64, StoreError> {
    let rows = sqlx::query_scalar("select coalesce(sum(rows), 0)::bigint from redline.removed_events")
        .fetch_one(connection)
        .await?;
    Ok(rows)
}

/// Holds off the removal of contents until the transaction ends. Its first statement but for what sets the transaction,
/// so that everything it sees is there to be read.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn hold_off(transaction: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("lock table redline.events in access share mode")
        .execute(transaction)
        .await?;
    Ok(())
}

/// Where deriving an entity begins.
#[derive(Clone, Debug)]
pub struct Horizon {
    /// What it is.
    pub key: EntityKey,
    /// Findings of versions up to this one are final.
    pub version: i64,
    /// The summary of those versions.
    pub state: EntityState,
    /// Approvals that their changes have taken.
    pub used_approvals: Vec<String>,
}

/// The horizons of those of the entities that have one.
///
/// # Errors
/// When Postgres cannot be reached, or the record is damaged.
pub async fn horizons(connection: &mut PgConnection, entities: &[i64]) -> Result<Vec<Horizon>, StoreError> {
    if entities.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(
        "select e.entity_type, e.source, e.entity_id, e.horizon, s.version, s.content_hash, s.observed_at, s.baseline,
            s.baseline_observed_at, s.previous, s.deleted, s.reach,
            array(select c.approval from redline.changes c
                where c.entity = e.entity and c.version <= e.horizon and c.approval is not null) as approvals
         from redline.entities e
         left join lateral (
            select h.version, h.content_hash, h.observed_at, h.baseline, h.baseline_observed_at, h.previous, h.deleted,
                h.reach from redline.horizons h where h.entity = e.entity
            union all
            select e.version, e.content_hash, e.observed_at, e.baseline, e.baseline_observed_at, e.previous,
                e.deleted, e.reach where e.version = e.horizon) s on s.version = e.horizon
         where e.entity = any($1) and e.horizon is not null",
    )
    .bind(entities)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let key = read_key(row)?;
            let version: i64 = row.try_get("horizon")?;
            // Without it, what is left of a history would be taken for the whole.
            if row.try_get::<Option<i64>, _>("version")?.is_none() {
                return Err(StoreError::Damaged {
                    what: key.to_string(),
                    reason: format!("redline.horizons does not have its state at version {version}"),
                });
            }
            Ok(Horizon {
                version,
                state: read_state(row, &key)?,
                used_approvals: row.try_get("approvals")?,
                key,
            })
        })
        .collect()
}

/// Which of these contents were accepted.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn known_contents(
    connection: &mut PgConnection,
    contents: &[(i64, i64, ContentHash)],
) -> Result<HashSet<(i64, i64, ContentHash)>, StoreError> {
    if contents.is_empty() {
        return Ok(HashSet::new());
    }
    let rows = sqlx::query(
        "select v.entity, v.version, v.content_hash from redline.versions v
         join unnest($1::bigint[], $2::bigint[], $3::bytea[]) k (entity, version, content_hash)
            using (entity, version, content_hash)",
    )
    .bind(contents.iter().map(|(entity, ..)| *entity).collect::<Vec<_>>())
    .bind(
        contents
            .iter()
            .map(|(_, version, _)| *version)
            .collect::<Vec<_>>(),
    )
    .bind(
        contents
            .iter()
            .map(|(.., hash)| hash.0.to_vec())
            .collect::<Vec<_>>(),
    )
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let hash = content_hash(row.try_get("content_hash")?)?;
            Ok((row.try_get("entity")?, row.try_get("version")?, hash))
        })
        .collect()
}
