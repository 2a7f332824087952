//! Flags, newest change first.

use std::ops::ControlFlow;

use redline_schemas::Timestamp;
use redline_schemas::flag::Flag;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::{hand_over, instant};
use crate::error::StoreError;
use crate::flags::read_flag;
use crate::types::optional_time;

/// Which flags; what is not set leaves out nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FlagFilter {
    /// The source.
    pub source: Option<String>,
    /// The entity's id, of whatever source.
    pub entity_id: Option<String>,
    /// The kind.
    pub kind: Option<String>,
    /// The risk.
    pub risk: Option<String>,
    /// `standing` or `withdrawn`.
    pub status: Option<String>,
    /// The first instant of changes.
    pub from: Option<Timestamp>,
    /// The first instant that is too late.
    pub to: Option<Timestamp>,
}

/// A place in the order of flags.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlagPlace {
    /// The time of the change.
    pub modified_at: Option<Timestamp>,
    /// The flag there.
    pub flag_id: String,
}

/// A flag as it is recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordedFlag {
    /// Its latest revision.
    pub flag: Flag,
    /// When its first revision was recorded.
    pub first_detected_at: Timestamp,
    /// When this one was.
    pub revised_at: Timestamp,
}

impl RecordedFlag {
    /// Where it stands in the order.
    pub fn place(&self) -> FlagPlace {
        FlagPlace {
            modified_at: self.flag.modified_at,
            flag_id: self.flag.flag_id.clone(),
        }
    }
}

/// A revision of a flag, as it was published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revision {
    /// Its number.
    pub revision: i64,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// The flag as JSON; its impact is text.
    pub flag: String,
}

pub(super) fn read_recorded(row: &PgRow) -> Result<RecordedFlag, StoreError> {
    Ok(RecordedFlag {
        flag: read_flag(row)?,
        first_detected_at: instant(row, "first_detected_at")?,
        revised_at: instant(row, "revised_at")?,
    })
}

/// Hands over the flags behind a place, at most so many, until they are enough.
///
/// # Errors
/// When Postgres cannot be reached, or the record is damaged.
pub async fn page(
    connection: &mut PgConnection,
    filter: &FlagFilter,
    after: Option<&FlagPlace>,
    limit: i64,
    take: impl FnMut(RecordedFlag) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let rows = sqlx::query(
        "select flag_id, revision, status, kind, risk, entity_type, source, entity_id, version, \"column\",
            before, after, impact::text as impact, currency, score, editor, modified_at, period, legal_entity, link,
            reason, details::text as details, rules_hash, position_topic, position_incarnation,
            position_partition, position_offset, first_detected_at, revised_at
         from redline.flags
         where ($1::text is null or source = $1) and ($2::text is null or entity_id = $2)
            and ($3::text is null or kind = $3) and ($4::text is null or risk = $4)
            and ($5::text is null or status = $5)
            and ($6::timestamptz is null or coalesce(modified_at, '-infinity') >= $6)
            and ($7::timestamptz is null
                or (coalesce(modified_at, '-infinity') < $7 and modified_at is not null))
            and ($8::text is null
                or (coalesce(modified_at, '-infinity'), flag_id) < (coalesce($9::timestamptz, '-infinity'), $8))
         order by coalesce(modified_at, '-infinity') desc, flag_id desc limit $10",
    )
    .bind(&filter.source)
    .bind(&filter.entity_id)
    .bind(&filter.kind)
    .bind(&filter.risk)
    .bind(&filter.status)
    .bind(optional_time(filter.from))
    .bind(optional_time(filter.to))
    .bind(after.map(|place| place.flag_id.as_str()))
    .bind(optional_time(after.and_then(|place| place.modified_at)))
    .bind(limit)
    .fetch(connection);
    hand_over(rows, read_recorded, take).await
}

/// One flag; none when there is none, or none of the source.
///
/// # Errors
/// When Postgres cannot be reached, or the record is damaged.
pub async fn one(
    connection: &mut PgConnection,
    flag_id: &str,
    source: Option<&str>,
) -> Result<Option<RecordedFlag>, StoreError> {
    let row = sqlx::query(
        "select flag_id, revision, status, kind, risk, entity_type, source, entity_id, version, \"column\",
            before, after, impact::text as impact, currency, score, editor, modified_at, period, legal_entity, link,
            reason, details::text as details, rules_hash, position_topic, position_incarnation,
            position_partition, position_offset, first_detected_at, revised_at
         from redline.flags where flag_id = $1 and ($2::text is null or source = $2)",
    )
    .bind(flag_id)
    .bind(source)
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(read_recorded).transpose()
}

/// Hands over the revisions of a flag before one of them, newest first, at most so many, until they are enough.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn revisions(
    connection: &mut PgConnection,
    flag_id: &str,
    before: Option<i64>,
    limit: i64,
    take: impl FnMut(Revision) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    // A number of JSON would be read as a floating one further on.
    let rows = sqlx::query(
        "select revision, recorded_at, (flag || case when flag ? 'impact'
                then jsonb_build_object('impact', flag->>'impact') else '{}' end)::text as flag
         from redline.flag_revisions
         where flag_id = $1 and ($2::bigint is null or revision < $2)
         order by revision desc limit $3",
    )
    .bind(flag_id)
    .bind(before)
    .bind(limit)
    .fetch(connection);
    let read = |row: &PgRow| {
        Ok(Revision {
            revision: row.try_get("revision")?,
            recorded_at: instant(row, "recorded_at")?,
            flag: row.try_get("flag")?,
        })
    };
    hand_over(rows, read, take).await
}
