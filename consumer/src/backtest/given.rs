//! Rows that are given instead of recorded, of a topic or a file: judged in memory under the facts that are recorded, once
//! with the rules in force and once with a candidate's. Nothing of what is recorded of the same rows is looked at.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use redline_domain::entity::{EntityState, Standing};
use redline_domain::finding::{Ledger, Place};
use redline_schemas::registry::SchemaRegistry;
use redline_schemas::{ContentHash, EntityKey, Event, EventKind};
use redline_store::StoreError;
use redline_store::entities::Entity;
use redline_store::sqlx::{Connection as _, PgConnection};

use super::{Candidate, Comparison, Side, with_candidate, within};
use crate::batch::{Assigned, Batch, Body, Part, RawRecord};
use crate::decode::{self, schema_ids};
use crate::detect::Detection;
use crate::facts::Facts;
use crate::writers::{Unknown, WriterSchemas};

/// Contents that are held in memory at most.
const MOST_CONTENTS: usize = 200_000;
/// Bytes of them, about.
const MOST_BYTES: usize = 512 << 20;
/// Entities that are derived at once.
const AT_ONCE: usize = 500;
/// How often a registry that does not answer at once is asked again, and how long between.
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// More is given than is held in memory. Class: refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "more than {MOST_CONTENTS} versions of rows, or {} MiB of them, are not judged at once; choose a shorter span",
    MOST_BYTES >> 20
)]
pub struct TooMany;

/// What is not judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Passed {
    /// Payouts, orders and facts.
    pub no_rows: u64,
    /// What would be quarantined.
    pub refused: u64,
}

type Contents = BTreeMap<(i64, ContentHash), Event>;

/// What is judged: every content of each row once, with the least observation of its copies.
#[derive(Default)]
pub struct Given {
    rows: BTreeMap<EntityKey, Contents>,
    contents: usize,
    bytes: usize,
    /// What was given and is not judged.
    pub passed: Passed,
}

impl Given {
    /// Takes an event.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn take(&mut self, event: Event) -> Result<(), TooMany> {
        if event.kind() != EventKind::Row {
            self.passed.no_rows += 1;
            return Ok(());
        }
        let content = event.canonical();
        let id = (event.version(), ContentHash::of(content.as_bytes()));
        let contents = self.rows.entry(event.entity()).or_default();
        match contents.get_mut(&id) {
            Some(known) if known.observed_at() > event.observed_at() => *known = event,
            Some(_) => {}
            None => {
                contents.insert(id, event);
                self.contents += 1;
                self.bytes += content.len();
            }
        }
        match self.contents > MOST_CONTENTS || self.bytes > MOST_BYTES {
            true => Err(TooMany),
            false => Ok(()),
        }
    }
}

/// Why records could not be given.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GiveError {
    /// Class: try again.
    #[error("the schema registry does not answer; look at it, and at registry.url")]
    Registry,
    /// Class: refused.
    #[error(transparent)]
    TooMany(#[from] TooMany),
}

/// Reads raw records of a topic as a worker does.
pub struct Reading<R> {
    schemas: WriterSchemas<R>,
    assigned: Arc<Assigned>,
}

impl<R: SchemaRegistry + Send + Sync + 'static> Reading<R> {
    /// Of a topic that holds this kind.
    pub fn new(registry: R, kind: EventKind) -> Self {
        Self {
            schemas: WriterSchemas::new(registry),
            assigned: Arc::new(Assigned::new(0, nowhere(), String::new(), kind)),
        }
    }

    /// Reads them and gives what they say.
    ///
    /// # Errors
    /// When the registry does not answer, or too much is given.
    pub async fn give(&mut self, records: Vec<RawRecord>, given: &mut Given) -> Result<(), GiveError> {
        let batch: Batch<RawRecord> = vec![Part {
            assigned: Arc::clone(&self.assigned),
            from: 0,
            to: 0,
            records,
        }];
        self.learn(&batch).await?;
        for part in decode::decode(batch, self.schemas.known()) {
            for record in part.records {
                match record.body {
                    Body::Event(sighting) => given.take(sighting.event)?,
                    Body::Refused(_) => given.passed.refused += 1,
                }
            }
        }
        Ok(())
    }

    async fn learn(&mut self, batch: &Batch<RawRecord>) -> Result<(), GiveError> {
        let ids = schema_ids(batch, |_| true);
        for _ in 0..ATTEMPTS {
            let unknown = self.schemas.learn(&ids).await;
            let missed: BTreeSet<_> = unknown
                .iter()
                .filter(|(_, why)| **why == Unknown::Unregistered)
                .map(|(id, _)| *id)
                .collect();
            self.schemas.miss(&missed);
            if unknown.len() == missed.len() {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(GiveError::Registry)
    }
}

/// Judges what is given under both.
///
/// # Errors
/// When Postgres cannot be reached, the record is damaged, or the candidate's rules cannot be used.
pub async fn backtest_given(
    connection: &mut PgConnection,
    given: Given,
    candidate: &Candidate,
) -> Result<Comparison, StoreError> {
    let mut transaction = connection.begin().await?;
    redline_store::read_only(&mut transaction).await?;
    let mut known = Facts::default();
    known.refresh(&mut transaction).await?;
    let (now_known, then_known) = (
        known.knowledge.clone(),
        with_candidate(&mut transaction, candidate).await?,
    );
    let mut now = Side {
        knowledge: now_known.clone(),
        ..Side::default()
    };
    let mut then = Side {
        knowledge: then_known.clone(),
        ..Side::default()
    };
    let mut comparison = Comparison::default();
    let mut rows = given.rows.into_iter();
    loop {
        let some: Vec<(EntityKey, Contents)> = rows.by_ref().take(AT_ONCE).collect();
        if some.is_empty() {
            break;
        }
        let keys = || some.iter().map(|(key, _)| key);
        let unknown: HashMap<EntityKey, Entity> = keys().map(|key| (key.clone(), of_nothing())).collect();
        let approvals = known.approvals(&mut transaction, keys()).await?;
        let mut first = Detection::again(unknown.clone(), approvals.clone(), &now_known);
        let mut second = Detection::again(unknown, approvals, &then_known);
        comparison.rows += some.len() as u64;
        for (key, contents) in some {
            for ((_, hash), event) in contents {
                let standing = standing(event, hash);
                first.recall(&key, standing.clone());
                second.recall(&key, standing);
            }
        }
        let first = within(candidate, now.finish(first));
        comparison.compare(&first, &within(candidate, then.finish(second)));
    }
    comparison.compare(&within(candidate, now.moved()), &within(candidate, then.moved()));
    transaction.rollback().await?;
    Ok(comparison)
}

/// An entity of which nothing is recorded.
fn of_nothing() -> Entity {
    Entity {
        entity: 0,
        revision: 0,
        state: EntityState::default(),
    }
}

/// Where an event was recorded is no part of what is compared.
fn nowhere() -> Ledger {
    Ledger {
        topic: String::new(),
        incarnation: String::new(),
        partition: 0,
    }
}

fn standing(event: Event, hash: ContentHash) -> Standing {
    Standing {
        event,
        hash,
        place: Place {
            ledger: Arc::new(nowhere()),
            offset: 0,
        },
        hashes: vec![hash],
    }
}
