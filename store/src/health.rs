//! What `redline doctor` asks Postgres.

use sqlx::{PgConnection, Row};

use crate::error::StoreError;

/// The server and the way to it.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its version as a number, 150008 for 15.8.
    pub version: i32,
    /// Microseconds since 1970 by its clock.
    pub clock_microseconds: i64,
    /// Whether nothing can be written: a standby, or set so.
    pub is_read_only: bool,
    /// Connections that are open now, of all users.
    pub connections: i64,
    /// Connections that there can be.
    pub max_connections: i64,
}

/// How the database compares with the migrations of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrations {
    /// In place.
    pub applied: usize,
    /// Of this version, and not in place.
    pub missing: usize,
    /// In place, and not of this version: a newer one migrated.
    pub unknown: usize,
    /// In place with another text, or broken off.
    pub damaged: usize,
}

/// Asks how the server is.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn server(connection: &mut PgConnection) -> Result<Server, StoreError> {
    let row = sqlx::query(
        "select current_setting('server_version_num')::int as version,
            (extract(epoch from clock_timestamp()) * 1000000)::bigint as clock,
            pg_is_in_recovery() or current_setting('default_transaction_read_only')::bool as read_only,
            (select count(*) from pg_stat_activity where backend_type = 'client backend') as connections,
            current_setting('max_connections')::bigint as max_connections",
    )
    .fetch_one(connection)
    .await?;
    Ok(Server {
        version: row.try_get("version")?,
        clock_microseconds: row.try_get("clock")?,
        is_read_only: row.try_get("read_only")?,
        connections: row.try_get("connections")?,
        max_connections: row.try_get("max_connections")?,
    })
}

/// Compares what is in place with the migrations of this version.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn migrations(connection: &mut PgConnection) -> Result<Migrations, StoreError> {
    let ours: Vec<_> = crate::MIGRATOR.iter().collect();
    let exists: bool = sqlx::query_scalar("select to_regclass('redline._sqlx_migrations') is not null")
        .fetch_one(&mut *connection)
        .await?;
    let mut found = Migrations {
        applied: 0,
        missing: ours.len(),
        unknown: 0,
        damaged: 0,
    };
    if !exists {
        return Ok(found);
    }
    let rows = sqlx::query("select version, checksum, success from redline._sqlx_migrations")
        .fetch_all(connection)
        .await?;
    found.applied = rows.len();
    for row in &rows {
        let version: i64 = row.try_get("version")?;
        let Some(own) = ours.iter().find(|own| own.version == version) else {
            found.unknown += 1;
            continue;
        };
        found.missing -= 1;
        let checksum: &[u8] = row.try_get("checksum")?;
        if !row.try_get::<bool, _>("success")? || checksum != &own.checksum[..] {
            found.damaged += 1;
        }
    }
    Ok(found)
}

/// Tables of ours that the present user may not read and write, with the rights that are missing.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn missing_rights(connection: &mut PgConnection) -> Result<Vec<String>, StoreError> {
    let missing = sqlx::query_scalar(
        "select c.relname || ' (' || string_agg(r.name, ', ' order by r.name) || ')'
         from pg_class c
         join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'redline'
         cross join (values ('select'), ('insert'), ('update'), ('delete')) r (name)
         where c.relkind in ('r', 'p') and not c.relispartition and c.relname <> '_sqlx_migrations'
            and not (has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, r.name))
         group by c.relname order by c.relname",
    )
    .fetch_all(connection)
    .await?;
    Ok(missing)
}

/// The months, this one and the next two, for which events have no partition of their own, as `2026_03`.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn missing_event_partitions(connection: &mut PgConnection) -> Result<Vec<String>, StoreError> {
    let missing = sqlx::query_scalar(
        "select name from (
            select to_char(date_trunc('month', now() at time zone 'UTC') + make_interval(months => ahead),
                'YYYY_MM') as name
            from generate_series(0, 2) ahead) m
         where to_regclass('redline.events_' || name) is null order by name",
    )
    .fetch_all(connection)
    .await?;
    Ok(missing)
}

/// Whether events landed where they only land when their month has no partition; then that one cannot be made.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn has_misplaced_events(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let found = sqlx::query_scalar("select exists (select from redline.events_default)")
        .fetch_one(connection)
        .await?;
    Ok(found)
}

/// Messages that wait for the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outbox {
    /// How many.
    pub messages: i64,
    /// Seconds that the oldest has waited.
    pub oldest_seconds: i64,
}

/// Asks how the outbox is.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn outbox(connection: &mut PgConnection) -> Result<Outbox, StoreError> {
    let row = sqlx::query(
        "select count(*) as messages,
            coalesce(extract(epoch from clock_timestamp() - min(recorded_at)), 0)::bigint as oldest
         from redline.outbox",
    )
    .fetch_one(connection)
    .await?;
    Ok(Outbox {
        messages: row.try_get("messages")?,
        oldest_seconds: row.try_get("oldest")?,
    })
}

/// How many records are quarantined, neither retried nor discarded.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn quarantined(connection: &mut PgConnection) -> Result<i64, StoreError> {
    let count = sqlx::query_scalar("select count(*) from redline.quarantine where status = 'quarantined'")
        .fetch_one(connection)
        .await?;
    Ok(count)
}
