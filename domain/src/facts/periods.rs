//! Closed periods: which fact closed a period, as of an instant.

use std::collections::BTreeMap;
use std::sync::Arc;

use redline_schemas::fact::Fact;
use redline_schemas::{ContentHash, Date, FieldError, Timestamp};

use super::Said;
use super::check::needed;

/// Characters of a month such as 2026-02, with which the days in it begin.
const MONTH_LENGTH: usize = 7;

/// What is said of one period: the state from an instant on, by the instant and the fact's id.
type States = BTreeMap<(Timestamp, String), bool>;

/// All periods that were ever closed.
#[derive(Clone, Debug, Default)]
pub(super) struct Periods {
    standing: Arc<BTreeMap<String, Said<Close>>>,
    /// By source and period.
    sources: Arc<BTreeMap<String, BTreeMap<String, States>>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Close {
    source: String,
    period: String,
    effective_at: Timestamp,
    is_closed: bool,
}

impl Periods {
    /// Takes a state in; answers which sources are judged otherwise, from when on.
    pub(super) fn take(
        &mut self,
        fact: &Fact,
        hash: ContentHash,
    ) -> Result<BTreeMap<String, Timestamp>, FieldError> {
        let known = self.standing.get(&fact.id);
        if known.is_some_and(|known| !known.gives_way_to(fact, hash)) {
            return Ok(BTreeMap::new());
        }
        let new = Close::of(fact)?;
        let said = Said {
            version: fact.version,
            hash,
            content: new.clone(),
        };
        let old = Arc::make_mut(&mut self.standing)
            .insert(fact.id.clone(), said)
            .map(|said| said.content);
        if old.as_ref() == Some(&new) {
            return Ok(BTreeMap::new());
        }
        let sources = Arc::make_mut(&mut self.sources);
        let mut touched = BTreeMap::new();
        if let Some(old) = old {
            if let Some(states) = sources
                .get_mut(&old.source)
                .and_then(|periods| periods.get_mut(&old.period))
            {
                states.remove(&(old.effective_at, fact.id.clone()));
            }
            touched.insert(old.source, old.effective_at);
        }
        touched
            .entry(new.source.clone())
            .and_modify(|from| *from = new.effective_at.min(*from))
            .or_insert(new.effective_at);
        sources
            .entry(new.source)
            .or_default()
            .entry(new.period)
            .or_default()
            .insert((new.effective_at, fact.id.clone()), new.is_closed);
        Ok(touched)
    }

    /// The id of the fact that has closed the period that ends on a day, as of an instant: by its day, else by its month.
    pub(super) fn closed_by(&self, source: &str, end: Date, time: Timestamp) -> Option<&str> {
        let periods = self.sources.get(source)?;
        let day = end.to_string();
        let month = day.get(..MONTH_LENGTH)?;
        [day.as_str(), month].into_iter().find_map(|period| {
            let states = periods.get(period)?;
            states
                .iter()
                .rev()
                .find(|((effective_at, _), _)| *effective_at <= time)
                .filter(|(_, is_closed)| **is_closed)
                .map(|((_, id), _)| id.as_str())
        })
    }
}

impl Close {
    fn of(fact: &Fact) -> Result<Self, FieldError> {
        Ok(Self {
            source: needed("source", fact.source.as_deref())?.to_owned(),
            period: needed("period", fact.period.as_deref())?.to_owned(),
            effective_at: fact.effective_at,
            is_closed: needed("state", fact.state.as_deref())? == "closed",
        })
    }
}
