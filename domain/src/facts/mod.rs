//! What facts say: rules, closed periods and reference rows, each as of an instant.
//!
//! Nothing here depends on the order in which facts arrive: of each (kind, id) the highest version stands, of contents at one
//! version the greatest hash, and of several ids about one subject the greatest (`effective_at`, id) that is effective.

mod check;
mod rules;

use std::collections::BTreeMap;

use redline_schemas::fact::Fact;
use redline_schemas::{ContentHash, FieldError, Timestamp};

pub use self::check::check;
use self::rules::Rules;
use crate::rules::RuleBook;

/// Why a fact cannot be taken in: the field, and what is expected there.
pub type FactError = FieldError;

/// The wide facts that detection judges under: rules, closed periods, reference rows. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    rules: Rules,
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
            _ => Ok(BTreeMap::new()),
        }
    }

    /// All rules that were ever put in force.
    pub fn rules(&self) -> &RuleBook {
        self.rules.book()
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
