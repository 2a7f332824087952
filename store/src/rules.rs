//! The first rules, which no topic brings.

use redline_schemas::fact::Fact;
use redline_schemas::{ContentHash, Timestamp};
use sqlx::{PgConnection, PgPool};

use crate::error::StoreError;
use crate::types::{Timestamptz, content_hash};

/// The id of the fact by which `migrate` records the first rules.
const FIRST_RULES: &str = "initial";

/// Records a rule file as the first rules, effective from the beginning of time, unless rules are recorded
/// already. Answers whether it was recorded.
///
/// # Errors
/// When the file cannot be used, or Postgres cannot be reached.
pub async fn record_first(pool: &PgPool, text: &str) -> Result<bool, StoreError> {
    let fact = Fact::rules(FIRST_RULES, 0, Timestamp::FIRST, "redline migrate", text);
    let content = fact.canonical();
    let recorded = sqlx::query(
        "insert into redline.facts (kind, id, version, content_hash, effective_at, recorded_by, content, text)
         select 'rules', $1, 0, $2, $3, $4, $5, $6
         where not exists (select from redline.facts where kind = 'rules') on conflict do nothing",
    )
    .bind(&fact.id)
    .bind(&ContentHash::of(content.as_bytes()).0[..])
    .bind(Timestamptz(fact.effective_at))
    .bind(&fact.recorded_by)
    .bind(&content)
    .bind(text)
    .execute(pool)
    .await?;
    Ok(recorded.rows_affected() > 0)
}

/// The hash of the first rules, which `migrate` recorded and no topic brings; none where there are none.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn first(connection: &mut PgConnection) -> Result<Option<ContentHash>, StoreError> {
    let hash: Option<Vec<u8>> =
        sqlx::query_scalar("select content_hash from redline.facts where kind = 'rules' and id = $1")
            .bind(FIRST_RULES)
            .fetch_optional(connection)
            .await?;
    Ok(hash.as_deref().map(content_hash).transpose()?)
}
