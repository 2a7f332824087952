//! Entities that this worker recorded lately, within a byte budget. Their revisions make that safe: a stale one
//! fails its compare-and-set, is forgotten and loaded again.

use hashlink::LruCache;
use redline_schemas::{ColumnValue, EntityKey};
use redline_store::entities::Entity;

/// The cache of entities.
pub struct EntityCache {
    entities: LruCache<EntityKey, (Entity, usize)>,
    bytes: usize,
    most_bytes: usize,
}

impl EntityCache {
    /// A cache within a budget of bytes.
    pub fn new(most_bytes: usize) -> Self {
        Self {
            entities: LruCache::new_unbounded(),
            bytes: 0,
            most_bytes,
        }
    }

    /// Takes a remembered entity out.
    pub fn take(&mut self, key: &EntityKey) -> Option<Entity> {
        let (entity, size) = self.entities.remove(key)?;
        self.bytes -= size;
        Some(entity)
    }

    /// Remembers an entity and forgets the least recently used ones beyond the budget.
    pub fn insert(&mut self, key: EntityKey, entity: Entity) {
        let size = bytes_of(&key, &entity);
        if let Some((_, old)) = self.entities.insert(key, (entity, size)) {
            self.bytes -= old;
        }
        self.bytes += size;
        while self.bytes > self.most_bytes {
            let Some((_, (_, size))) = self.entities.remove_lru() else {
                break;
            };
            self.bytes -= size;
        }
    }

    /// How many entities it holds, and about how many bytes.
    pub fn size(&self) -> (usize, usize) {
        (self.entities.len(), self.bytes)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entities.clear();
        self.bytes = 0;
    }
}

/// About what an entity holds in memory.
fn bytes_of(key: &EntityKey, entity: &Entity) -> usize {
    const ENTITY: usize = 600;
    const MEMBER: usize = 96;
    let value = |value: &ColumnValue| match value {
        ColumnValue::Text(text) => text.len(),
        _ => 0,
    };
    let columns = entity.state.baseline.iter().flat_map(|row| &row.columns);
    let members: usize = columns
        .chain(&entity.state.previous)
        .map(|(name, column)| MEMBER + name.len() + value(column))
        .sum();
    ENTITY + key.source.len() + key.entity_id.len() + members
}

#[cfg(test)]
mod tests {
    use redline_domain::entity::EntityState;
    use redline_schemas::EventKind;

    use super::*;

    fn key(number: usize) -> EntityKey {
        EntityKey {
            kind: EventKind::Row,
            source: "billing".into(),
            entity_id: number.to_string(),
        }
    }

    #[test]
    fn the_least_recently_used_entities_are_forgotten_beyond_the_budget() {
        let mut cache = EntityCache::new(10_000);
        for number in 0..1_000 {
            cache.insert(
                key(number),
                Entity {
                    entity: 1,
                    revision: 1,
                    state: EntityState::default(),
                },
            );
            assert!(cache.bytes <= 10_000);
        }
        cache.insert(
            key(999),
            Entity {
                entity: 1,
                revision: 2,
                state: EntityState::default(),
            },
        );
        assert_eq!(cache.take(&key(999)).map(|entity| entity.revision), Some(2));
        assert!(cache.take(&key(999)).is_none() && cache.take(&key(0)).is_none());
        assert!(cache.take(&key(998)).is_some() && cache.bytes > 0);
        cache.clear();
        assert_eq!(cache.bytes, 0);
    }
}
