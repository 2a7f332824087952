//! Flags about the change of one tracked column.

use redline_schemas::flag::Flag;

use super::words::{json_list, long_date, money_of, went};
use super::{Closed, Subject};
use crate::change::Change;

impl Subject<'_> {
    /// A flag about one change.
    fn change_flag(&self, kind: &str, change: &Change) -> Flag {
        let mut flag = self.flag(kind, Some(&change.column));
        flag.risk = change.risk.to_string();
        flag.before = change.before.to_text();
        flag.after = change.after.to_text();
        flag.impact = change.impact;
        flag.editor.clone_from(&change.editor);
        flag.modified_at = Some(change.modified_at);
        flag.details
            .insert("attribution".to_owned(), change.attribution.word().to_owned());
        flag.details
            .insert("timing".to_owned(), change.timing.word().to_owned());
        flag
    }

    /// What went from where to where, on which day, and what is to be said of it.
    fn sentence(&self, change: &Change, said: &str) -> String {
        format!(
            "{} on {}, {said}{}",
            went(change, &self.after.row_id),
            long_date(self.local_date(change.modified_at)),
            money_of(change),
        )
    }

    /// `retroactive_change`: made after the earlier period end of both versions plus grace, or after one of their periods was
    /// closed.
    pub(crate) fn retroactive(&self, change: &Change) -> Option<Flag> {
        let late = self.end().and_then(|end| self.late(change.modified_at, end));
        let closed = self.closed(change.modified_at);
        let words = match (&late, &closed) {
            (Some(late), Some(closed)) => format!("{} and {}", late.words, closed.words()),
            (Some(late), None) => late.words.clone(),
            (None, Some(closed)) => {
                let day = long_date(self.local_date(change.modified_at));
                format!("on {day}, {}", closed.words())
            }
            (None, None) => return None,
        };
        let mut flag = self.change_flag("retroactive_change", change);
        let local = self.local_date(change.modified_at);
        flag.details.insert("local_date".to_owned(), local.to_string());
        flag.details
            .extend(late.into_iter().flat_map(|late| late.details));
        flag.details.extend(closed.into_iter().flat_map(Closed::details));
        let (went, money) = (went(change, &self.after.row_id), money_of(change));
        flag.reason = format!("{went} {words}{money}");
        Some(flag)
    }

    /// `reversion`: the column has the value again that it had before its last change.
    pub(crate) fn reversion(&self, change: &Change) -> Flag {
        let mut flag = self.change_flag("reversion", change);
        flag.reason = self.sentence(change, "back to the value that it had before its last change");
        flag
    }

    /// `completed_row_change`: the row was completed before the change.
    pub(crate) fn completed(&self, change: &Change) -> Option<Flag> {
        if !self.before.is_some_and(|row| row.completed) {
            return None;
        }
        let mut flag = self.change_flag("completed_row_change", change);
        flag.reason = self.sentence(change, "when the row was completed already");
        Some(flag)
    }

    /// `unauthorized_editor`: the editor is unknown, or none of those that the source allows.
    pub(crate) fn unauthorized(&self, change: &Change) -> Option<Flag> {
        let (editors, table) = (&self.rules.editors, &self.rules.editors_table);
        if editors.is_none() && table.is_none() {
            return None;
        }
        let is_allowed = |editor: &str| {
            let is_listed = editors.as_ref().is_some_and(|editors| editors.allow(editor));
            is_listed
                || table
                    .as_ref()
                    .is_some_and(|table| self.knowledge.allows(table, editor, change.modified_at))
        };
        if change.editor.as_deref().is_some_and(is_allowed) {
            return None;
        }
        let mut flag = self.change_flag("unauthorized_editor", change);
        if let Some(editors) = editors {
            flag.details
                .insert("editors".to_owned(), json_list(editors.patterns()));
        }
        if let Some(table) = table {
            flag.details.insert("editors_table".to_owned(), table.clone());
        }
        let by = match &change.editor {
            Some(editor) => format!("by {editor}, who is none of the editors of {}", self.after.source),
            None => "and nobody says by whom".to_owned(),
        };
        flag.reason = self.sentence(change, &by);
        Some(flag)
    }
}
