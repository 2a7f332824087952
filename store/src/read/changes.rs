//! Changes of columns, newest first.

use std::collections::HashMap;
use std::ops::ControlFlow;

use redline_domain::change::Change;
use redline_schemas::{Amount, EntityKey, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::{hand_over, instant};
use crate::error::StoreError;
use crate::types::{Timestamptz, optional_time};

/// Which changes; what is not set leaves out nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChangeFilter {
    /// The source.
    pub source: Option<String>,
    /// The entity's id, of whatever source.
    pub entity_id: Option<String>,
    /// `LOW`, `MEDIUM` or `HIGH`.
    pub risk: Option<String>,
    /// Whether an approval covers them.
    pub authorised: Option<bool>,
    /// The first instant.
    pub from: Option<Timestamp>,
    /// The first instant that is too late.
    pub to: Option<Timestamp>,
}

/// A place in the order of changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChangePlace {
    /// When the change there was made.
    pub modified_at: Timestamp,
    /// The entity's id.
    pub entity_id: String,
    /// The version that made it.
    pub version: i64,
    /// The column.
    pub column_name: String,
    /// The source.
    pub source: String,
    /// The type of the entity.
    pub entity_type: String,
}

/// A change as it is recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordedChange {
    /// Its place in the order: what changed, and when.
    pub place: ChangePlace,
    /// The value before, as text.
    pub before: Option<String>,
    /// The value after, as text.
    pub after: Option<String>,
    /// Financial impact in `currency`, signed.
    pub impact: Option<Amount>,
    /// ISO 4217.
    pub currency: Option<String>,
    /// `LOW`, `MEDIUM` or `HIGH`.
    pub risk: String,
    /// Who made it.
    pub editor: Option<String>,
    /// Where editor and time are from.
    pub attribution: String,
    /// Whether the time is that of the change or of its observation.
    pub timing: String,
    /// Whether an approval covers it.
    pub authorised: bool,
    /// The id of that approval.
    pub approval: Option<String>,
}

impl RecordedChange {
    /// A change as it would be recorded.
    pub fn of(key: &EntityKey, change: &Change) -> Self {
        Self {
            place: ChangePlace {
                modified_at: change.modified_at,
                entity_id: key.entity_id.clone(),
                version: change.version,
                column_name: change.column.clone(),
                source: key.source.clone(),
                entity_type: key.kind.entity_type().to_owned(),
            },
            before: change.before.to_text(),
            after: change.after.to_text(),
            impact: change.impact,
            currency: change.currency.clone(),
            risk: change.risk.to_string(),
            editor: change.editor.clone(),
            attribution: change.attribution.word().to_owned(),
            timing: change.timing.word().to_owned(),
            authorised: change.authorised,
            approval: change.approval.clone(),
        }
    }
}

/// The changes of some entities, by number of the entity.
///
/// # Errors
/// When Postgres cannot be reached, or the record is damaged.
pub async fn of_entities(
    connection: &mut PgConnection,
    entities: &[i64],
) -> Result<HashMap<i64, Vec<RecordedChange>>, StoreError> {
    let rows = sqlx::query(
        "select entity, entity_type, source, entity_id, version, column_name, before, after, impact::text as impact,
            currency, risk, editor, modified_at, attribution, timing, authorised, approval
         from redline.changes c where entity = any($1) and not exists (
            select from redline.entities e where e.entity = c.entity and c.version <= e.horizon)",
    )
    .bind(entities)
    .fetch_all(connection)
    .await?;
    let mut changes: HashMap<i64, Vec<RecordedChange>> = HashMap::new();
    for row in &rows {
        let of_entity = changes.entry(row.try_get("entity")?).or_default();
        of_entity.push(read_change(row)?);
    }
    Ok(changes)
}

pub(super) fn read_change(row: &PgRow) -> Result<RecordedChange, StoreError> {
    let place = ChangePlace {
        modified_at: instant(row, "modified_at")?,
        entity_id: row.try_get("entity_id")?,
        version: row.try_get("version")?,
        column_name: row.try_get("column_name")?,
        source: row.try_get("source")?,
        entity_type: row.try_get("entity_type")?,
    };
    let impact = row.try_get::<Option<&str>, _>("impact")?.map(|text| {
        text.parse().map_err(|error| StoreError::Damaged {
            what: format!("a change of {}/{}", place.source, place.entity_id),
            reason: format!("impact {error}"),
        })
    });
    Ok(RecordedChange {
        impact: impact.transpose()?,
        place,
        before: row.try_get("before")?,
        after: row.try_get("after")?,
        currency: row.try_get("currency")?,
        risk: row.try_get("risk")?,
        editor: row.try_get("editor")?,
        attribution: row.try_get("attribution")?,
        timing: row.try_get("timing")?,
        authorised: row.try_get("authorised")?,
        approval: row.try_get("approval")?,
    })
}

/// Hands over the changes behind a place, at most so many, until they are enough.
///
/// # Errors
/// When Postgres cannot be reached, or the record is damaged.
pub async fn page(
    connection: &mut PgConnection,
    filter: &ChangeFilter,
    after: Option<&ChangePlace>,
    limit: i64,
    take: impl FnMut(RecordedChange) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let rows = sqlx::query(
        "select entity_type, source, entity_id, version, column_name, before, after, impact::text as impact,
            currency, risk, editor, modified_at, attribution, timing, authorised, approval
         from redline.changes
         where ($1::text is null or source = $1)
            and ($2::text is null
                or entity = any(array(select e.entity from redline.entities e where e.entity_id = $2)))
            and ($3::boolean is null or authorised = $3)
            and ($4::timestamptz is null or modified_at >= $4) and ($5::timestamptz is null or modified_at < $5)
            and ($6::timestamptz is null
                or (modified_at, entity_id, version, column_name, source, entity_type) < ($6, $7, $8, $9, $10, $11))
            and ($12::text is null or risk = $12)
         order by modified_at desc, entity_id desc, version desc, column_name desc, source desc, entity_type desc
         limit $13",
    )
    .bind(&filter.source)
    .bind(&filter.entity_id)
    .bind(filter.authorised)
    .bind(optional_time(filter.from))
    .bind(optional_time(filter.to))
    .bind(after.map(|place| Timestamptz(place.modified_at)))
    .bind(after.map(|place| place.entity_id.as_str()))
    .bind(after.map(|place| place.version))
    .bind(after.map(|place| place.column_name.as_str()))
    .bind(after.map(|place| place.source.as_str()))
    .bind(after.map(|place| place.entity_type.as_str()))
    .bind(&filter.risk)
    .bind(limit)
    .fetch(connection);
    hand_over(rows, read_change, take).await
}
