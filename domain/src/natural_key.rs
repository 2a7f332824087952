//! Natural keys: what makes a row the same thing although it has another id, so that a row that was deleted here and
//! created there is told as moved.

use redline_schemas::flag::Flag;
use redline_schemas::row::RowEvent;
use redline_schemas::{ContentHash, Date, Timestamp};
use serde::{Deserialize, Serialize};

use crate::change::read;
use crate::finding::long_date;
use crate::rules::{ColumnType, SourceRules};

const MICROS_PER_DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// The values by which a version is known, as text; at least one is not null.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NaturalKey(
    /// Column and value, in the order of the columns' names.
    pub Vec<(String, Option<String>)>,
);

/// What a row does to its natural key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It was deleted.
    Deleted,
    /// It was seen first.
    FirstSight,
}

impl Role {
    /// The word in a table.
    pub fn word(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::FirstSight => "first_sight",
        }
    }
}

/// What a row contributes to the state of a natural key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Contribution {
    /// `natural_key/` and the SHA-256, hexadecimal, of the JSON array `[source,[[column,value],…]]`.
    pub state_key: String,
    /// The version that was seen first, or that deleted the row.
    pub version: i64,
    /// Which of the two it is.
    pub role: Role,
    /// The time of the version: `modified_at`, else `observed_at`.
    pub time: Timestamp,
    /// The day of that time in the source's time zone, for the sentence of a flag.
    pub local_date: Date,
    /// Of a row at first sight the flag, if it was moved; it lacks what only the deleted row can tell.
    pub flag: Option<Flag>,
    /// How many days before the first sight a delete may lie, by the rules of the row at first sight.
    pub within_days: i32,
    /// The natural key itself.
    pub natural_key: NaturalKey,
}

impl Contribution {
    /// The contribution as JSON text.
    ///
    /// # Errors
    /// Never for what detection made; a failure of the serializer is handed on.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// Reads what [`Self::to_json`] wrote.
    ///
    /// # Errors
    /// What is no contribution.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

impl NaturalKey {
    /// The natural key of a version; none when the rules name no columns, or all of them are null.
    pub(crate) fn of(row: &RowEvent, rules: &SourceRules) -> Option<Self> {
        let mut values: Vec<(String, Option<String>)> = rules
            .natural_key
            .iter()
            .map(|column| (column.clone(), value(row, column, rules)))
            .collect();
        values.sort();
        values
            .iter()
            .any(|(_, value)| value.is_some())
            .then_some(Self(values))
    }

    /// Where everything that is known of the key is kept.
    pub(crate) fn state_key(&self, source: &str) -> String {
        let array = serde_json::json!([source, self.0]);
        format!("natural_key/{}", ContentHash::of(array.to_string().as_bytes()))
    }
}

/// A column as text: a tracked one is read by its type, another one as it was sent.
pub(crate) fn value(row: &RowEvent, column: &str, rules: &SourceRules) -> Option<String> {
    let column_type = rules
        .tracked
        .get(column)
        .map_or(ColumnType::Text, |tracked| tracked.column_type);
    read(row, column, column_type).to_text()
}

/// The `row_moved` flags of one natural key, from everything that its rows contribute, each with its row's id, in any order.
/// A row at first sight was moved when another row was deleted no later and not too long before; of several deletes the
/// greatest (time, row, version) counts.
pub fn moved(contributions: &[(String, Contribution)]) -> Vec<Flag> {
    let mut flags: Vec<Flag> = contributions
        .iter()
        .filter_map(|(row_id, seen)| {
            let flag = seen.flag.as_ref().filter(|_| seen.role == Role::FirstSight)?;
            let (from, deleted) = contributions
                .iter()
                .filter(|(other, deleted)| other != row_id && is_move(deleted, seen))
                .max_by_key(|(other, deleted)| (deleted.time, other, deleted.version))?;
            Some(completed(flag.clone(), seen, from, deleted))
        })
        .collect();
    flags.sort_by(|a, b| (&a.entity_id, a.version).cmp(&(&b.entity_id, b.version)));
    flags
}

/// Whether a delete lies before a first sight, and not too long.
fn is_move(deleted: &Contribution, seen: &Contribution) -> bool {
    let within = i64::from(seen.within_days).saturating_mul(MICROS_PER_DAY);
    let before = seen.time.micros().saturating_sub(deleted.time.micros());
    deleted.role == Role::Deleted && deleted.state_key == seen.state_key && (0..=within).contains(&before)
}

/// The flag with what the deleted row tells.
fn completed(mut flag: Flag, seen: &Contribution, from: &str, deleted: &Contribution) -> Flag {
    let details = [
        ("deleted_at", deleted.time.to_string()),
        ("deleted_row_id", from.to_owned()),
        ("deleted_version", deleted.version.to_string()),
        ("moved_within_days", seen.within_days.to_string()),
    ];
    flag.details
        .extend(details.map(|(name, value)| (name.to_owned(), value)));
    flag.reason = format!(
        "{} came on {} with the natural key of {from}, which was deleted on {}",
        flag.entity_id,
        long_date(seen.local_date),
        long_date(deleted.local_date),
    );
    flag
}
