//! What the facts say at an instant.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::fact::{Approval, Fact, Reference, Statement};
use crate::rulebook::{EDITORS, EDITORS_TABLE};

/// An approval with what makes the order of approvals.
#[derive(Debug, Clone, Copy)]
pub(super) struct Granted<'a> {
    pub effective_at: Timestamp,
    pub id: &'a str,
    pub approval: &'a Approval,
}

/// The facts, by what they are about.
pub(super) struct Known<'a> {
    references: BTreeMap<(&'a str, &'a str), Vec<(&'a Fact, &'a Reference)>>,
    approvals: BTreeMap<&'a str, Vec<Granted<'a>>>,
    periods: BTreeMap<Date, Vec<(&'a Fact, bool)>>,
}

impl<'a> Known<'a> {
    /// "A higher version of one id replaces lower ones as if they had never been said."
    pub fn of(facts: &'a [Fact]) -> Self {
        let mut latest: BTreeMap<(&str, &str), &Fact> = BTreeMap::new();
        for fact in facts {
            let known = latest.entry((fact.kind(), &fact.id)).or_insert(fact);
            if fact.version > known.version {
                *known = fact;
            }
        }
        let mut all = Self {
            references: BTreeMap::new(),
            approvals: BTreeMap::new(),
            periods: BTreeMap::new(),
        };
        for fact in latest.into_values() {
            match &fact.statement {
                Statement::Reference(row) => {
                    all.references
                        .entry((&row.table, &row.key))
                        .or_default()
                        .push((fact, row));
                }
                Statement::Approval(approval) => {
                    let granted = Granted {
                        effective_at: fact.effective_at,
                        id: &fact.id,
                        approval,
                    };
                    all.approvals.entry(&approval.row_id).or_default().push(granted);
                }
                Statement::Period { end, closed } => {
                    all.periods.entry(*end).or_default().push((fact, *closed));
                }
            }
        }
        all
    }

    /// "Of the facts about one (table, key), those count at an instant that are effective and valid; of these the
    /// greatest (effective_at, id)."
    pub fn reference(&self, table: &str, key: &str, at: Timestamp) -> Option<&'a Reference> {
        self.references
            .get(&(table, key))?
            .iter()
            .filter(|(fact, row)| {
                fact.effective_at <= at
                    && row.valid_from.is_none_or(|from| from <= at)
                    && row.valid_until.is_none_or(|until| until > at)
            })
            .max_by_key(|(fact, _)| (fact.effective_at, &fact.id))
            .map(|(_, row)| *row)
    }

    /// "Of several ids about one subject, the greatest effective_at not after the judged time counts, ties by greatest
    /// id."
    pub fn closed(&self, end: Date, at: Timestamp) -> bool {
        let said = self.periods.get(&end).into_iter().flatten();
        said.filter(|(fact, _)| fact.effective_at <= at)
            .max_by_key(|(fact, _)| (fact.effective_at, &fact.id))
            .is_some_and(|(_, closed)| *closed)
    }

    /// The allowed patterns of the rules, and the keys of the table that are valid at this instant.
    pub fn may_edit(&self, editor: &str, at: Timestamp) -> bool {
        let listed = EDITORS.iter().any(|pattern| matches(pattern, editor));
        let table = self.references.range((EDITORS_TABLE, "")..).map(|(key, _)| key);
        listed
            || table
                .take_while(|(name, _)| *name == EDITORS_TABLE)
                .any(|(name, pattern)| {
                    matches(pattern, editor) && self.reference(name, pattern, at).is_some()
                })
    }

    /// The approvals about a row.
    pub fn approvals(&self, row_id: &str) -> &[Granted<'a>] {
        self.approvals.get(row_id).map_or(&[], Vec::as_slice)
    }
}

/// "Only `*`, ASCII case ignored."
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(start) else {
        return false;
    };
    // Whatever the star swallows, the rest of the pattern has to fit what is left.
    text.char_indices()
        .map(|(at, _)| at)
        .chain([text.len()])
        .any(|at| matches(rest, &text[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text_and_case_does_not_matter() {
        assert!(matches("*@example.com", "Ann@Example.COM"));
        assert!(matches("a*c*e", "abcde") && matches("*", "") && matches("api", "API"));
        assert!(!matches("*@example.com", "ann@example.com.evil.test"));
        assert!(!matches("api", "api2") && !matches("a.c", "abc"));
    }
}
