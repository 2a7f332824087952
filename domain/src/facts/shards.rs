//! A map of many texts that is cheap to copy and cheap to change while copies of it are held.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

/// A change copies one of so many parts at most, when another copy of the map is held.
const SHARDS: usize = 512;

/// A map by text. Texts that differ only in ASCII case lie in one shard.
#[derive(Clone, Debug)]
pub(super) struct Shards<V>(Arc<Vec<Arc<BTreeMap<String, V>>>>);

impl<V> Default for Shards<V> {
    fn default() -> Self {
        Self(Arc::new(vec![Arc::default(); SHARDS]))
    }
}

impl<V: Clone> Shards<V> {
    pub(super) fn get(&self, key: &str) -> Option<&V> {
        self.shard(key).get(key)
    }

    /// Entries whose keys are the text but for ASCII case.
    pub(super) fn alike<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a V> {
        self.shard(key)
            .iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(key))
            .map(|(_, value)| value)
    }

    /// The shard in which a key lies, to be changed.
    pub(super) fn shard_mut(&mut self, key: &str) -> &mut BTreeMap<String, V> {
        Arc::make_mut(&mut Arc::make_mut(&mut self.0)[number_of(key)])
    }

    fn shard(&self, key: &str) -> &BTreeMap<String, V> {
        &self.0[number_of(key)]
    }
}

fn number_of(key: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    key.to_ascii_lowercase().hash(&mut hasher);
    // The remainder is below SHARDS.
    usize::try_from(hasher.finish() % SHARDS as u64).unwrap_or(0)
}
