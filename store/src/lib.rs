//! Postgres: the record and the transaction that writes it.
//!
//! The promise kept here: an event takes effect exactly once. Position and effects move in one transaction, the
//! position by compare-and-set, and so does every entity that the transaction read.

pub mod archive;
#[cfg(any(feature = "break-positions", feature = "break-revisions"))]
mod broken;
pub mod completeness;
pub mod contributions;
mod copy;
pub mod dirty;
pub mod entities;
pub mod error;
pub mod facts;
pub mod findings;
pub mod flags;
pub mod health;
pub mod history;
pub mod keys;
pub mod outbox;
pub mod positions;
pub mod proof;
pub mod quarantine;
pub mod quiet;
pub mod read;
pub mod record;
pub mod recorded_rules;
pub mod reference;
pub mod retention;
pub mod rules;
pub mod survey;
pub mod totals;
pub mod types;

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Executor as _, PgConnection, PgPool, Row as _};

pub use error::{Class, StoreError};
pub use sqlx;

/// What the database is made by.
pub(crate) static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// How long Postgres lets a recording connection wait before it ends its transaction by itself.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// One statement.
    pub statement: Duration,
    /// Waiting for one lock.
    pub lock: Duration,
    /// Between the statements of one transaction.
    pub idle_in_transaction: Duration,
    /// Between two statements outside of transactions; zero is without end.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            statement: Duration::from_secs(30),
            lock: Duration::from_secs(10),
            idle_in_transaction: Duration::from_secs(15),
            idle: Duration::ZERO,
        }
    }
}

/// Connection options for an address such as `postgres://user@host/database`.
///
/// # Errors
/// When the address cannot be read; the address itself may hold a password and is not repeated.
pub fn options(url: &str, role: &str) -> Result<PgConnectOptions, StoreError> {
    let refused = || {
        StoreError::Refused("the database address is not of the form postgres://user@host/database".into())
    };
    if !["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
    {
        return Err(refused());
    }
    let options = PgConnectOptions::from_str(url).map_err(|_| refused())?;
    Ok(options
        .application_name(&format!("redline-{role}"))
        .log_statements(tracing::log::LevelFilter::Trace))
}

/// Where an address leads, without user and password: `host:port/database`.
///
/// # Errors
/// When the address cannot be read.
pub fn place(url: &str) -> Result<String, StoreError> {
    let options = options(url, "place")?;
    let (host, port) = (options.get_host(), options.get_port());
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    Ok(format!("{host}:{port}/{database}"))
}

/// Whether Postgres can be used: that it answers, is who it says, and takes our login.
///
/// # Errors
/// When it does not; see [`StoreError::is_unusable`].
pub async fn reach(url: &str, role: &str) -> Result<(), StoreError> {
    recording_connection(url, role, Timeouts::default())
        .await?
        .close()
        .await?;
    Ok(())
}

/// A pool for queries and commands. It connects when it is first used.
///
/// # Errors
/// When the address cannot be read.
pub fn pool(url: &str, role: &str, connections: u32) -> Result<PgPool, StoreError> {
    let options = options(url, role)?;
    Ok(PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(5))
        .connect_lazy_with(options))
}

/// Makes the present transaction one that only reads, all of it as of one instant. Its first statement.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn read_only(transaction: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("set transaction isolation level repeatable read read only")
        .execute(transaction)
        .await?;
    Ok(())
}

/// One connection for long questions.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn read_only_connection(url: &str, role: &str) -> Result<PgConnection, StoreError> {
    let options = options(url, role)?
        .options([("default_transaction_read_only", "on")])
        // Long questions take long.
        .log_slow_statements(tracing::log::LevelFilter::Trace, Duration::from_secs(1));
    Ok(PgConnection::connect_with(&options).await?)
}

/// One connection for recording, whose transactions, and itself where that is wanted, Postgres ends when this process
/// stands still.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn recording_connection(
    url: &str,
    role: &str,
    timeouts: Timeouts,
) -> Result<PgConnection, StoreError> {
    let milliseconds = |duration: Duration| duration.as_millis().to_string();
    let options = options(url, role)?.options([
        ("statement_timeout", milliseconds(timeouts.statement)),
        ("lock_timeout", milliseconds(timeouts.lock)),
        (
            "idle_in_transaction_session_timeout",
            milliseconds(timeouts.idle_in_transaction),
        ),
        ("idle_session_timeout", milliseconds(timeouts.idle)),
        ("tcp_keepalives_idle", "30".to_owned()),
        ("client_connection_check_interval", "10000".to_owned()),
    ]);
    /// An address that swallows packets must not hold anybody up for minutes.
    const PATIENCE: Duration = Duration::from_secs(10);
    match tokio::time::timeout(PATIENCE, PgConnection::connect_with(&options)).await {
        Ok(connected) => keeps_settings(connected?, timeouts).await,
        Err(_) => Err(StoreError::Silent),
    }
}

/// The connection, if it has the timeouts that it was told. A pooler that shares connections out may have dropped them,
/// and then nothing ends the transaction of a process that stands still.
async fn keeps_settings(
    mut connection: PgConnection,
    timeouts: Timeouts,
) -> Result<PgConnection, StoreError> {
    // In one message: a pooler may hand even the parts of a prepared statement to different connections.
    let row = connection
        .fetch_one(
            "select (extract(epoch from current_setting('idle_in_transaction_session_timeout')::interval) * 1000)::bigint::text",
        )
        .await?;
    let milliseconds: String = row.try_get(0)?;
    if milliseconds == timeouts.idle_in_transaction.as_millis().to_string() {
        Ok(connection)
    } else {
        Err(StoreError::Shared)
    }
}

/// Holds off whoever else migrates, until the connection is closed.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn migrate_alone(url: &str) -> Result<PgConnection, StoreError> {
    /// "redline" in ASCII.
    const LOCK: i64 = 0x0072_6564_6c69_6e65;
    let mut connection = PgConnection::connect_with(&options(url, "migrate")?).await?;
    sqlx::query("select pg_advisory_lock($1)")
        .bind(LOCK)
        .execute(&mut connection)
        .await?;
    Ok(connection)
}

/// Makes a database where there is none of this name, asked over another database of the same server.
///
/// # Errors
/// When Postgres cannot be reached, or the user may not make databases.
pub async fn ensure_database(url: &str, name: &str) -> Result<(), StoreError> {
    let mut connection = PgConnection::connect_with(&options(url, "demo")?).await?;
    let is_there: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(name)
        .fetch_one(&mut connection)
        .await?;
    if !is_there {
        // Not a literal: the name of a database cannot be bound.
        let quoted = name.replace('"', "\"\"");
        sqlx::raw_sql(&format!("create database \"{quoted}\""))
            .execute(&mut connection)
            .await?;
    }
    connection.close().await?;
    Ok(())
}

/// Brings the database up to this version. Idempotent; answers the number of migrations that are in place.
///
/// # Errors
/// When Postgres is older than 15, cannot be reached, or refuses a migration.
pub async fn migrate(url: &str) -> Result<usize, StoreError> {
    const OLDEST: i32 = 150_000;
    let mut connection = PgConnection::connect_with(&options(url, "migrate")?).await?;
    let version: i32 = sqlx::query_scalar("select current_setting('server_version_num')::int")
        .fetch_one(&mut connection)
        .await?;
    if version < OLDEST {
        return Err(StoreError::Refused(format!(
            "Postgres 15 or newer is needed; this one is {}",
            version / 10_000
        )));
    }
    sqlx::raw_sql("create schema if not exists redline")
        .execute(&mut connection)
        .await?;
    // The list of migrations lives beside what they made.
    sqlx::raw_sql("set search_path = redline")
        .execute(&mut connection)
        .await?;
    MIGRATOR.run(&mut connection).await?;
    ensure_event_partitions(&mut connection).await?;
    Ok(MIGRATOR.iter().count())
}

/// Makes the partitions of `events` for this month and the next two.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn ensure_event_partitions(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("select redline.ensure_event_partitions()")
        .execute(connection)
        .await?;
    Ok(())
}
