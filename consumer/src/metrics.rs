//! What a worker measures of itself.

use prometheus::{IntCounter, IntGaugeVec, Opts, Registry};
use redline_store::dirty::Dirty;

/// What a worker measures of itself. Clones share it.
#[derive(Clone)]
pub(crate) struct Metrics {
    dirty: IntGaugeVec,
    derived: IntCounter,
}

impl Metrics {
    /// Registers what a worker measures; fails when the registry has another worker already.
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let dirty = IntGaugeVec::new(
            Opts::new(
                "redline_dirty_keys",
                "What facts and other rows touched and is to be derived again, of the whole installation.",
            ),
            &["kind"],
        )?;
        let derived = IntCounter::new(
            "redline_derived_entities_total",
            "Entities that this worker derived again because of facts.",
        )?;
        registry.register(Box::new(dirty.clone()))?;
        registry.register(Box::new(derived.clone()))?;
        Ok(Self { dirty, derived })
    }

    /// What is to be derived again.
    pub(crate) fn see(&self, dirty: Dirty) {
        self.dirty.with_label_values(&["entity"]).set(dirty.entities);
        self.dirty.with_label_values(&["state_key"]).set(dirty.state_keys);
    }

    /// Counts entities that were derived again.
    pub(crate) fn derived(&self, entities: usize) {
        self.derived.inc_by(u64::try_from(entities).unwrap_or(u64::MAX));
    }
}
