//! The facts that a batch is judged under, as far as they are known here, and what new facts touch.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use redline_domain::approval::Approval;
use redline_domain::facts::Knowledge;
use redline_schemas::{EntityKey, Event, EventKind, Timestamp};
use redline_store::StoreError;
use redline_store::facts::{self, NewFact};
use redline_store::record::EntityUpdate;
use redline_store::sqlx::PgConnection;

/// The wide facts that are recorded now.
///
/// # Errors
/// When Postgres cannot be reached, or the record is damaged.
pub async fn knowledge(connection: &mut PgConnection) -> Result<Knowledge, StoreError> {
    let mut facts = Facts::default();
    facts.refresh(connection).await?;
    Ok(facts.knowledge)
}

/// Everything that was recorded up to a generation.
#[derive(Default)]
pub(crate) struct Facts {
    pub(crate) generation: i64,
    pub(crate) knowledge: Knowledge,
    /// Hashes of the rows that an approval is about: of other rows none has to be looked up.
    approved: HashSet<u64>,
    hasher: RandomState,
}

impl Facts {
    /// Takes in what was recorded meanwhile.
    pub(crate) async fn refresh(&mut self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let news = facts::since(connection, self.generation).await?;
        for (fact, hash) in &news.wide {
            self.knowledge
                .take(fact, *hash)
                .map_err(|error| StoreError::Damaged {
                    what: format!("the fact {}", fact.key()),
                    reason: error.to_string(),
                })?;
        }
        let hashes = news.approved.iter().map(|row| self.hasher.hash_one(row));
        self.approved.extend(hashes);
        self.generation = news.generation;
        Ok(())
    }

    /// The approvals of those of the entities that have any.
    pub(crate) async fn approvals<'k>(
        &self,
        connection: &mut PgConnection,
        entities: impl Iterator<Item = &'k EntityKey>,
    ) -> Result<HashMap<EntityKey, Vec<Approval>>, StoreError> {
        if self.approved.is_empty() {
            return Ok(HashMap::new());
        }
        let likely: HashSet<&EntityKey> = entities
            .filter(|key| key.kind == EventKind::Row && self.approved.contains(&self.hasher.hash_one(key)))
            .collect();
        facts::approvals(connection, &likely.into_iter().collect::<Vec<_>>()).await
    }

    /// The facts that a batch brings, and the sources whose rows they touch, each from an instant on.
    pub(crate) fn brought(
        &self,
        updates: &[EntityUpdate],
    ) -> Result<(Vec<NewFact>, BTreeMap<String, Timestamp>), StoreError> {
        let mut brought = Vec::new();
        let mut touched: BTreeMap<String, Timestamp> = BTreeMap::new();
        let mut knowledge: Option<Knowledge> = None;
        let accepted = updates
            .iter()
            .filter(|update| update.key.kind == EventKind::Fact)
            .flat_map(|update| update.accepted.iter().map(move |version| (&update.key, version)));
        for (key, version) in accepted {
            let damaged = |reason: String| StoreError::Damaged {
                what: key.to_string(),
                reason,
            };
            let event = Event::from_canonical(EventKind::Fact, &version.content, None)
                .map_err(|error| damaged(error.to_string()))?;
            let Event::Fact(fact) = event else { continue };
            let sources = knowledge
                .get_or_insert_with(|| self.knowledge.clone())
                .take(&fact, version.hash)
                .map_err(|error| damaged(error.to_string()))?;
            for (source, since) in sources {
                let earliest = touched.entry(source).or_insert(since);
                *earliest = since.min(*earliest);
            }
            brought.push(NewFact {
                fact: *fact,
                hash: version.hash,
                content: version.content.clone(),
            });
        }
        Ok((brought, touched))
    }
}
