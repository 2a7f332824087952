//! Approvals: changes that somebody else than their editor allowed before they were made.

mod effect;

use std::collections::{BTreeMap, BTreeSet};

use redline_schemas::fact::Fact;
use redline_schemas::person::is_same_person;
use redline_schemas::{Amount, ColumnValue, Timestamp};

pub use self::effect::{Effect, Made};
use crate::change::{Change, read_value};
use crate::entity::Findings;

/// The kinds of flags that an approval suppresses.
const SUPPRESSED: [&str; 3] = [
    "retroactive_change",
    "completed_row_change",
    "unauthorized_editor",
];

/// What one person allows another one to do, once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Approval {
    /// The id of its fact.
    pub id: String,
    /// From when on it is granted.
    pub effective_at: Timestamp,
    /// The source of the row.
    pub source: String,
    /// The row.
    pub row_id: String,
    /// The column that may change.
    pub column: String,
    /// Who may make the change.
    pub editor: String,
    /// Who allows it.
    pub approver: String,
    /// First instant at which the change may be made; absent is open.
    pub valid_from: Option<Timestamp>,
    /// First instant at which it may no longer be made; absent is open.
    pub valid_until: Option<Timestamp>,
    /// The value that the column may take; null where any may be.
    pub value: ColumnValue,
    /// Greatest absolute impact, in the row's currency; absent where any may be.
    pub ceiling: Option<Amount>,
}

impl Approval {
    /// The approval that a fact states; none when it is of another kind or lacks a field that approvals need.
    pub fn of(fact: &Fact) -> Option<Self> {
        if fact.kind != "approval" || (fact.value == ColumnValue::Null && fact.ceiling.is_none()) {
            return None;
        }
        Some(Self {
            id: fact.id.clone(),
            effective_at: fact.effective_at,
            source: fact.source.clone()?,
            row_id: fact.row_id.clone()?,
            column: fact.column.clone()?,
            editor: fact.editor.clone()?,
            approver: fact.approver.clone()?,
            valid_from: fact.valid_from,
            valid_until: fact.valid_until,
            value: fact.value.clone(),
            ceiling: fact.ceiling,
        })
    }

    /// Whether it allows a change of its row.
    fn fits(&self, change: &Change) -> bool {
        self.column == change.column
            && self.is_by_another_than_its_editor(change)
            && self.is_valid_at(change.modified_at)
            && self.allows_the_value(change)
            && self.allows_the_impact(change)
    }

    fn is_by_another_than_its_editor(&self, change: &Change) -> bool {
        let editor = change.editor.as_deref();
        editor.is_some_and(|editor| {
            self.editor.eq_ignore_ascii_case(editor) && !is_same_person(&self.approver, editor)
        })
    }

    fn is_valid_at(&self, time: Timestamp) -> bool {
        self.effective_at <= time
            && self.valid_from.is_none_or(|from| from <= time)
            && self.valid_until.is_none_or(|until| time < until)
    }

    fn allows_the_value(&self, change: &Change) -> bool {
        self.value == ColumnValue::Null || read_value(&self.value, change.column_type) == change.after
    }

    fn allows_the_impact(&self, change: &Change) -> bool {
        self.ceiling
            .is_none_or(|ceiling| change.impact.is_some_and(|impact| impact.abs() <= ceiling))
    }
}

impl Findings {
    /// Authorises changes: in the order of (time, version, column) each takes the fitting unused approval with the least
    /// (effective_at, id). An authorised change stays, and the flags that its approval suppresses are dropped.
    ///
    /// The findings must be those of the whole history of one row, and the approvals those of that row.
    pub fn authorise(&mut self, approvals: &[Approval]) {
        let mut unused = by_column(approvals);
        let mut changes: Vec<&mut Change> = self.changes.iter_mut().collect();
        changes.sort_by(|a, b| {
            (a.modified_at, a.version, &a.column).cmp(&(b.modified_at, b.version, &b.column))
        });
        for change in changes {
            let fitting = unused.get_mut(change.column.as_str()).and_then(|list| {
                let place = list.iter().position(|approval| approval.fits(change))?;
                Some(list.remove(place))
            });
            change.authorised = fitting.is_some();
            change.approval = fitting.map(|approval| approval.id.clone());
        }
        let authorised: BTreeSet<(i64, &str)> = self
            .changes
            .iter()
            .filter(|change| change.authorised)
            .map(|change| (change.version, change.column.as_str()))
            .collect();
        self.flags.retain(|flag| {
            let change = flag.column.as_deref().map(|column| (flag.version, column));
            !(SUPPRESSED.contains(&flag.kind.as_str()) && change.is_some_and(|c| authorised.contains(&c)))
        });
    }
}

/// The approvals of each column, the least (effective_at, id) first.
fn by_column(approvals: &[Approval]) -> BTreeMap<&str, Vec<&Approval>> {
    let mut columns: BTreeMap<&str, Vec<&Approval>> = BTreeMap::new();
    for approval in approvals {
        columns.entry(&approval.column).or_default().push(approval);
    }
    for list in columns.values_mut() {
        list.sort_by(|a, b| (a.effective_at, &a.id).cmp(&(b.effective_at, &b.id)));
    }
    columns
}
