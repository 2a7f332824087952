//! What a row version contributes to its natural key.

use super::Subject;
use crate::natural_key::{Contribution, NaturalKey, Role};
use redline_schemas::row::RowEvent;

impl Subject<'_> {
    /// A row at first sight, with the flag that it has if another row was deleted before.
    pub(crate) fn first_sight(&self) -> Option<Contribution> {
        let key = NaturalKey::of(self.after, self.rules)?;
        let mut flag = self.version_flag("row_moved", None);
        flag.details
            .insert("natural_key".to_owned(), serde_json::json!(key).to_string());
        let mut contribution = self.contribution(Role::FirstSight, key);
        contribution.flag = Some(flag);
        Some(contribution)
    }

    /// A delete, with the natural key of the version before it.
    pub(crate) fn deleted(&self, before: &RowEvent) -> Option<Contribution> {
        let key = NaturalKey::of(before, self.rules)?;
        Some(self.contribution(Role::Deleted, key))
    }

    fn contribution(&self, role: Role, natural_key: NaturalKey) -> Contribution {
        let (time, _) = self.time();
        Contribution {
            state_key: natural_key.state_key(&self.after.source),
            version: self.after.version,
            role,
            time,
            local_date: self.local_date(time),
            flag: None,
            within_days: self.rules.moved_within_days,
            natural_key,
        }
    }
}
