//! Rules in force: which rule set stands for each id, and where two books differ.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use redline_schemas::fact::Fact;
use redline_schemas::{ContentHash, FieldError, Timestamp};

use super::Said;
use super::check::needed;
use crate::rules::{RuleBook, RuleSet};

/// The rule sets that stand, by id.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    standing: Arc<BTreeMap<String, Said<InForce>>>,
    book: RuleBook,
    /// The sources that look into each reference table.
    readers: Arc<BTreeMap<String, BTreeSet<String>>>,
}

#[derive(Clone, Debug)]
struct InForce {
    effective_at: Timestamp,
    set: Arc<RuleSet>,
}

impl Rules {
    pub(super) fn book(&self) -> &RuleBook {
        &self.book
    }

    /// The sources of which any rule set looks into a reference table.
    pub(super) fn readers_of(&self, table: &str) -> impl Iterator<Item = &String> {
        self.readers.get(table).into_iter().flatten()
    }

    /// Takes rules in; answers from when on each source's rules differ.
    pub(super) fn take(
        &mut self,
        fact: &Fact,
        hash: ContentHash,
    ) -> Result<BTreeMap<String, Timestamp>, FieldError> {
        let known = self.standing.get(&fact.id);
        if known.is_some_and(|known| !known.gives_way_to(fact, hash)) {
            return Ok(BTreeMap::new());
        }
        let set = parse(fact)?;
        let said = Said {
            version: fact.version,
            hash,
            content: InForce {
                effective_at: fact.effective_at,
                set: Arc::new(set),
            },
        };
        Arc::make_mut(&mut self.standing).insert(fact.id.clone(), said);
        let sets = self.standing.iter().map(|(id, said)| {
            let InForce { effective_at, set } = &said.content;
            (*effective_at, id.clone(), Arc::clone(set))
        });
        let before = std::mem::replace(&mut self.book, RuleBook::new(sets.collect()));
        self.readers = Arc::new(readers(&self.book));
        Ok(differences(&before, &self.book))
    }
}

/// The rule set that a fact holds.
pub(super) fn parse(fact: &Fact) -> Result<RuleSet, FieldError> {
    let text = needed("text", fact.text.as_deref())?;
    RuleSet::parse(text).map_err(|error| FieldError::new("text", format!("is refused: {error}")))
}

fn readers(book: &RuleBook) -> BTreeMap<String, BTreeSet<String>> {
    let mut readers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (source, rules) in book.sources() {
        for table in rules.tables() {
            readers
                .entry(table.to_owned())
                .or_default()
                .insert(source.to_owned());
        }
    }
    readers
}

/// From when on each source is judged by other rules; nothing for a source whose rules stay the same at all times.
fn differences(before: &RuleBook, after: &RuleBook) -> BTreeMap<String, Timestamp> {
    let instants: BTreeSet<Timestamp> = before.instants().chain(after.instants()).collect();
    let sources: BTreeSet<&str> = before
        .sources()
        .chain(after.sources())
        .map(|(source, _)| source)
        .collect();
    let first_difference = |source: &str| {
        let hash = |book: &RuleBook, time| book.of(source, time).map(|rules| rules.hash.clone());
        instants
            .iter()
            .copied()
            .find(|time| hash(before, *time) != hash(after, *time))
    };
    sources
        .into_iter()
        .filter_map(|source| Some((source.to_owned(), first_difference(source)?)))
        .collect()
}
