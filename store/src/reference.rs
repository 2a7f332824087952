//! Reference rows as they are recorded, for those who load and list them.

use redline_schemas::fact::Fact;
use redline_schemas::{Event, EventKind};
use sqlx::{PgPool, Row};

use crate::error::StoreError;

/// The facts about reference rows that stand, ordered by id; of one table or of all.
///
/// # Errors
/// When Postgres cannot be reached, or the record is damaged.
pub async fn standing(pool: &PgPool, table: Option<&str>) -> Result<Vec<Fact>, StoreError> {
    let rows = sqlx::query(
        "select id, content from redline.facts
         where kind = 'reference' and standing and ($1::text is null or content::jsonb ->> 'table' = $1)
         order by id",
    )
    .bind(table)
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            let damaged = |id: &str, reason: String| StoreError::Damaged {
                what: format!("the fact reference/{id}"),
                reason,
            };
            let id: &str = row.try_get("id")?;
            match Event::from_canonical(EventKind::Fact, row.try_get("content")?, None) {
                Ok(Event::Fact(fact)) => Ok(*fact),
                Ok(_) => Err(damaged(id, "it is an event".to_owned())),
                Err(error) => Err(damaged(id, error.to_string())),
            }
        })
        .collect()
}
