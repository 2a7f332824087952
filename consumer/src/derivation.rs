//! Deriving one entity again, from its recorded contents and those of a batch.
//!
//! Recorded contents are recalled one by one, in the order of version and hash, and merged with the batch's on
//! the way, so that a long history is never in memory as a whole.

use std::collections::{BTreeMap, HashSet};

use redline_domain::entity::{EntityState, Findings, Standing};
use redline_domain::facts::Knowledge;
use redline_schemas::{ContentHash, Timestamp};
use redline_store::record::AcceptedVersion;

use crate::detect::Slot;

/// What identifies a content within its entity.
type ContentId = (i64, ContentHash);

/// A content of the batch: where it was seen first, and with the least observation of its copies there.
struct Fresh {
    slot: Slot,
    standing: Standing,
    version: AcceptedVersion,
}

/// One entity under derivation.
#[derive(Default)]
pub(crate) struct Derivation {
    fresh: BTreeMap<ContentId, Fresh>,
    /// The version that is being put together from its contents: the one that stands so far, with all hashes.
    pending: Option<Standing>,
    derived: Derived,
}

/// What a derivation comes to.
#[derive(Default)]
pub(crate) struct Derived {
    /// The summary of all standing versions.
    pub(crate) state: EntityState,
    /// Everything that they bring to light.
    pub(crate) findings: Findings,
    /// Contents of the batch that were not recorded.
    pub(crate) accepted: Vec<AcceptedVersion>,
    /// Where each of them was seen first.
    pub(crate) accepted_slots: HashSet<Slot>,
    /// Recorded contents that the batch saw observed earlier.
    pub(crate) observed_earlier: Vec<(i64, ContentHash, Timestamp)>,
}

impl Derivation {
    /// Adds a content of the batch, in the order of the batch.
    pub(crate) fn add(&mut self, slot: Slot, standing: Standing, version: AcceptedVersion) {
        let id = (version.version, version.hash);
        let Some(known) = self.fresh.get_mut(&id) else {
            self.fresh.insert(
                id,
                Fresh {
                    slot,
                    standing,
                    version,
                },
            );
            return;
        };
        if standing.event.observed_at() < known.standing.event.observed_at() {
            known.version.least_observed_at = standing.event.observed_at();
            known.standing.event = standing.event;
        }
    }

    /// Begins at a horizon with the summary of everything up to it. The batch's contents up to there are no part of it.
    pub(crate) fn begin_at(&mut self, horizon: i64, state: EntityState) {
        self.fresh.retain(|(version, _), _| *version > horizon);
        self.derived.state = state;
    }

    /// Takes the next recorded content.
    pub(crate) fn recall(&mut self, mut recorded: Standing, knowledge: &Knowledge) {
        let id = (recorded.event.version(), recorded.hash);
        self.accept_below(Some(id), knowledge);
        if let Some(copy) = self.fresh.remove(&id)
            && let Some(observed_at) = copy.standing.event.observed_at()
            && Some(observed_at) < recorded.event.observed_at()
        {
            self.derived.observed_earlier.push((id.0, id.1, observed_at));
            recorded.event = copy.standing.event;
        }
        self.put(recorded, knowledge);
    }

    /// Finishes with what the batch has above everything that is recorded.
    pub(crate) fn finish(mut self, knowledge: &Knowledge) -> Derived {
        self.accept_below(None, knowledge);
        self.apply_pending(knowledge);
        self.derived
    }

    /// Accepts the batch's contents below a recorded one; all of them when there is none.
    fn accept_below(&mut self, limit: Option<ContentId>, knowledge: &Knowledge) {
        while let Some(entry) = self.fresh.first_entry() {
            if limit.is_some_and(|limit| *entry.key() >= limit) {
                return;
            }
            let Fresh {
                slot,
                standing,
                version,
            } = entry.remove();
            self.derived.accepted_slots.insert(slot);
            self.derived.accepted.push(version);
            self.put(standing, knowledge);
        }
    }

    /// Adds a content to the version that is being put together, or begins the next version.
    fn put(&mut self, content: Standing, knowledge: &Knowledge) {
        match &mut self.pending {
            Some(pending) if pending.event.version() == content.event.version() => {
                let mut hashes = std::mem::take(&mut pending.hashes);
                hashes.push(content.hash);
                if content.stands_before(pending) {
                    *pending = content;
                }
                pending.hashes = hashes;
            }
            _ => {
                self.apply_pending(knowledge);
                self.pending = Some(content);
            }
        }
    }

    fn apply_pending(&mut self, knowledge: &Knowledge) {
        if let Some(standing) = self.pending.take() {
            self.derived
                .state
                .apply(standing, knowledge, &mut self.derived.findings);
        }
    }
}
