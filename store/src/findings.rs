//! What was found in one source, whole, as the tables have it: for whoever holds it against something else.

use serde_json::Value;
use sqlx::{PgConnection, Row};

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

/// The standing flags of one row, payout or order, in the order in which they were detected.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn standing_flags_of(
    connection: &mut PgConnection,
    source: &str,
    entity_id: &str,
) -> Result<Vec<Value>, StoreError> {
    Ok(sqlx::query_scalar(
        "select to_jsonb(f) || jsonb_build_object('impact', f.impact::text) from redline.flags f
         where source = $1 and entity_id = $2 and status = 'standing' order by first_detected_at, flag_id",
    )
    .bind(source)
    .bind(entity_id)
    .fetch_all(connection)
    .await?)
}

/// How many flags of a source stand, and the sentence of the one that was detected first; of those that have an impact,
/// where there are any.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn first_and_count(
    connection: &mut PgConnection,
    source: &str,
) -> Result<(Option<String>, i64), StoreError> {
    let row = sqlx::query(
        "select count(*) as count, (array_agg(reason order by impact is null, first_detected_at, flag_id))[1] as reason
         from redline.flags where source = $1 and status = 'standing'",
    )
    .bind(source)
    .fetch_one(connection)
    .await?;
    Ok((row.try_get("reason")?, row.try_get("count")?))
}
