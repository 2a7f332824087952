//! Which change an approval authorises.

use std::collections::BTreeSet;

use super::changes::RowChange;
use super::known::{Granted, Known};
use super::values::read_cell;

/// "Changes take approvals in order of (time, row, version, column), each the fitting unused one with the least
/// (effective_at, id)." Every change of a row takes part, whether it is flagged or not. All changes here are of one row;
/// approvals are about one row as well.
pub(super) fn take(known: &Known<'_>, changes: &mut [RowChange<'_>]) {
    changes.sort_by_key(|change| (change.at, change.version.content.version, change.column));
    let mut used: BTreeSet<&str> = BTreeSet::new();
    for change in changes {
        let fitting = known
            .approvals(&change.version.content.row_id)
            .iter()
            .filter(|granted| !used.contains(granted.id) && fits(granted, change))
            .min_by_key(|granted| (granted.effective_at, granted.id));
        if let Some(granted) = fitting {
            used.insert(granted.id);
            change.authorised = true;
        }
    }
}

fn fits(granted: &Granted<'_>, change: &RowChange<'_>) -> bool {
    let approval = granted.approval;
    let Some(editor) = change.editor else { return false };
    let in_time = granted.effective_at <= change.at
        && approval.valid_from.is_none_or(|from| from <= change.at)
        && approval.valid_until.is_none_or(|until| until > change.at);
    let people =
        approval.editor.eq_ignore_ascii_case(editor) && !approval.approver.eq_ignore_ascii_case(editor);
    let value_fits = approval
        .value
        .as_ref()
        .is_none_or(|value| read_cell(change.column, Some(value)) == change.after);
    let ceiling_fits = approval.ceiling.is_none_or(|ceiling| {
        change
            .weight
            .impact
            .is_some_and(|impact| impact.absolute() <= ceiling)
    });
    let says_what = approval.value.is_some() || approval.ceiling.is_some();
    approval.column == change.column && in_time && people && says_what && value_fits && ceiling_fits
}
