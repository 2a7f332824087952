//! Recalling what is recorded of entities that are derived again.

use std::collections::HashMap;

use redline_schemas::EntityKey;
use redline_store::sqlx::PgConnection;
use redline_store::{StoreError, flags, history};

use crate::detect::Detection;

/// Recalls the histories and flags of the entities that are derived again.
pub(crate) async fn recall(
    connection: &mut PgConnection,
    detection: &mut Detection<'_>,
    keys: &HashMap<i64, EntityKey>,
) -> Result<(), StoreError> {
    let numbers = detection.needs_histories_of();
    for (entity, flag) in flags::load(connection, &numbers).await? {
        if let Some(key) = keys.get(&entity) {
            detection.recall_flag(key, flag);
        }
    }
    history::recall(connection, &numbers, |key, accepted| {
        detection.recall(key, accepted)
    })
    .await
}
