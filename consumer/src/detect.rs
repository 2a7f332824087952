//! Detection of one batch: from decoded records and what is known of their entities to everything that is
//! recorded. Pure: it reads nothing and writes nothing, so that a batch can be detected again at will.
//!
//! A version above an entity's latest one is applied to what is known (the fast way). Whatever else comes, a
//! late version, another content of a version, an earlier observation, an approval that may be used, makes the
//! entity be derived again from its whole history. Both ways end in the same findings, since the known state is the
//! summary of that history.
//!
//! Where retention has removed contents, the history begins at the entity's horizon: findings up to there are final, and
//! a content that would belong there and is not known cannot be judged any more, so that it is refused.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use redline_domain::approval::Approval;
use redline_domain::entity::{Arrival, EntityState, Findings, Standing};
use redline_domain::facts::Knowledge;
use redline_domain::finding::Place;
use redline_schemas::flag::Flag;
use redline_schemas::{ContentHash, EntityKey};
use redline_store::entities::Entity;
use redline_store::record::{AcceptedVersion, EntityUpdate, Outcome, RecordOutcome};
use redline_store::retention::Horizon;

use crate::batch::{Assigned, Batch, Body, Decoded, Refusal, Sighting};
use crate::decode::BEYOND_HORIZON;
use crate::derivation::{Derivation, Derived};

/// Where a record stands in a batch: part, record.
pub type Slot = (usize, usize);

/// What a batch comes to, before it is written.
#[derive(Debug, Default)]
pub struct Detected {
    /// Changed entities, sorted by key.
    pub entities: Vec<EntityUpdate>,
    /// Entities of which the batch held only duplicates, as they were known.
    pub untouched: Vec<(EntityKey, Entity)>,
    /// What became of every record, part by part.
    pub outcomes: Vec<Vec<RecordOutcome>>,
    /// Events that cannot be accepted, since they are not above the horizon of their entity.
    pub refused: BTreeMap<Slot, Refusal>,
}

/// One entity's part in a batch.
#[derive(Default)]
struct Work {
    /// Number and revision; none before its first record.
    known: Option<(i64, i64)>,
    state: EntityState,
    findings: Findings,
    accepted: Vec<AcceptedVersion>,
    /// Where the entity was seen, in order, and with what outcome on the fast way.
    slots: Vec<(Slot, Outcome)>,
    /// Begun when the fast way ends.
    derivation: Option<Derivation>,
    /// The latest revisions of its flags, for a derivation.
    flags: Vec<Flag>,
    /// Approvals of its changes: which change takes which is decided over the whole history.
    approvals: Vec<Approval>,
    /// Derived again although the batch says nothing of it.
    again: bool,
    /// Where its derivation begins, when that is not the beginning.
    horizon: Option<i64>,
}

/// A batch under detection.
pub struct Detection<'a> {
    batch: &'a Batch<Decoded>,
    knowledge: &'a Knowledge,
    work: BTreeMap<EntityKey, Work>,
}

impl<'a> Detection<'a> {
    /// Takes the fast way for every record but the confirmed duplicates.
    pub fn begin(
        batch: &'a Batch<Decoded>,
        mut known: HashMap<EntityKey, Entity>,
        mut approvals: HashMap<EntityKey, Vec<Approval>>,
        is_confirmed_duplicate: impl Fn(Slot) -> bool,
        knowledge: &'a Knowledge,
    ) -> Self {
        let mut work: BTreeMap<EntityKey, Work> = BTreeMap::new();
        for (slot, sighting) in sightings(batch) {
            if is_confirmed_duplicate(slot) {
                continue;
            }
            match work.get_mut(&sighting.key) {
                Some(work) => work.take(slot, batch, sighting, knowledge),
                None => {
                    let mut first = Work::of(known.remove(&sighting.key));
                    first.approvals = approvals.remove(&sighting.key).unwrap_or_default();
                    first.take(slot, batch, sighting, knowledge);
                    work.insert(sighting.key.clone(), first);
                }
            }
        }
        Self {
            batch,
            knowledge,
            work,
        }
    }

    /// Derives recorded entities again, without any new record.
    pub fn again(
        known: HashMap<EntityKey, Entity>,
        mut approvals: HashMap<EntityKey, Vec<Approval>>,
        knowledge: &'a Knowledge,
    ) -> Self {
        const NOTHING: &Batch<Decoded> = &Vec::new();
        let work = known.into_iter().map(|(key, entity)| {
            let work = Work {
                derivation: Some(Derivation::default()),
                approvals: approvals.remove(&key).unwrap_or_default(),
                again: true,
                ..Work::of(Some(entity))
            };
            (key, work)
        });
        Self {
            batch: NOTHING,
            knowledge,
            work: work.collect(),
        }
    }

    /// The numbers of the recorded entities that are derived again. Each of their accepted contents goes to
    /// [`Self::recall`], in the order of version and hash, and each of their flags to [`Self::recall_flag`].
    pub fn needs_histories_of(&self) -> Vec<i64> {
        let behind = self.work.values().filter(|work| work.derivation.is_some());
        behind
            .filter_map(|work| work.known.map(|(entity, _)| entity))
            .collect()
    }

    /// The contents of the batch up to a horizon, of which [`Self::recall_horizon`] has to know whether they were accepted:
    /// number of the entity, version, hash.
    pub fn needs_to_know(&self, horizon: &Horizon) -> Vec<(i64, i64, ContentHash)> {
        let Some((entity, work)) = self
            .work
            .get(&horizon.key)
            .and_then(|work| Some((work.known?.0, work)))
        else {
            return Vec::new();
        };
        let contents = work.slots.iter().filter_map(|(slot, _)| at(self.batch, *slot));
        contents
            .map(|sighting| (entity, sighting.event.version(), sighting.hash))
            .filter(|(_, version, _)| *version <= horizon.version)
            .collect()
    }

    /// Takes the horizon of an entity that has one, before anything else of it, with which of the contents of
    /// [`Self::needs_to_know`] were accepted.
    pub fn recall_horizon(&mut self, horizon: Horizon, known: &HashSet<(i64, i64, ContentHash)>) {
        let batch = self.batch;
        let Some(work) = self.work.get_mut(&horizon.key) else {
            return;
        };
        let (Some((entity, _)), Some(derivation)) = (work.known, work.derivation.as_mut()) else {
            return;
        };
        for (slot, outcome) in &mut work.slots {
            let content = at(batch, *slot).map(|sighting| (sighting.event.version(), sighting.hash));
            let is_late = content.is_some_and(|(version, hash)| {
                version <= horizon.version && !known.contains(&(entity, version, hash))
            });
            if is_late {
                *outcome = Outcome::Quarantined;
            }
        }
        derivation.begin_at(horizon.version, horizon.state);
        work.approvals
            .retain(|approval| !horizon.used_approvals.contains(&approval.id));
        work.horizon = Some(horizon.version);
    }

    /// Takes the next accepted content of an entity.
    pub fn recall(&mut self, key: &EntityKey, accepted: Standing) {
        let knowledge = self.knowledge;
        if let Some(derivation) = self.work.get_mut(key).and_then(|work| work.derivation.as_mut()) {
            derivation.recall(accepted, knowledge);
        }
    }

    /// Takes the latest revision of a flag of an entity.
    pub fn recall_flag(&mut self, key: &EntityKey, flag: Flag) {
        if let Some(work) = self.work.get_mut(key)
            && work.horizon.is_none_or(|horizon| flag.version > horizon)
        {
            work.flags.push(flag);
        }
    }

    /// Finishes, when everything that was needed is recalled.
    pub fn finish(self) -> Detected {
        let mut detected = Detected {
            outcomes: default_outcomes(self.batch),
            ..Detected::default()
        };
        for (key, work) in self.work {
            work.refuse(self.batch, &mut detected.refused);
            work.finish(key, self.knowledge, &mut detected);
        }
        for ((part, record), refusal) in &detected.refused {
            detected.outcomes[*part][*record].hash = refusal.hash;
        }
        detected
    }
}

impl Work {
    fn of(known: Option<Entity>) -> Self {
        match known {
            Some(Entity {
                entity,
                revision,
                state,
            }) => Self {
                known: Some((entity, revision)),
                state,
                ..Self::default()
            },
            None => Self::default(),
        }
    }

    fn take(&mut self, slot: Slot, batch: &Batch<Decoded>, sighting: &Sighting, knowledge: &Knowledge) {
        let (assigned, offset) = place(batch, slot);
        // Until its derivation says otherwise, a record is a duplicate.
        self.slots.push((slot, Outcome::Duplicate));
        if let Some(derivation) = &mut self.derivation {
            derivation.add(
                slot,
                standing(sighting, assigned, offset),
                accepted(sighting, assigned, offset),
            );
            return;
        }
        let event = &sighting.event;
        match self
            .state
            .arrival(event.version(), sighting.hash, event.observed_at())
        {
            Arrival::Duplicate => {}
            Arrival::Newer if self.approvals.is_empty() => {
                self.state.apply(
                    standing(sighting, assigned, offset),
                    knowledge,
                    &mut self.findings,
                );
                self.accepted.push(accepted(sighting, assigned, offset));
                if let Some((_, outcome)) = self.slots.last_mut() {
                    *outcome = Outcome::Accepted;
                }
            }
            Arrival::Newer | Arrival::Behind => self.derivation = Some(self.begin_derivation(batch)),
        }
    }

    /// Leaves the fast way: everything that the batch holds of the entity so far is taken again.
    fn begin_derivation(&mut self, batch: &Batch<Decoded>) -> Derivation {
        let mut derivation = Derivation::default();
        for (slot, outcome) in &mut self.slots {
            let (part, record) = *slot;
            if let Body::Event(sighting) = &batch[part].records[record].body {
                let (assigned, offset) = place(batch, *slot);
                derivation.add(
                    *slot,
                    standing(sighting, assigned, offset),
                    accepted(sighting, assigned, offset),
                );
            }
            *outcome = Outcome::Duplicate;
        }
        derivation
    }

    /// What is refused goes to quarantine with its bytes.
    fn refuse(&self, batch: &Batch<Decoded>, refused: &mut BTreeMap<Slot, Refusal>) {
        let late = self
            .slots
            .iter()
            .filter(|(_, outcome)| *outcome == Outcome::Quarantined);
        for (slot, _) in late {
            if let (Some(sighting), Some(horizon)) = (at(batch, *slot), self.horizon) {
                refused.insert(*slot, refusal(sighting, horizon));
            }
        }
    }

    fn finish(mut self, key: EntityKey, knowledge: &Knowledge, detected: &mut Detected) {
        let derived_again = self.derivation.is_some();
        let derived = match self.derivation.take() {
            Some(derivation) => self.finish_derivation(derivation, knowledge),
            None => Derived {
                findings: std::mem::take(&mut self.findings),
                accepted: std::mem::take(&mut self.accepted),
                ..Derived::default()
            },
        };
        set_outcomes(&self.slots, &mut detected.outcomes);
        if derived.accepted.is_empty() && derived.observed_earlier.is_empty() && !self.again {
            return self.untouched(key, detected);
        }
        let (entity, revision) = self.known.unzip();
        detected.entities.push(EntityUpdate {
            key,
            entity,
            revision: revision.unwrap_or(0),
            state: if derived_again { derived.state } else { self.state },
            accepted: derived.accepted,
            observed_earlier: derived.observed_earlier,
            changes: derived.findings.changes,
            derived_again,
            horizon: self.horizon,
            flags: derived.findings.flags,
            contributions: derived.findings.contributions,
        });
    }

    /// What the entity's whole history comes to, its flags as revisions of those that are recorded.
    fn finish_derivation(&mut self, derivation: Derivation, knowledge: &Knowledge) -> Derived {
        let mut derived = derivation.finish(knowledge);
        for (slot, outcome) in &mut self.slots {
            if derived.accepted_slots.contains(slot) {
                *outcome = Outcome::Accepted;
            }
        }
        derived.findings.authorise(&self.approvals);
        derived.findings.flags = revise(&self.flags, derived.findings.flags);
        derived
    }

    /// The batch brought nothing new: the entity is as it was known.
    fn untouched(self, key: EntityKey, detected: &mut Detected) {
        if let Some((entity, revision)) = self.known {
            detected.untouched.push((
                key,
                Entity {
                    entity,
                    revision,
                    state: self.state,
                },
            ));
        }
    }
}

/// The events of a batch with their slots, in order.
pub(crate) fn sightings(batch: &Batch<Decoded>) -> impl Iterator<Item = (Slot, &Sighting)> {
    batch.iter().enumerate().flat_map(|(part_index, part)| {
        part.records
            .iter()
            .enumerate()
            .filter_map(move |(index, record)| match &record.body {
                Body::Event(sighting) => Some(((part_index, index), &**sighting)),
                Body::Refused(_) => None,
            })
    })
}

/// The event in a slot.
fn at(batch: &Batch<Decoded>, (part, record): Slot) -> Option<&Sighting> {
    match &batch[part].records[record].body {
        Body::Event(sighting) => Some(sighting),
        Body::Refused(_) => None,
    }
}

fn refusal(sighting: &Sighting, horizon: i64) -> Refusal {
    let version = sighting.event.version();
    let detail = format!(
        "version {version} of {} comes after retention has removed contents up to version {horizon}, so that it cannot \
         be judged in its place",
        sighting.key
    );
    Refusal {
        reason: BEYOND_HORIZON,
        detail,
        hash: ContentHash::of(sighting.raw.value.as_deref().unwrap_or_default()),
        raw: sighting.raw.clone(),
    }
}

fn place(batch: &Batch<Decoded>, (part, record): Slot) -> (&Arc<Assigned>, i64) {
    (&batch[part].assigned, batch[part].records[record].offset)
}

fn standing(sighting: &Sighting, assigned: &Arc<Assigned>, offset: i64) -> Standing {
    Standing {
        event: sighting.event.clone(),
        hash: sighting.hash,
        place: Place {
            ledger: Arc::clone(&assigned.ledger),
            offset,
        },
        hashes: vec![sighting.hash],
    }
}

fn accepted(sighting: &Sighting, assigned: &Assigned, offset: i64) -> AcceptedVersion {
    AcceptedVersion {
        version: sighting.event.version(),
        hash: sighting.hash,
        observed_at: sighting.event.observed_at(),
        least_observed_at: sighting.event.observed_at(),
        content: sighting.content.clone(),
        position_id: assigned.position_id,
        offset,
    }
}

/// What became of each record: refused, or, unless its entity says otherwise, a duplicate.
fn default_outcomes(batch: &Batch<Decoded>) -> Vec<Vec<RecordOutcome>> {
    let outcome = |record: &Decoded| {
        let (outcome, hash) = match &record.body {
            Body::Event(sighting) => (Outcome::Duplicate, sighting.hash),
            Body::Refused(refusal) => (Outcome::Quarantined, refusal.hash),
        };
        RecordOutcome {
            offset: record.offset,
            outcome,
            hash,
        }
    };
    batch
        .iter()
        .map(|part| part.records.iter().map(outcome).collect())
        .collect()
}

fn set_outcomes(slots: &[(Slot, Outcome)], outcomes: &mut [Vec<RecordOutcome>]) {
    for ((part, record), outcome) in slots {
        outcomes[*part][*record].outcome = *outcome;
    }
}

/// The revisions that lead from the recorded flags of an entity to those that were found: new ones, changed ones,
/// ones that stand again, and withdrawn ones, which repeat their last standing content.
pub(crate) fn revise(recorded: &[Flag], found: Vec<Flag>) -> Vec<Flag> {
    let mut recorded: BTreeMap<&str, &Flag> = recorded
        .iter()
        .map(|flag| (flag.flag_id.as_str(), flag))
        .collect();
    let mut revisions = Vec::new();
    for mut flag in found {
        match recorded.remove(flag.flag_id.as_str()) {
            None => revisions.push(flag),
            Some(old) if old.canonical() == flag.canonical() => {}
            Some(old) => {
                flag.revision = old.revision + 1;
                revisions.push(flag);
            }
        }
    }
    let overturned = recorded
        .into_values()
        .filter(|old| old.status == "standing")
        .map(|old| Flag {
            revision: old.revision + 1,
            status: "withdrawn".to_owned(),
            ..old.clone()
        });
    revisions.extend(overturned);
    revisions
}
