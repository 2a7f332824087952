//! What facts say: rules, closed periods and reference rows, each as of an instant.
//!
//! Nothing here depends on the order in which facts arrive: of each (kind, id) the highest version stands, of contents at one
//! version the greatest hash, and of several ids about one subject the greatest (`effective_at`, id) that is effective.

mod check;
mod periods;
mod reference;
mod rules;
mod shards;

use std::collections::BTreeMap;

use redline_schemas::fact::Fact;
use redline_schemas::{ColumnValue, ContentHash, Date, FieldError, Timestamp};

pub use self::check::check;
use self::periods::Periods;
use self::reference::{Reference, Replaced};
use self::rules::Rules;
use crate::rules::RuleBook;

/// Why a fact cannot be taken in: the field, and what is expected there.
pub type FactError = FieldError;

/// The wide facts that detection judges under: rules, closed periods, reference rows. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    rules: Rules,
    periods: Periods,
    reference: Reference,
}

/// A row of a reference table, as of an instant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReferenceRow<'a> {
    /// The id of the fact that says it.
    pub id: &'a str,
    /// The row's values by name.
    pub values: &'a BTreeMap<String, ColumnValue>,
}

impl Knowledge {
    /// Takes a fact in, whose content has the hash. Answers which sources' rows have to be judged again, each from which
    /// instant on; nothing for approvals, outcomes and ticks, which are not wide.
    ///
    /// # Errors
    /// The field that cannot be used; nothing is taken in then.
    pub fn take(&mut self, fact: &Fact, hash: ContentHash) -> Result<BTreeMap<String, Timestamp>, FactError> {
        match fact.kind.as_str() {
            "rules" => self.rules.take(fact, hash),
            "period" => self.periods.take(fact, hash),
            "reference" => self.take_reference(fact, hash),
            _ => Ok(BTreeMap::new()),
        }
    }

    /// The sources that look into the tables of what was replaced and of what replaces it, from when on either counts.
    fn take_reference(
        &mut self,
        fact: &Fact,
        hash: ContentHash,
    ) -> Result<BTreeMap<String, Timestamp>, FactError> {
        let Some(Replaced { old, new }) = self.reference.take(fact, hash)? else {
            return Ok(BTreeMap::new());
        };
        let mut touched: BTreeMap<String, Timestamp> = BTreeMap::new();
        for row in old.iter().chain([&new]) {
            for source in self.rules.readers_of(&row.table) {
                let from = row.counts_from();
                touched
                    .entry(source.clone())
                    .and_modify(|known| *known = from.min(*known))
                    .or_insert(from);
            }
        }
        Ok(touched)
    }

    /// All rules that were ever put in force.
    pub fn rules(&self) -> &RuleBook {
        self.rules.book()
    }

    /// Whether the period of a source that ends on a day was closed at an instant.
    pub fn is_closed(&self, source: &str, end: Date, time: Timestamp) -> bool {
        self.closed_by(source, end, time).is_some()
    }

    /// The id of the fact by which the period of a source that ends on a day was closed at an instant.
    pub fn closed_by(&self, source: &str, end: Date, time: Timestamp) -> Option<&str> {
        self.periods.closed_by(source, end, time)
    }

    /// The row of a reference table that counts at an instant.
    pub fn reference(&self, table: &str, key: &str, time: Timestamp) -> Option<ReferenceRow<'_>> {
        let row = self.reference.row(table, key, time)?;
        Some(ReferenceRow {
            id: &row.id,
            values: &row.values,
        })
    }

    /// Whether an editor is one of the keys of a reference table that count at an instant; a `*` in a key stands for any
    /// text, and ASCII case is ignored.
    pub fn allows(&self, table: &str, editor: &str, time: Timestamp) -> bool {
        self.reference.allows(table, editor, time)
    }
}

/// A statement that stands for its id.
#[derive(Clone, Debug)]
struct Said<T> {
    version: i64,
    hash: ContentHash,
    content: T,
}

impl<T> Said<T> {
    /// Whether another statement of the same id takes its place.
    fn gives_way_to(&self, fact: &Fact, hash: ContentHash) -> bool {
        (self.version, self.hash) < (fact.version, hash)
    }
}
