//! The read model: flags, changes and histories, a bounded page at a time, each in an order that an index has.
//!
//! A page goes on behind a place, never behind a number of rows, so that what was shown is neither repeated nor passed
//! over while more is recorded. Filters that are not set are null; [`pool`] makes Postgres plan every statement with
//! its values, in which such a filter is nothing.

pub mod changes;
pub mod flags;
pub mod history;

use std::time::Duration;

use futures_util::TryStreamExt as _;
use redline_schemas::Timestamp;
use sqlx::postgres::{PgPoolOptions, PgRow};
use sqlx::{PgPool, Row};

use crate::error::StoreError;
use crate::options;
use crate::types::Timestamptz;

pub use std::ops::ControlFlow;

/// How long a reader waits for a free connection.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A pool that reads only: a transaction sees one state of the record, and Postgres ends a statement that takes
/// longer than this.
///
/// # Errors
/// When the address cannot be read.
pub fn pool(url: &str, role: &str, connections: u32, statement: Duration) -> Result<PgPool, StoreError> {
    let milliseconds = statement.as_millis().to_string();
    let options = options(url, role)?.options([
        ("statement_timeout", milliseconds.as_str()),
        ("idle_in_transaction_session_timeout", &milliseconds),
        ("default_transaction_read_only", "on"),
        ("default_transaction_isolation", "repeatable\\ read"),
        ("plan_cache_mode", "force_custom_plan"),
        ("tcp_keepalives_idle", "30"),
    ]);
    Ok(PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .connect_lazy_with(options))
}

/// Hands rows over, one at a time, until they end or are enough.
async fn hand_over<T>(
    mut rows: impl futures_util::Stream<Item = Result<PgRow, sqlx::Error>> + Unpin,
    read: impl Fn(&PgRow) -> Result<T, StoreError>,
    mut take: impl FnMut(T) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    while let Some(row) = rows.try_next().await? {
        if take(read(&row)?).is_break() {
            break;
        }
    }
    Ok(())
}

fn instant(row: &PgRow, column: &str) -> Result<Timestamp, StoreError> {
    Ok(row.try_get::<Timestamptz, _>(column)?.0)
}
