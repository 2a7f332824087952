//! One attempt to record a batch: load what is known, detect, and record everything in one transaction.

use std::collections::{BTreeSet, HashMap, HashSet};

use redline_schemas::{ContentHash, EntityKey, EventKind};
use redline_store::entities::{self, Entity, Probable};
use redline_store::record::record;
use redline_store::sqlx::{Connection, PgConnection};
use redline_store::{StoreError, facts};
use tracing::Instrument as _;

use super::recording::recording;
use super::{RecordError, Recorder};
use crate::batch::{Batch, Decoded};
use crate::bounded::bounded;
use crate::deduplicate::Marks;
use crate::detect::{Detected, Detection, Slot, sightings};
use crate::metrics::{Recorded, Stage};
use crate::recall::recall;
use crate::traces::{BatchTraces, asking, step};

/// What an attempt that succeeded came to.
pub(super) struct Attempted {
    /// For the metrics.
    pub(super) recorded: Recorded,
    /// Quarantined records since the last good one, by number of the position.
    pub(super) quarantined_in_a_row: HashMap<i32, i64>,
}

impl<M: Marks> Recorder<M> {
    /// One attempt within a time that no healthy Postgres needs: its own timeouts end what it still hears of.
    pub(super) async fn attempt_in_time(
        &mut self,
        batch: &Batch<Decoded>,
        hints: &HashSet<ContentHash>,
        traces: &BatchTraces,
        locked: bool,
    ) -> Result<Attempted, RecordError> {
        let timeouts = self.settings.timeouts();
        let limit = 4 * (timeouts.statement + timeouts.lock + timeouts.idle_in_transaction);
        let stop = self.links.stop.clone();
        // Taken out: a connection that is left in the middle of something is of no use.
        self.connect().await?;
        let Some(mut connection) = self.connection.take() else {
            return Err(StoreError::Silent.into());
        };
        let attempt = async {
            if locked {
                self.attempt_locked(&mut connection, batch, hints, traces).await
            } else {
                self.attempt(&mut connection, batch, hints, traces).await
            }
        };
        let result = bounded(limit, &stop, attempt).await.ok_or(StoreError::Silent)?;
        self.connection = Some(connection);
        result
    }

    /// An attempt that nobody can disturb: the entities that exist are locked, in the order in which every writer
    /// updates them, before they are read.
    async fn attempt_locked(
        &mut self,
        connection: &mut PgConnection,
        batch: &Batch<Decoded>,
        hints: &HashSet<ContentHash>,
        traces: &BatchTraces,
    ) -> Result<Attempted, RecordError> {
        let mut transaction = connection.begin().await.map_err(StoreError::from)?;
        let keys: BTreeSet<&EntityKey> = sightings(batch).map(|(_, sighting)| &sighting.key).collect();
        // Facts before entities, as everybody does: whoever brings facts holds them alone.
        let brings_facts = keys.iter().any(|key| key.kind == EventKind::Fact);
        if brings_facts {
            facts::hold_alone(&mut transaction).await?;
        } else {
            facts::hold(&mut transaction).await?;
        }
        entities::lock(&mut transaction, &keys.into_iter().collect::<Vec<_>>()).await?;
        let attempted = self.attempt(&mut transaction, batch, hints, traces).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        Ok(attempted)
    }

    /// One attempt: load, detect, record. Answers what it came to.
    async fn attempt(
        &mut self,
        connection: &mut PgConnection,
        batch: &Batch<Decoded>,
        hints: &HashSet<ContentHash>,
        traces: &BatchTraces,
    ) -> Result<Attempted, RecordError> {
        let load_stage = self.metrics.stage(Stage::Load);
        if self.facts_are_old {
            self.facts.refresh(connection).await?;
            self.facts_are_old = false;
        }
        let confirming = confirm(connection, batch, hints).instrument(asking("postgresql", "confirm"));
        let confirmed = confirming.await?;
        let loading = self.load(connection, batch, &confirmed);
        let known = loading.instrument(asking("postgresql", "load")).await?;
        let keys: HashMap<i64, EntityKey> = known
            .iter()
            .map(|(key, entity)| (entity.entity, key.clone()))
            .collect();
        let about = sightings(batch).map(|(_, sighting)| &sighting.key);
        let approvals = self.facts.approvals(connection, about).await?;
        drop(load_stage);
        let detect_stage = self.metrics.stage(Stage::Detect);
        let is_confirmed = |slot| confirmed.contains(&slot);
        let knowledge = &self.facts.knowledge;
        let detecting = async {
            let mut detection = Detection::begin(batch, known, approvals, is_confirmed, knowledge);
            recall(connection, &mut detection, &keys).await?;
            Ok::<_, StoreError>(detection.finish())
        };
        let Detected {
            entities,
            untouched,
            outcomes,
            refused,
        } = detecting.instrument(step("detect")).await?;
        let origins = traces.origins(batch);
        let recording = recording(
            &self.destinations,
            &self.facts,
            batch,
            entities,
            (outcomes, &refused),
            &origins,
        )?;
        drop(detect_stage);
        let record_stage = self.metrics.stage(Stage::Record);
        let recording_it = record(connection, &recording).instrument(asking("postgresql", "record"));
        let recorded = recording_it.await?;
        drop(record_stage);
        let attempted = Attempted {
            recorded: Recorded::of(&recording),
            quarantined_in_a_row: recorded.quarantined_in_a_row,
        };
        self.facts_are_old = !recording.facts.is_empty();
        for (key, entity) in untouched {
            self.cache.insert(key, entity);
        }
        for (update, entity) in recording.entities.into_iter().zip(recorded.entities) {
            let revision = update.revision + 1;
            self.cache.insert(
                update.key,
                Entity {
                    entity,
                    revision,
                    state: update.state,
                },
            );
        }
        Ok(attempted)
    }

    /// What is known of the batch's entities: remembered, or loaded in one query.
    async fn load(
        &mut self,
        connection: &mut PgConnection,
        batch: &Batch<Decoded>,
        confirmed: &BTreeSet<Slot>,
    ) -> Result<HashMap<EntityKey, Entity>, StoreError> {
        let mut known: HashMap<EntityKey, Entity> = HashMap::new();
        let mut absent: BTreeSet<&EntityKey> = BTreeSet::new();
        for (slot, sighting) in sightings(batch) {
            let key = &sighting.key;
            if confirmed.contains(&slot) || known.contains_key(key) || absent.contains(key) {
                continue;
            }
            // Taken out, and put back once the batch is recorded: a failed attempt loads it again.
            match self.cache.take(key) {
                Some(entity) => drop(known.insert(key.clone(), entity)),
                None => drop(absent.insert(key)),
            }
        }
        self.metrics.remembered(known.len(), absent.len());
        let absent: Vec<&EntityKey> = absent.into_iter().collect();
        known.extend(entities::load(connection, &absent).await?);
        Ok(known)
    }
}

/// Of the contents that Redis has seen, those that Postgres accepted.
async fn confirm(
    connection: &mut PgConnection,
    batch: &Batch<Decoded>,
    hints: &HashSet<ContentHash>,
) -> Result<BTreeSet<Slot>, StoreError> {
    let mut slots = Vec::new();
    let mut probable = Vec::new();
    for (slot, sighting) in sightings(batch) {
        if hints.contains(&sighting.hash) {
            slots.push(slot);
            probable.push(Probable {
                key: &sighting.key,
                version: sighting.event.version(),
                hash: sighting.hash,
                observed_at: sighting.event.observed_at(),
            });
        }
    }
    let confirmed = if cfg!(feature = "break-marks") {
        vec![true; probable.len()]
    } else {
        entities::confirm_duplicates(connection, &probable).await?
    };
    Ok(slots
        .into_iter()
        .zip(confirmed)
        .filter(|(_, confirmed)| *confirmed)
        .map(|(slot, _)| slot)
        .collect())
}
