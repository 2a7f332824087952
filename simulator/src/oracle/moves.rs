//! Rows that were deleted and created again under the same natural key.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::flags;
use super::history::Standing;
use super::values::read;
use crate::rulebook::{MOVED_WITHIN_DAYS, NATURAL_KEY};
use crate::truth::Flag;

type NaturalKey = Vec<Option<String>>;

/// All deletes of rows that were there, and all rows at first sight.
#[derive(Default)]
pub(super) struct Moves {
    left: BTreeMap<NaturalKey, Vec<(Timestamp, String)>>,
    came: Vec<(NaturalKey, Timestamp, Flag)>,
}

impl Moves {
    /// A row was deleted: "a delete has the natural key of the version before it".
    pub fn left(&mut self, before: &Standing<'_>, delete: &Standing<'_>) {
        if let Some(key) = natural_key(before) {
            let row_id = before.content.row_id.clone();
            self.left.entry(key).or_default().push((delete.at(), row_id));
        }
    }

    /// A row at first sight.
    pub fn came(&mut self, first: &Standing<'_>) {
        if let Some(key) = natural_key(first) {
            self.came
                .push((key, first.at(), flags::of_version("row_moved", first, None, None)));
        }
    }

    /// "row_moved flags a row at first sight when another row of its source with equal natural key was deleted no later
    /// and at most 7 days before."
    pub fn flags(&self) -> Vec<Flag> {
        let window = SignedDuration::from_hours(24 * MOVED_WITHIN_DAYS);
        let moved = self.came.iter().filter(|(key, at, flag)| {
            let deletes = self.left.get(key).into_iter().flatten();
            deletes.into_iter().any(|(deleted_at, row_id)| {
                *row_id != flag.entity_id && deleted_at <= at && at.duration_since(*deleted_at) <= window
            })
        });
        moved.map(|(_, _, flag)| flag.clone()).collect()
    }
}

/// The columns with their values as text; none when all are null.
fn natural_key(version: &Standing<'_>) -> Option<NaturalKey> {
    let key: NaturalKey = NATURAL_KEY
        .iter()
        .map(|column| read(&version.content.columns, column).written())
        .collect();
    key.iter().any(Option::is_some).then_some(key)
}
