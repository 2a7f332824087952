//! Detection of one batch: from decoded records and what is known of their entities to everything that is
//! recorded. Pure: it reads nothing and writes nothing, so that a batch can be detected again at will.
//!
//! A version above an entity's latest one is applied to what is known (the fast way). Whatever else comes, a
//! late version, another content of a version, an earlier observation, makes the entity be derived again from
//! its whole history. Both ways end in the same findings, since the known state is the summary of that history.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use redline_domain::entity::{Arrival, EntityState, Findings, Standing, derive};
use redline_domain::finding::Place;
use redline_domain::rules::RuleBook;
use redline_schemas::flag::Flag;
use redline_schemas::{ContentHash, EntityKey};
use redline_store::entities::Entity;
use redline_store::history::Accepted;
use redline_store::record::{AcceptedVersion, EntityUpdate, Outcome, RecordOutcome};

use crate::batch::{Assigned, Batch, Body, Decoded, Sighting};

/// Where a record stands in a batch: part, record.
pub type Slot = (usize, usize);

/// What a batch comes to, before it is written.
#[derive(Debug, Default)]
pub struct Detected {
    /// Changed entities, sorted by key.
    pub entities: Vec<EntityUpdate>,
    /// What became of every record, part by part.
    pub outcomes: Vec<Vec<RecordOutcome>>,
}

/// What is loaded for entities that must be derived again.
#[derive(Debug, Default)]
pub struct Histories {
    /// Everything that was accepted about an entity.
    pub accepted: HashMap<EntityKey, Vec<Accepted>>,
    /// The latest revisions of its flags.
    pub flags: HashMap<EntityKey, Vec<Flag>>,
}

/// One entity's part in a batch.
struct Work<'a> {
    known: Option<&'a Entity>,
    state: EntityState,
    findings: Findings,
    accepted: Vec<AcceptedVersion>,
    /// Every sighting of the entity in the batch, in order.
    sightings: Vec<(Slot, &'a Sighting)>,
    outcomes: Vec<Outcome>,
    behind: bool,
}

/// A batch under detection.
pub struct Detection<'a> {
    batch: &'a Batch<Decoded>,
    rules: &'a RuleBook,
    work: BTreeMap<EntityKey, Work<'a>>,
}

impl<'a> Detection<'a> {
    /// Takes the fast way for every record but the confirmed duplicates.
    pub fn begin(
        batch: &'a Batch<Decoded>,
        known: &'a HashMap<EntityKey, Entity>,
        is_confirmed_duplicate: impl Fn(Slot) -> bool,
        rules: &'a RuleBook,
    ) -> Self {
        let mut detection = Self {
            batch,
            rules,
            work: BTreeMap::new(),
        };
        for (part_index, part) in batch.iter().enumerate() {
            for (record_index, record) in part.records.iter().enumerate() {
                let slot = (part_index, record_index);
                if let Body::Event(sighting) = &record.body
                    && !is_confirmed_duplicate(slot)
                {
                    detection.take(slot, &part.assigned, record.offset, sighting, known);
                }
            }
        }
        detection
    }

    fn take(
        &mut self,
        slot: Slot,
        assigned: &Arc<Assigned>,
        offset: i64,
        sighting: &'a Sighting,
        known: &'a HashMap<EntityKey, Entity>,
    ) {
        if !self.work.contains_key(&sighting.key) {
            let known = known.get(&sighting.key);
            self.work.insert(
                sighting.key.clone(),
                Work {
                    known,
                    state: known.map(|entity| entity.state.clone()).unwrap_or_default(),
                    findings: Findings::default(),
                    accepted: Vec::new(),
                    sightings: Vec::new(),
                    outcomes: Vec::new(),
                    behind: false,
                },
            );
        }
        let Some(work) = self.work.get_mut(&sighting.key) else {
            return;
        };
        work.sightings.push((slot, sighting));
        if work.behind {
            return;
        }
        let event = &sighting.event;
        match work
            .state
            .arrival(event.version(), sighting.hash, event.observed_at())
        {
            Arrival::Newer => {
                let standing = standing(sighting, assigned, offset);
                work.state.apply(standing, self.rules, &mut work.findings);
                work.accepted.push(accepted_version(sighting, assigned, offset));
                work.outcomes.push(Outcome::Accepted);
            }
            Arrival::Duplicate => work.outcomes.push(Outcome::Duplicate),
            Arrival::Behind => work.behind = true,
        }
    }

    /// The numbers of the recorded entities whose histories are needed.
    pub fn needs_histories_of(&self) -> Vec<i64> {
        self.work
            .values()
            .filter(|work| work.behind)
            .filter_map(|work| work.known)
            .map(|entity| entity.entity)
            .collect()
    }

    /// Finishes with those histories.
    pub fn finish(self, histories: &Histories) -> Detected {
        let mut outcomes = self.refusals_and_duplicates();
        let mut entities = Vec::with_capacity(self.work.len());
        for (key, mut work) in self.work {
            let update = if work.behind {
                derive_again(key, &mut work, self.batch, histories, self.rules)
            } else {
                applied(key, &mut work)
            };
            for ((part, record), outcome) in work.sightings.iter().map(|(slot, _)| *slot).zip(&work.outcomes)
            {
                outcomes[part][record].outcome = *outcome;
            }
            entities.extend(update);
        }
        Detected { entities, outcomes }
    }

    /// What became of each record: refused, or, until its entity says otherwise, a duplicate.
    fn refusals_and_duplicates(&self) -> Vec<Vec<RecordOutcome>> {
        self.batch
            .iter()
            .map(|part| {
                part.records
                    .iter()
                    .map(|record| match &record.body {
                        Body::Event(sighting) => RecordOutcome {
                            offset: record.offset,
                            outcome: Outcome::Duplicate,
                            hash: sighting.hash,
                        },
                        Body::Refused(refusal) => RecordOutcome {
                            offset: record.offset,
                            outcome: Outcome::Quarantined,
                            hash: refusal.hash,
                        },
                    })
                    .collect()
            })
            .collect()
    }
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

fn accepted_version(sighting: &Sighting, assigned: &Assigned, offset: i64) -> AcceptedVersion {
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

/// The update of an entity that took the fast way; none when it only saw duplicates.
fn applied(key: EntityKey, work: &mut Work<'_>) -> Option<EntityUpdate> {
    if work.accepted.is_empty() {
        return None;
    }
    let findings = std::mem::take(&mut work.findings);
    Some(EntityUpdate {
        key,
        entity: work.known.map(|entity| entity.entity),
        revision: work.known.map_or(0, |entity| entity.revision),
        state: std::mem::take(&mut work.state),
        accepted: std::mem::take(&mut work.accepted),
        observed_earlier: Vec::new(),
        changes: findings.changes,
        derived_again: false,
        flags: findings.flags,
    })
}

/// The update of an entity that is derived again from everything that was ever accepted about it.
fn derive_again(
    key: EntityKey,
    work: &mut Work<'_>,
    batch: &Batch<Decoded>,
    histories: &Histories,
    rules: &RuleBook,
) -> Option<EntityUpdate> {
    let recorded = histories
        .accepted
        .get(&key)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut merged: BTreeMap<(i64, ContentHash), Standing> = recorded
        .iter()
        .map(|accepted| (accepted.id(), accepted.standing.clone()))
        .collect();
    let mut accepted: BTreeMap<(i64, ContentHash), AcceptedVersion> = BTreeMap::new();
    let mut observed_earlier = BTreeMap::new();
    work.outcomes.clear();
    for ((part, record), sighting) in &work.sightings {
        let assigned = &batch[*part].assigned;
        let offset = batch[*part].records[*record].offset;
        let id = (sighting.event.version(), sighting.hash);
        let Some(known) = merged.get_mut(&id) else {
            merged.insert(id, standing(sighting, assigned, offset));
            accepted.insert(id, accepted_version(sighting, assigned, offset));
            work.outcomes.push(Outcome::Accepted);
            continue;
        };
        work.outcomes.push(Outcome::Duplicate);
        if let Some(observed_at) = sighting.event.observed_at()
            && Some(observed_at) < known.event.observed_at()
        {
            // Of copies the least observation counts.
            known.event = sighting.event.clone();
            match accepted.get_mut(&id) {
                Some(version) => version.least_observed_at = Some(observed_at),
                None => {
                    observed_earlier.insert(id, observed_at);
                }
            }
        }
    }
    if accepted.is_empty() && observed_earlier.is_empty() {
        return None;
    }
    let (state, findings) = derive(standing_versions(merged), rules);
    let recorded_flags = histories.flags.get(&key).map(Vec::as_slice).unwrap_or_default();
    Some(EntityUpdate {
        key,
        entity: work.known.map(|entity| entity.entity),
        revision: work.known.map_or(0, |entity| entity.revision),
        state,
        accepted: accepted.into_values().collect(),
        observed_earlier: observed_earlier
            .into_iter()
            .map(|((version, hash), observed_at)| (version, hash, observed_at))
            .collect(),
        changes: findings.changes,
        derived_again: true,
        flags: revise(recorded_flags, findings.flags),
    })
}

/// Of all contents of each version the one that stands, with the hashes of all.
fn standing_versions(contents: BTreeMap<(i64, ContentHash), Standing>) -> Vec<Standing> {
    let mut versions: Vec<Standing> = Vec::with_capacity(contents.len());
    for ((version, hash), content) in contents {
        match versions.last_mut() {
            Some(last) if last.event.version() == version => {
                let mut hashes = std::mem::take(&mut last.hashes);
                hashes.push(hash);
                if content.stands_before(last) {
                    *last = content;
                }
                last.hashes = hashes;
            }
            _ => versions.push(content),
        }
    }
    versions
}

/// The revisions that lead from the recorded flags of an entity to those that were found: new ones, changed ones,
/// ones that stand again, and withdrawn ones, which repeat their last standing content.
fn revise(recorded: &[Flag], found: Vec<Flag>) -> Vec<Flag> {
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
