//! All recorded versions of entities, in order, for deriving them again when a version comes late.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use redline_domain::entity::Standing;
use redline_domain::finding::{Ledger, Place};
use redline_schemas::{EntityKey, Event};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use crate::entities::{read_key, time};
use crate::error::StoreError;
use crate::types::content_hash;

/// Hands over everything that was accepted about the entities above their horizons, one content at a time, ordered by
/// entity, version and content hash. Nothing is kept, however long the histories are.
///
/// # Errors
/// When Postgres cannot be reached, or the record is damaged.
pub async fn recall(
    connection: &mut PgConnection,
    entities: &[i64],
    mut take: impl FnMut(&EntityKey, Standing),
) -> Result<(), StoreError> {
    if entities.is_empty() {
        return Ok(());
    }
    let mut rows = sqlx::query(
        "select e.entity_type, e.source, e.entity_id, v.content_hash, v.observed_at, v.\"offset\",
            v.version, p.topic, p.incarnation, p.partition, event.content
         from redline.versions v
         join redline.entities e using (entity)
         join redline.positions p using (position_id)
         left join redline.events event on event.position_id = v.position_id and event.\"offset\" = v.\"offset\"
            and event.recorded_at = v.recorded_at
         where v.entity = any($1) and (e.horizon is null or v.version > e.horizon) order by v.entity, v.version, v.content_hash",
    )
    .bind(entities)
    .fetch(connection);
    let mut ledgers = Ledgers::new();
    while let Some(row) = rows.try_next().await? {
        let (key, standing) = read(&row, &mut ledgers)?;
        take(&key, standing);
    }
    Ok(())
}

/// Ledgers by incarnation and partition, so that contents share them.
type Ledgers = HashMap<(String, i32), Arc<Ledger>>;

fn read(row: &PgRow, ledgers: &mut Ledgers) -> Result<(EntityKey, Standing), StoreError> {
    let key = read_key(row)?;
    let version: i64 = row.try_get("version")?;
    // A history with a hole would be derived into other findings.
    let Some(content) = row.try_get::<Option<&str>, _>("content")? else {
        return Err(StoreError::Damaged {
            what: key.to_string(),
            reason: format!("redline.events does not have the content of version {version}"),
        });
    };
    let event = Event::from_canonical(key.kind, content, time(row, "observed_at")?).map_err(|error| {
        StoreError::Damaged {
            what: key.to_string(),
            reason: error.to_string(),
        }
    })?;
    let hash = content_hash(row.try_get("content_hash")?)?;
    let topic: &str = row.try_get("topic")?;
    let ledger = ledgers
        .entry((row.try_get("incarnation")?, row.try_get("partition")?))
        .or_insert_with_key(|(incarnation, partition)| {
            Arc::new(Ledger {
                topic: topic.to_owned(),
                incarnation: incarnation.clone(),
                partition: *partition,
            })
        })
        .clone();
    let place = Place {
        ledger,
        offset: row.try_get("offset")?,
    };
    Ok((
        key,
        Standing {
            event,
            hash,
            place,
            hashes: vec![hash],
        },
    ))
}
