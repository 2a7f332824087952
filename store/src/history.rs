//! All recorded versions of entities, in order, for deriving them again when a version comes late.

use std::collections::HashMap;
use std::sync::Arc;

use redline_domain::entity::Standing;
use redline_domain::finding::{Ledger, Place};
use redline_schemas::{ContentHash, EntityKey, Event, Timestamp};
use sqlx::{PgConnection, Row};

use crate::entities::{read_key, time};
use crate::error::StoreError;
use crate::types::content_hash;

/// One accepted content of one version.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Its content, place and hash; `hashes` holds only its own.
    pub standing: Standing,
}

impl Accepted {
    /// What identifies it within its entity.
    pub fn id(&self) -> (i64, ContentHash) {
        (self.standing.event.version(), self.standing.hash)
    }

    /// The least `observed_at` of its copies; rows only.
    pub fn observed_at(&self) -> Option<Timestamp> {
        self.standing.event.observed_at()
    }
}

/// Loads everything that was accepted about the entities, ordered by version and content hash.
///
/// # Errors
/// When Postgres cannot be reached, or the record is damaged.
pub async fn load(
    connection: &mut PgConnection,
    entities: &[i64],
) -> Result<HashMap<EntityKey, Vec<Accepted>>, StoreError> {
    let mut histories: HashMap<EntityKey, Vec<Accepted>> = HashMap::new();
    if entities.is_empty() {
        return Ok(histories);
    }
    let rows = sqlx::query(
        "select e.entity_type, e.source, e.entity_id, v.content_hash, v.observed_at, v.\"offset\",
            p.topic, p.incarnation, p.partition, event.content
         from redline.versions v
         join redline.entities e using (entity)
         join redline.positions p using (position_id)
         join redline.events event on event.position_id = v.position_id and event.\"offset\" = v.\"offset\"
            and event.recorded_at = v.recorded_at
         where v.entity = any($1) order by v.entity, v.version, v.content_hash",
    )
    .bind(entities)
    .fetch_all(connection)
    .await?;
    let mut ledgers: HashMap<(String, i32), Arc<Ledger>> = HashMap::new();
    for row in &rows {
        let key = read_key(row)?;
        let content: &str = row.try_get("content")?;
        let event = Event::from_canonical(key.kind, content, time(row, "observed_at")?).map_err(|error| {
            StoreError::Damaged {
                what: key.to_string(),
                reason: error.to_string(),
            }
        })?;
        let hash = content_hash(row.try_get("content_hash")?)?;
        let incarnation: String = row.try_get("incarnation")?;
        let partition: i32 = row.try_get("partition")?;
        let topic: &str = row.try_get("topic")?;
        let ledger = ledgers
            .entry((incarnation, partition))
            .or_insert_with_key(|(incarnation, partition)| {
                let incarnation = incarnation.clone();
                Arc::new(Ledger {
                    topic: topic.to_owned(),
                    incarnation,
                    partition: *partition,
                })
            })
            .clone();
        let place = Place {
            ledger,
            offset: row.try_get("offset")?,
        };
        let standing = Standing {
            event,
            hash,
            place,
            hashes: vec![hash],
        };
        histories.entry(key).or_default().push(Accepted { standing });
    }
    Ok(histories)
}
