//! Flags: reading the latest revisions, and writing new ones.

use redline_schemas::flag::{Flag, Position};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use crate::entities::time;
use crate::error::StoreError;
use crate::types::Timestamptz;

/// Loads the latest revision of every flag that follows from the entities alone, each with its entity.
///
/// # Errors
/// When Postgres cannot be reached, or the record is damaged.
pub async fn load(connection: &mut PgConnection, entities: &[i64]) -> Result<Vec<(i64, Flag)>, StoreError> {
    if entities.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(
        "select flag_id, revision, status, kind, risk, entity_type, source, entity_id, version, \"column\",
            before, after, impact::text as impact, currency, score, editor, modified_at, period, legal_entity, link,
            reason, details::text as details, rules_hash, position_topic, position_incarnation,
            position_partition, position_offset, entity
         from redline.flags where entity = any($1) and state_key is null",
    )
    .bind(entities)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| Ok((row.try_get("entity")?, read_flag(row)?)))
        .collect()
}

/// Loads the latest revision of every flag that follows from a state key.
///
/// # Errors
/// When Postgres cannot be reached, or the record is damaged.
pub async fn load_of_state(
    connection: &mut PgConnection,
    state_key: &str,
) -> Result<Vec<(i64, Flag)>, StoreError> {
    let rows = sqlx::query(
        "select flag_id, revision, status, kind, risk, entity_type, source, entity_id, version, \"column\",
            before, after, impact::text as impact, currency, score, editor, modified_at, period, legal_entity, link,
            reason, details::text as details, rules_hash, position_topic, position_incarnation,
            position_partition, position_offset, entity
         from redline.flags where state_key = $1",
    )
    .bind(state_key)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| Ok((row.try_get("entity")?, read_flag(row)?)))
        .collect()
}

pub(crate) fn read_flag(row: &PgRow) -> Result<Flag, StoreError> {
    let flag_id: String = row.try_get("flag_id")?;
    let damaged = |reason: String| StoreError::Damaged {
        what: format!("flag {flag_id}"),
        reason,
    };
    let impact = row
        .try_get::<Option<&str>, _>("impact")?
        .map(|text| text.parse().map_err(|error| damaged(format!("impact {error}"))))
        .transpose()?;
    let details =
        serde_json::from_str(row.try_get("details")?).map_err(|error| damaged(error.to_string()))?;
    Ok(Flag {
        revision: row.try_get("revision")?,
        status: row.try_get("status")?,
        kind: row.try_get("kind")?,
        risk: row.try_get("risk")?,
        entity_type: row.try_get("entity_type")?,
        source: row.try_get("source")?,
        entity_id: row.try_get("entity_id")?,
        version: row.try_get("version")?,
        column: row.try_get("column")?,
        before: row.try_get("before")?,
        after: row.try_get("after")?,
        impact,
        currency: row.try_get("currency")?,
        score: row.try_get("score")?,
        editor: row.try_get("editor")?,
        modified_at: time(row, "modified_at")?,
        period: row.try_get("period")?,
        legal_entity: row.try_get("legal_entity")?,
        link: row.try_get("link")?,
        reason: row.try_get("reason")?,
        details,
        rules_hash: row.try_get("rules_hash")?,
        position: Position {
            topic: row.try_get("position_topic")?,
            incarnation: row.try_get("position_incarnation")?,
            partition: row.try_get("position_partition")?,
            offset: row.try_get("position_offset")?,
        },
        flag_id,
    })
}

/// Writes flags and their revisions, those of a state key with it. A flag's revision must be the one after the recorded
/// one.
///
/// # Errors
/// When Postgres cannot be reached, or another writer revised a flag.
pub(crate) async fn write(
    connection: &mut PgConnection,
    flags: &[(i64, &Flag)],
    state_key: Option<&str>,
    recorded_at: Timestamptz,
) -> Result<(), StoreError> {
    if flags.is_empty() {
        return Ok(());
    }
    let json: Vec<String> = flags.iter().map(|(_, flag)| flag.to_json()).collect();
    let entities: Vec<i64> = flags.iter().map(|(entity, _)| *entity).collect();
    let written = sqlx::query(
        "insert into redline.flags
         select f->>'flag_id', (f->>'revision')::bigint, f->>'status', f->>'kind', f->>'risk', f->>'entity_type',
            f->>'source', f->>'entity_id', (f->>'version')::bigint, f->>'column', f->>'before', f->>'after',
            (f->>'impact')::numeric, f->>'currency', (f->>'score')::bigint, f->>'editor',
            (f->>'modified_at')::timestamptz, f->>'period', f->>'legal_entity', f->>'link', f->>'reason',
            coalesce(f->'details', '{}'), f->>'rules_hash', f->'position'->>'topic',
            f->'position'->>'incarnation', (f->'position'->>'partition')::int,
            (f->'position'->>'offset')::bigint, entity, $3, $3, $4
         from (select json::jsonb as f, entity from unnest($1::text[], $2::bigint[]) u (json, entity)
            offset 0) flag -- `offset 0`: the JSON is read once a flag, not once a field
         on conflict (flag_id) do update set revision = excluded.revision, status = excluded.status,
            risk = excluded.risk, \"column\" = excluded.\"column\", before = excluded.before,
            after = excluded.after, impact = excluded.impact, currency = excluded.currency,
            score = excluded.score, editor = excluded.editor, modified_at = excluded.modified_at,
            period = excluded.period, legal_entity = excluded.legal_entity, link = excluded.link,
            reason = excluded.reason, details = excluded.details, rules_hash = excluded.rules_hash,
            position_topic = excluded.position_topic, position_incarnation = excluded.position_incarnation,
            position_partition = excluded.position_partition, position_offset = excluded.position_offset,
            revised_at = excluded.revised_at
         where redline.flags.revision = excluded.revision - 1",
    )
    .bind(&json)
    .bind(&entities)
    .bind(recorded_at)
    .bind(state_key)
    .execute(&mut *connection)
    .await?;
    if written.rows_affected() != flags.len() as u64 {
        return Err(StoreError::EntityChanged);
    }
    sqlx::query(
        "insert into redline.flag_revisions (flag_id, revision, status, flag, recorded_at)
         select f->>'flag_id', (f->>'revision')::bigint, f->>'status', f, $2
         from (select json::jsonb as f from unnest($1::text[]) u (json) offset 0) flag",
    )
    .bind(&json)
    .bind(recorded_at)
    .execute(connection)
    .await?;
    Ok(())
}
