//! The oracle: judges the whole history of every row at once, with all facts known. It is written from the sentences of
//! the contract and is neither clever nor fast; each function quotes or names the sentence that it stands for.

mod approvals;
mod changes;
mod flags;
mod grace;
mod history;
mod known;
mod moves;
mod values;
mod violations;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::days::Zone;
use crate::event::{Event, Op};
use crate::fact::Fact;
use crate::rulebook::TIME_ZONE;
use crate::settings::Grace;
use crate::truth::{Change, Flag};

use changes::RowChange;
use history::Standing;
use known::Known;
use moves::Moves;

/// Every change and every standing flag of these events under these facts. The order of both does not matter.
pub fn judge(grace: Grace, events: &[Event], facts: &[Fact]) -> (Vec<Change>, Vec<Flag>) {
    let mut rows: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in events {
        rows.entry(&event.content.row_id).or_default().push(event);
    }
    let mut oracle = Oracle {
        grace,
        zone: Zone::named(TIME_ZONE),
        known: Known::of(facts),
        moves: Moves::default(),
        changes: Vec::new(),
        flags: Vec::new(),
    };
    for events in rows.values() {
        oracle.row(&history::standing_versions(events));
    }
    oracle.flags.extend(oracle.moves.flags());
    (oracle.changes, oracle.flags)
}

struct Oracle<'a> {
    grace: Grace,
    zone: Zone,
    known: Known<'a>,
    moves: Moves,
    changes: Vec<Change>,
    flags: Vec<Flag>,
}

impl Oracle<'_> {
    fn row(&mut self, history: &[Standing<'_>]) {
        let mut changes: Vec<RowChange<'_>> = Vec::new();
        // The standing version before, passing over deleted ones.
        let mut before: Option<&Standing<'_>> = None;
        let mut present = false;
        let mut deleted_before = false;
        for after in history {
            if after.contents > 1 {
                self.flags
                    .push(flags::of_version("conflicting_version", after, None, None));
            }
            if after.content.op == Op::Delete {
                if let Some(before) = before.filter(|_| present) {
                    self.deleted(before, after);
                    self.moves.left(before, after);
                }
                present = false;
                deleted_before = true;
                continue;
            }
            match before {
                None => {
                    // "A return after a delete is never late_row."
                    if after.content.op == Op::Create && !deleted_before {
                        self.late(after);
                    }
                    self.moves.came(after);
                }
                Some(before) => {
                    changes.extend(changes::between(before, after));
                    self.locks(before, after);
                }
            }
            self.violations(before, after);
            before = Some(after);
            present = true;
        }
        approvals::take(&self.known, &mut changes);
        changes::mark_reversions(&mut changes);
        for change in &changes {
            self.judge_change(change);
            self.changes.push(change.stated());
        }
    }

    /// "Past its end" is the same without grace; one absent end leaves the other, two leave none.
    fn past_end(&self, before: &Standing<'_>, after: &Standing<'_>, at: Timestamp) -> bool {
        earlier_end(before, after).is_some_and(|end| self.zone.day(at) > end)
    }

    /// The local date is after the period's end plus grace.
    fn late_for(&self, end: Option<Date>, at: Timestamp) -> bool {
        end.is_some_and(|end| self.zone.day(at) > grace::last_permitted(self.grace, end, &self.known, at))
    }

    /// "First sight by `create`, with its local date past period end plus grace, is late_row (impact: its amount)."
    fn late(&mut self, first: &Standing<'_>) {
        if self.late_for(first.content.period_end, first.at()) {
            let worth = changes::worth(first);
            self.flags
                .push(flags::of_version("late_row", first, None, Some(worth)));
        }
    }

    /// "A delete of a row that was completed or past its end is row_deleted (impact: minus the amount)."
    fn deleted(&mut self, before: &Standing<'_>, delete: &Standing<'_>) {
        if !before.content.completed && !self.past_end(before, delete, delete.at()) {
            return;
        }
        self.flags.push(flags::of_delete(before, delete));
    }

    /// "Un-completing is lock_change at any time; a changed period_end or currency only past the end."
    fn locks(&mut self, before: &Standing<'_>, after: &Standing<'_>) {
        let (b, a) = (before.content, after.content);
        if b.completed && !a.completed {
            let values = (Some("true".to_string()), Some("false".to_string()));
            self.flags.push(flags::of_lock("completed", after, values));
        }
        if !self.past_end(before, after, after.at()) {
            return;
        }
        if b.period_end != a.period_end {
            let values = (
                b.period_end.map(|day| day.to_string()),
                a.period_end.map(|day| day.to_string()),
            );
            self.flags.push(flags::of_lock("period_end", after, values));
        }
        if b.currency != a.currency {
            let values = (b.currency.clone(), a.currency.clone());
            self.flags.push(flags::of_lock("currency", after, values));
        }
    }

    /// The kinds about one change. An approval suppresses all of them but the reversion.
    fn judge_change(&mut self, change: &RowChange<'_>) {
        let (before, after) = (change.before_version, change.version);
        let closed = [before, after]
            .iter()
            .filter_map(|version| version.content.period_end)
            .any(|end| self.known.closed(end, change.at));
        let retroactive = closed || self.late_for(earlier_end(before, after), change.at);
        let allowed = change
            .editor
            .is_some_and(|editor| self.known.may_edit(editor, change.at));
        let kinds = [
            ("retroactive_change", retroactive && !change.authorised),
            // "completed is read before the change."
            (
                "completed_row_change",
                before.content.completed && !change.authorised,
            ),
            ("unauthorized_editor", !allowed && !change.authorised),
            ("reversion", change.reverts),
        ];
        for (kind, found) in kinds {
            if found {
                self.flags.push(flags::of_change(kind, change));
            }
        }
    }

    /// "rule_violation flags where a rule is violated and was not at the preceding undeleted version", which is judged
    /// at its own time.
    fn violations(&mut self, before: Option<&Standing<'_>>, after: &Standing<'_>) {
        for rule in violations::RULES {
            let violated_before = before.is_some_and(|before| (rule.judge)(&self.known, before).is_some());
            if violated_before {
                continue;
            }
            if let Some(weight) = (rule.judge)(&self.known, after) {
                self.flags.push(flags::of_rule(rule.name, after, weight));
            }
        }
    }
}

/// "The earlier of the period ends before and after it."
fn earlier_end(before: &Standing<'_>, after: &Standing<'_>) -> Option<Date> {
    [before.content.period_end, after.content.period_end]
        .into_iter()
        .flatten()
        .min()
}
