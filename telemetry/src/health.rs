//! Whether a process can do its work: named parts, each ready or not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The parts of a process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Health {
    parts: Arc<Mutex<BTreeMap<&'static str, bool>>>,
}

/// One part, in the hands of whoever knows how it is.
#[derive(Clone, Debug)]
pub struct Part {
    health: Health,
    name: &'static str,
}

impl Health {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, bool>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A part that is not ready yet. The same name is the same part.
    pub fn part(&self, name: &'static str) -> Part {
        self.lock().insert(name, false);
        Part {
            health: self.clone(),
            name,
        }
    }

    /// The names of the parts that are not ready.
    pub fn not_ready(&self) -> Vec<&'static str> {
        let parts = self.lock();
        let not_ready = parts.iter().filter(|(_, ready)| !**ready);
        not_ready.map(|(name, _)| *name).collect()
    }
}

impl Part {
    /// Says how it is.
    pub fn set(&self, ready: bool) {
        self.health.lock().insert(self.name, ready);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_ready_when_each_of_its_parts_is() {
        let health = Health::default();
        assert!(health.not_ready().is_empty(), "what has no parts is ready");
        let (kafka, database) = (health.part("kafka"), health.part("database"));
        assert_eq!(health.not_ready(), ["database", "kafka"]);
        kafka.set(true);
        database.set(true);
        assert!(health.not_ready().is_empty());
        kafka.set(false);
        assert_eq!(health.not_ready(), ["kafka"]);
    }
}
