//! What was found in one source, whole, as the tables have it: for whoever holds it against something else.

use serde_json::Value;
use sqlx::PgConnection;

use crate::error::StoreError;

/// All changes of a source, each an object with the names of the table's columns; amounts are text.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn changes(connection: &mut PgConnection, source: &str) -> Result<Vec<Value>, StoreError> {
    Ok(sqlx::query_scalar(
        "select to_jsonb(c) || jsonb_build_object('impact', c.impact::text) from redline.changes c
         where source = $1 order by entity_id collate \"C\", version, column_name collate \"C\"",
    )
    .bind(source)
    .fetch_all(connection)
    .await?)
}

/// All standing flags of a source, each an object with the names of the table's columns; amounts are text.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn standing_flags(connection: &mut PgConnection, source: &str) -> Result<Vec<Value>, StoreError> {
    Ok(sqlx::query_scalar(
        "select to_jsonb(f) || jsonb_build_object('impact', f.impact::text) from redline.flags f
         where source = $1 and status = 'standing' order by flag_id",
    )
    .bind(source)
    .fetch_all(connection)
    .await?)
}
