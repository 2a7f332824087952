//! Rule sets as they were recorded, for those who list and replace them.

use redline_schemas::ContentHash;
use redline_schemas::fact::Fact;
use sqlx::{PgPool, Row};

use crate::error::StoreError;
use crate::types::{Timestamptz, content_hash};

/// A rule set as it was recorded, whether it still stands or not.
#[derive(Clone, Debug)]
pub struct RecordedRules {
    /// The fact, with the whole file.
    pub fact: Fact,
    /// The hash of its content.
    pub hash: ContentHash,
    /// Whether it stands for its id: it has the highest version, and of contents at one version the greatest hash.
    pub stands: bool,
}

/// All rule sets that were ever recorded, ordered by (effective_at, id, version, hash): of those that stand, the last one
/// that is not after an instant is in force at it.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn list(pool: &PgPool) -> Result<Vec<RecordedRules>, StoreError> {
    let rows = sqlx::query(
        "select id, version, content_hash, effective_at, recorded_by, text, standing
         from redline.facts where kind = 'rules' order by effective_at, id collate \"C\", version, content_hash",
    )
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            let (id, by, text): (&str, &str, Option<&str>) = (
                row.try_get("id")?,
                row.try_get("recorded_by")?,
                row.try_get("text")?,
            );
            let effective_at = row.try_get::<Timestamptz, _>("effective_at")?.0;
            Ok(RecordedRules {
                fact: Fact::rules(
                    id,
                    row.try_get("version")?,
                    effective_at,
                    by,
                    text.unwrap_or_default(),
                ),
                hash: content_hash(row.try_get("content_hash")?)?,
                stands: row.try_get("standing")?,
            })
        })
        .collect()
}
