//! Recalling what is recorded of entities that are derived again.

use std::collections::HashMap;

use redline_schemas::EntityKey;
use redline_store::sqlx::PgConnection;
use redline_store::{StoreError, flags, history, retention};

use crate::detect::Detection;

/// Recalls the histories and flags of the entities that are derived again, from their horizons on.
///
/// What is read meanwhile in several statements may be torn by retention, which moves horizons; it raises revisions, so
/// that nothing of that is recorded.
pub(crate) async fn recall(
    connection: &mut PgConnection,
    detection: &mut Detection<'_>,
    keys: &HashMap<i64, EntityKey>,
) -> Result<(), StoreError> {
    let numbers = detection.needs_histories_of();
    let horizons = retention::horizons(connection, &numbers).await?;
    let contents: Vec<_> = horizons
        .iter()
        .flat_map(|horizon| detection.needs_to_know(horizon))
        .collect();
    let known = retention::known_contents(connection, &contents).await?;
    for horizon in horizons {
        detection.recall_horizon(horizon, &known);
    }
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
