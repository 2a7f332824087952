//! The deriver: judges again what facts touched, and finds what state keys come to. Every worker has one; what one of
//! them has taken, the others pass over.
//!
//! It takes marks and records findings in one transaction, which holds facts as they are: so a mark is gone only when
//! what it asked for is recorded. The system is quiet when no mark is left.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use redline_domain::natural_key::moved;
use redline_schemas::EntityKey;
use redline_schemas::flag::Flag;
use redline_store::contributions::{self, Contributed};
use redline_store::record::{record_derived, record_state};
use redline_store::sqlx::{Connection as _, PgConnection, Postgres, Transaction};
use redline_store::{Class, StoreError, Timeouts, dirty, entities, facts, flags, recording_connection};
use redline_telemetry::context;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use crate::bounded::bounded;
use crate::detect::{Detection, revise};
use crate::facts::Facts;
use crate::metrics::{Metrics, Recorded};
use crate::recall::recall;
use crate::recorder::{Destinations, RecordError, flag_messages};
use crate::traces::deriving;

/// Pause when nothing is marked.
const PAUSE: Duration = Duration::from_millis(250);
/// Pause after Postgres was in trouble.
const LONG_PAUSE: Duration = Duration::from_secs(2);
/// Entities in one transaction.
const AT_ONCE: i64 = 64;

/// The one who derives again.
pub(crate) struct Deriver {
    database_url: String,
    timeouts: Timeouts,
    destinations: Destinations,
    metrics: Metrics,
    stop: CancellationToken,
    connection: Option<PgConnection>,
    facts: Facts,
    /// Whether another writer came first: then entities are locked before they are read.
    was_disturbed: bool,
}

impl Deriver {
    /// A deriver that is not connected yet.
    pub(crate) fn new(
        database_url: String,
        timeouts: Timeouts,
        destinations: Destinations,
        metrics: Metrics,
        stop: CancellationToken,
    ) -> Self {
        Self {
            database_url,
            timeouts,
            destinations,
            metrics,
            stop,
            connection: None,
            facts: Facts::default(),
            was_disturbed: false,
        }
    }

    /// Derives until told to stop.
    ///
    /// # Errors
    /// What somebody has to mend.
    pub(crate) async fn run(mut self) -> Result<(), RecordError> {
        let limit = 4 * (self.timeouts.statement + self.timeouts.lock + self.timeouts.idle_in_transaction);
        let stop = self.stop.clone();
        while !stop.is_cancelled() {
            let round = bounded(limit, &stop, self.round()).await;
            let pause = match round.unwrap_or(Err(StoreError::Silent.into())) {
                Ok(true) => continue,
                Ok(false) => PAUSE,
                Err(RecordError::Store(error)) if error.is_disturbance() => {
                    self.was_disturbed = true;
                    PAUSE
                }
                Err(RecordError::Store(error)) if error.class() == Class::TryAgain => {
                    tracing::warn!(%error, "deriving is tried again");
                    LONG_PAUSE
                }
                Err(error) => return Err(error),
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        }
        Ok(())
    }

    /// Derives some of what is marked; answers whether there was anything.
    async fn round(&mut self) -> Result<bool, RecordError> {
        // Taken out: a connection that is left in the middle of something is of no use.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => recording_connection(&self.database_url, "derive", self.timeouts).await?,
        };
        let (entities, state_keys) = dirty::any(&mut connection).await?;
        // What others have taken is not waited for in haste.
        let some = entities && self.entities(&mut connection).await?
            || state_keys && self.state_key(&mut connection).await?;
        self.was_disturbed = false;
        self.connection = Some(connection);
        Ok(some)
    }

    /// Derives some marked entities again; answers whether there were any to be had.
    async fn entities(&mut self, connection: &mut PgConnection) -> Result<bool, RecordError> {
        let mut transaction = connection.begin().await.map_err(StoreError::from)?;
        facts::hold(&mut transaction).await?;
        let marked = dirty::take_entities(&mut transaction, AT_ONCE).await?;
        if marked.is_empty() {
            // Others have taken them all. Facts are not held any longer than needed.
            transaction.rollback().await.map_err(StoreError::from)?;
            return Ok(false);
        }
        let span = deriving();
        self.derive(transaction, marked).instrument(span).await?;
        Ok(true)
    }

    /// Derives entities that were taken again.
    async fn derive(
        &mut self,
        mut transaction: Transaction<'_, Postgres>,
        marked: Vec<(i64, EntityKey)>,
    ) -> Result<(), RecordError> {
        let began = Instant::now();
        self.facts.refresh(&mut transaction).await?;
        let numbers: Vec<i64> = marked.iter().map(|(entity, _)| *entity).collect();
        if self.was_disturbed {
            entities::lock_numbers(&mut transaction, &numbers).await?;
        }
        let about: Vec<&EntityKey> = marked.iter().map(|(_, key)| key).collect();
        let known = entities::load(&mut transaction, &about).await?;
        let approvals = self.facts.approvals(&mut transaction, about.into_iter()).await?;
        let mut detection = Detection::again(known, approvals, &self.facts.knowledge);
        recall(&mut transaction, &mut detection, &marked.into_iter().collect()).await?;
        let updates = detection.finish().entities;
        let origin = context::headers(&Span::current());
        let flags = updates.iter().flat_map(|update| &update.flags);
        let messages = flag_messages(&self.destinations, flags.map(|flag| (flag, origin.clone())))?;
        Span::current().record("redline.entities", numbers.len());
        Span::current().record("redline.flags", messages.len());
        record_derived(&mut transaction, &updates, &messages).await?;
        dirty::clean_entities(&mut transaction, &numbers).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        self.metrics.derived(numbers.len(), began.elapsed());
        let flags = updates.iter().flat_map(|update| &update.flags);
        self.metrics.recorded(&Recorded::of_flags(flags));
        Ok(())
    }

    /// Finds what a marked state key comes to; answers whether there was one to be had.
    async fn state_key(&mut self, connection: &mut PgConnection) -> Result<bool, RecordError> {
        let mut transaction = connection.begin().await.map_err(StoreError::from)?;
        facts::hold(&mut transaction).await?;
        let Some(state_key) = dirty::take_state_key(&mut transaction).await? else {
            transaction.rollback().await.map_err(StoreError::from)?;
            return Ok(false);
        };
        let span = deriving();
        self.find(transaction, &state_key).instrument(span).await?;
        Ok(true)
    }

    /// Finds what a state key that was taken comes to.
    async fn find(
        &self,
        mut transaction: Transaction<'_, Postgres>,
        state_key: &str,
    ) -> Result<(), RecordError> {
        let began = Instant::now();
        let contributed = contributions::load(&mut transaction, state_key).await?;
        let recorded = flags::load_of_state(&mut transaction, state_key).await?;
        let revisions = revisions(contributed, recorded);
        let origin = context::headers(&Span::current());
        let flags = revisions.iter().map(|(_, flag)| (flag, origin.clone()));
        let messages = flag_messages(&self.destinations, flags)?;
        Span::current().record("redline.flags", messages.len());
        record_state(&mut transaction, state_key, &revisions, &messages).await?;
        dirty::clean_state_key(&mut transaction, state_key).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        self.metrics.derived_key(began.elapsed());
        let flags = revisions.iter().map(|(_, flag)| flag);
        self.metrics.recorded(&Recorded::of_flags(flags));
        Ok(())
    }
}

/// The revisions that lead from the recorded flags of a state key to those that its contributions come to, each with the
/// number of its entity.
pub(crate) fn revisions(contributed: Vec<Contributed>, recorded: Vec<(i64, Flag)>) -> Vec<(i64, Flag)> {
    let mut numbers: HashMap<String, i64> = HashMap::new();
    let mut contributions = Vec::with_capacity(contributed.len());
    for one in contributed {
        numbers.insert(one.entity_id.clone(), one.entity);
        contributions.push((one.entity_id, one.contribution));
    }
    let mut flags = Vec::with_capacity(recorded.len());
    for (entity, flag) in recorded {
        numbers.insert(flag.entity_id.clone(), entity);
        flags.push(flag);
    }
    revise(&flags, moved(&contributions))
        .into_iter()
        .filter_map(|flag| Some((*numbers.get(&flag.entity_id)?, flag)))
        .collect()
}
