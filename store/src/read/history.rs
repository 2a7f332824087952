//! The history of one entity: every content that was accepted, in the order of versions.

use std::collections::HashMap;
use std::ops::ControlFlow;

use redline_schemas::flag::Position;
use redline_schemas::{ContentHash, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::changes::{RecordedChange, read_change};
use super::flags::{RecordedFlag, read_recorded};
use super::{hand_over, instant};
use crate::entities::time;
use crate::error::StoreError;
use crate::types::content_hash;

/// A place in a history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VersionPlace {
    /// The version.
    pub version: i64,
    /// Which of its contents.
    pub hash: ContentHash,
}

/// An accepted content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordedVersion {
    /// Version and content hash.
    pub place: VersionPlace,
    /// Least of its copies; rows only.
    pub observed_at: Option<Timestamp>,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Where it was accepted.
    pub position: Option<Position>,
    /// The content in canonical form; none when it is no longer kept.
    pub content: Option<String>,
}

/// The number of an entity.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn find(
    connection: &mut PgConnection,
    entity_type: &str,
    source: &str,
    entity_id: &str,
) -> Result<Option<i64>, StoreError> {
    let entity = sqlx::query_scalar(
        "select entity from redline.entities where entity_type = $1 and source = $2 and entity_id = $3",
    )
    .bind(entity_type)
    .bind(source)
    .bind(entity_id)
    .fetch_optional(connection)
    .await?;
    Ok(entity)
}

fn read_version(row: &PgRow) -> Result<RecordedVersion, StoreError> {
    let position = match row.try_get::<Option<String>, _>("topic")? {
        None => None,
        Some(topic) => Some(Position {
            topic,
            incarnation: row.try_get("incarnation")?,
            partition: row.try_get("partition")?,
            offset: row.try_get("offset")?,
        }),
    };
    Ok(RecordedVersion {
        place: VersionPlace {
            version: row.try_get("version")?,
            hash: content_hash(row.try_get("content_hash")?)?,
        },
        observed_at: time(row, "observed_at")?,
        recorded_at: instant(row, "recorded_at")?,
        position,
        content: row.try_get("content")?,
    })
}

/// Hands over the contents behind a place, at most so many, until they are enough.
///
/// # Errors
/// When Postgres cannot be reached, or the record is damaged.
pub async fn page(
    connection: &mut PgConnection,
    entity: i64,
    after: Option<VersionPlace>,
    limit: i64,
    take: impl FnMut(RecordedVersion) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let rows = sqlx::query(
        "select v.version, v.content_hash, v.observed_at, v.recorded_at, v.\"offset\", p.topic, p.incarnation,
            p.partition, event.content
         from redline.versions v
         left join redline.positions p using (position_id)
         left join redline.events event on event.position_id = v.position_id and event.\"offset\" = v.\"offset\"
            and event.recorded_at = v.recorded_at
         where v.entity = $1 and ($2::bigint is null or (v.version, v.content_hash) > ($2, $3::bytea))
         order by v.version, v.content_hash limit $4",
    )
    .bind(entity)
    .bind(after.map(|place| place.version))
    .bind(after.map(|place| place.hash.0.to_vec()))
    .bind(limit)
    .fetch(connection);
    hand_over(rows, read_version, take).await
}

/// Which content stands for each of these versions: the greatest by time of the change, an absent one lowest, and hash.
///
/// # Errors
/// When Postgres cannot be reached, or the record is damaged.
pub async fn standing(
    connection: &mut PgConnection,
    entity: i64,
    versions: &[i64],
) -> Result<HashMap<i64, ContentHash>, StoreError> {
    if versions.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query(
        "select distinct on (v.version) v.version, v.content_hash
         from redline.versions v
         left join redline.events event on event.position_id = v.position_id and event.\"offset\" = v.\"offset\"
            and event.recorded_at = v.recorded_at
         where v.entity = $1 and v.version = any($2)
         order by v.version, v.standing desc nulls last, (event.content::jsonb->>'modified_at')::timestamptz desc nulls last,
            v.content_hash desc",
    )
    .bind(entity)
    .bind(versions)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok((
                row.try_get("version")?,
                content_hash(row.try_get("content_hash")?)?,
            ))
        })
        .collect()
}

/// Hands over the changes that these versions of an entity made, in the order of versions, until they are enough.
///
/// # Errors
/// When Postgres cannot be reached, or the record is damaged.
pub async fn changes(
    connection: &mut PgConnection,
    entity: i64,
    (first, last): (i64, i64),
    take: impl FnMut(RecordedChange) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let rows = sqlx::query(
        "select entity_type, source, entity_id, version, column_name, before, after, impact::text as impact,
            currency, risk, editor, modified_at, attribution, timing, authorised, approval
         from redline.changes where entity = $1 and version between $2 and $3
         order by version, column_name",
    )
    .bind(entity)
    .bind(first)
    .bind(last)
    .fetch(connection);
    hand_over(rows, read_change, take).await
}

/// Hands over the flags about these versions of an entity, in the order of versions, until they are enough.
///
/// # Errors
/// When Postgres cannot be reached, or the record is damaged.
pub async fn flags(
    connection: &mut PgConnection,
    entity: i64,
    (first, last): (i64, i64),
    take: impl FnMut(RecordedFlag) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let rows = sqlx::query(
        "select flag_id, revision, status, kind, risk, entity_type, source, entity_id, version, \"column\",
            before, after, impact::text as impact, currency, score, editor, modified_at, period, legal_entity, link,
            reason, details::text as details, rules_hash, position_topic, position_incarnation,
            position_partition, position_offset, first_detected_at, revised_at
         from redline.flags where entity = $1 and version between $2 and $3
         order by version, kind, \"column\", flag_id",
    )
    .bind(entity)
    .bind(first)
    .bind(last)
    .fetch(connection);
    hand_over(rows, read_recorded, take).await
}
