//! Rule sets: facts of kind `rules`, and the book of those in force.

use std::sync::Arc;

use redline_domain::rules::{RuleBook, RuleSet};
use redline_schemas::fact::Fact;
use redline_schemas::{ContentHash, Timestamp};
use sqlx::{PgConnection, PgPool, Row};

use crate::error::StoreError;
use crate::types::Timestamptz;

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

/// The rule sets in force: of each id the highest version, of contents at one version the greatest hash.
///
/// # Errors
/// When Postgres cannot be reached, or a recorded rule file cannot be read.
pub async fn load_book(connection: &mut PgConnection) -> Result<RuleBook, StoreError> {
    let rows = sqlx::query(
        "select distinct on (id) id, effective_at, text from redline.facts where kind = 'rules'
         order by id, version desc, content_hash desc",
    )
    .fetch_all(connection)
    .await?;
    let sets = rows
        .iter()
        .map(|row| {
            let id: String = row.try_get("id")?;
            let text: &str = row.try_get("text")?;
            let set = RuleSet::parse(text).map_err(|error| StoreError::Damaged {
                what: format!("rules {id}"),
                reason: error.to_string(),
            })?;
            Ok((
                row.try_get::<Timestamptz, _>("effective_at")?.0,
                id,
                Arc::new(set),
            ))
        })
        .collect::<Result<_, StoreError>>()?;
    Ok(RuleBook::new(sets))
}
