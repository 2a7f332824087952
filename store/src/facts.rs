//! Facts: what detection judges under, and the fence that keeps findings from being recorded under older facts.
//!
//! Whoever records findings takes the lock shared and compares the generation; whoever records facts takes it
//! exclusively and raises the generation. So a finding that was judged before a fact is never committed after it.

use std::collections::HashMap;

use redline_domain::approval::{Approval, Made};
use redline_schemas::fact::Fact;
use redline_schemas::{ContentHash, EntityKey, Event, EventKind, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use crate::error::StoreError;
use crate::types::{Timestamptz, content_hash};

/// "facts" in ASCII.
const LOCK: i64 = 0x66_6163_7473;

/// What was recorded after a generation.
#[derive(Debug, Default)]
pub struct News {
    /// The generation now.
    pub generation: i64,
    /// Rules, closed periods and reference rows, with the hashes of their contents.
    pub wide: Vec<(Fact, ContentHash)>,
    /// Rows that an approval is or was about.
    pub approved: Vec<EntityKey>,
}

/// A fact that is recorded for the first time.
#[derive(Clone, Debug)]
pub struct NewFact {
    /// The fact.
    pub fact: Fact,
    /// Hash of its canonical form.
    pub hash: ContentHash,
    /// Its canonical form.
    pub content: String,
}

/// Holds facts as they are until the transaction ends; others may do so too.
///
/// # Errors
/// When Postgres cannot be reached, or the lock is not to be had in time.
pub async fn hold(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("select pg_advisory_xact_lock_shared($1)")
        .bind(LOCK)
        .execute(connection)
        .await?;
    Ok(())
}

/// Waits until nobody holds facts any more, and keeps everybody off until the transaction ends.
///
/// # Errors
/// When Postgres cannot be reached, or the lock is not to be had in time.
pub async fn hold_alone(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("select pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(connection)
        .await?;
    Ok(())
}

/// What was recorded after a generation; everything after generation 0.
///
/// # Errors
/// When Postgres cannot be reached, or the record is damaged.
pub async fn since(connection: &mut PgConnection, generation: i64) -> Result<News, StoreError> {
    let now: i64 = sqlx::query_scalar("select generation from redline.knowledge")
        .fetch_one(&mut *connection)
        .await?;
    if now == generation {
        return Ok(News {
            generation,
            ..News::default()
        });
    }
    let wide = sqlx::query(
        "select kind, id, content, content_hash from redline.facts
         where generation > $1 and generation <= $2 and kind in ('rules', 'period', 'reference')
         order by kind, id, version, content_hash",
    )
    .bind(generation)
    .bind(now)
    .fetch_all(&mut *connection)
    .await?;
    let approved = sqlx::query(
        "select distinct source, row_id from redline.facts
         where kind = 'approval' and id in (select id from redline.facts
            where generation > $1 and generation <= $2 and kind = 'approval')",
    )
    .bind(generation)
    .bind(now)
    .fetch_all(connection)
    .await?;
    Ok(News {
        generation: now,
        wide: wide.iter().map(read_fact).collect::<Result<_, _>>()?,
        approved: approved.iter().map(read_row_key).collect::<Result<_, _>>()?,
    })
}

fn read_fact(row: &PgRow) -> Result<(Fact, ContentHash), StoreError> {
    let damaged = |reason: String| -> Result<StoreError, sqlx::Error> {
        let (kind, id): (&str, &str) = (row.try_get("kind")?, row.try_get("id")?);
        Ok(StoreError::Damaged {
            what: format!("the fact {kind}/{id}"),
            reason,
        })
    };
    match Event::from_canonical(EventKind::Fact, row.try_get("content")?, None) {
        Ok(Event::Fact(fact)) => Ok((*fact, content_hash(row.try_get("content_hash")?)?)),
        Ok(_) => Err(damaged("it is an event".to_owned())?),
        Err(error) => Err(damaged(error.to_string())?),
    }
}

fn read_row_key(row: &PgRow) -> Result<EntityKey, StoreError> {
    Ok(EntityKey {
        kind: EventKind::Row,
        source: row.try_get("source")?,
        entity_id: row.try_get("row_id")?,
    })
}

/// Since when the rules of today are in force; none when no rules were ever recorded.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn rules_in_force_since(connection: &mut PgConnection) -> Result<Option<Timestamp>, StoreError> {
    let since: Option<Timestamptz> = sqlx::query_scalar(
        "select max(effective_at) from redline.facts where kind = 'rules' and standing and effective_at <= now()",
    )
    .fetch_one(connection)
    .await?;
    Ok(since.map(|since| since.0))
}

/// The standing approvals of rows, in the order of their ids; rows without any are absent.
///
/// # Errors
/// When Postgres cannot be reached, or the record is damaged.
pub async fn approvals(
    connection: &mut PgConnection,
    rows: &[&EntityKey],
) -> Result<HashMap<EntityKey, Vec<Approval>>, StoreError> {
    let mut approvals: HashMap<EntityKey, Vec<Approval>> = HashMap::new();
    if rows.is_empty() {
        return Ok(approvals);
    }
    let found = sqlx::query(
        "select f.kind, f.id, f.source, f.row_id, f.content, f.content_hash
         from unnest($1::text[], $2::text[]) k (source, row_id)
         join redline.facts f on f.kind = 'approval' and f.standing and f.source = k.source and f.row_id = k.row_id
         order by f.id",
    )
    .bind(rows.iter().map(|key| key.source.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|key| key.entity_id.as_str()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    for row in &found {
        let (fact, _) = read_fact(row)?;
        if let Some(approval) = Approval::of(&fact) {
            approvals.entry(read_row_key(row)?).or_default().push(approval);
        }
    }
    Ok(approvals)
}

/// A standing approval with what may have taken it.
pub struct RecordedApproval {
    /// The approval.
    pub approval: Approval,
    /// When its fact was recorded, by the clock of Postgres: later than the change, for one that was said afterwards.
    pub recorded_at: Timestamp,
    /// The recorded changes of its column in its row.
    pub made: Vec<Made>,
}

/// The next standing approvals behind an id, in the order of their ids, each with the recorded changes that it may be about.
///
/// # Errors
/// When Postgres cannot be reached, or the record is damaged.
pub async fn approvals_after(
    connection: &mut PgConnection,
    source: Option<&str>,
    after: &str,
) -> Result<Vec<RecordedApproval>, StoreError> {
    const AT_ONCE: i64 = 500;
    let rows = sqlx::query(
        "select kind, id, content, content_hash, recorded_at from redline.facts
         where kind = 'approval' and standing and id > $1 and ($2::text is null or source = $2)
         order by id limit $3",
    )
    .bind(after)
    .bind(source)
    .bind(AT_ONCE)
    .fetch_all(&mut *connection)
    .await?;
    let mut approvals: Vec<RecordedApproval> = Vec::with_capacity(rows.len());
    for row in &rows {
        let (fact, _) = read_fact(row)?;
        if let Some(approval) = Approval::of(&fact) {
            approvals.push(RecordedApproval {
                approval,
                recorded_at: row.try_get::<Timestamptz, _>("recorded_at")?.0,
                made: Vec::new(),
            });
        }
    }
    let made = sqlx::query(
        "select k.ordinality, c.version, c.after, c.impact::text as impact, c.editor, c.modified_at, c.approval
         from unnest($1::text[], $2::text[], $3::text[]) with ordinality k (source, row_id, column_name, ordinality)
         join redline.entities e on e.entity_type = 'row' and e.source = k.source and e.entity_id = k.row_id
         join redline.changes c on c.entity = e.entity and c.column_name = k.column_name
         order by k.ordinality, c.modified_at, c.version",
    )
    .bind(approvals.iter().map(|recorded| recorded.approval.source.as_str()).collect::<Vec<_>>())
    .bind(approvals.iter().map(|recorded| recorded.approval.row_id.as_str()).collect::<Vec<_>>())
    .bind(approvals.iter().map(|recorded| recorded.approval.column.as_str()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    for row in &made {
        let index = usize::try_from(row.try_get::<i64, _>("ordinality")? - 1).unwrap_or(usize::MAX);
        if let Some(recorded) = approvals.get_mut(index) {
            recorded.made.push(read_made(row)?);
        }
    }
    Ok(approvals)
}

fn read_made(row: &PgRow) -> Result<Made, StoreError> {
    let impact = row.try_get::<Option<&str>, _>("impact")?;
    Ok(Made {
        version: row.try_get("version")?,
        after: row.try_get("after")?,
        impact: impact.and_then(|text| text.parse().ok()),
        editor: row.try_get("editor")?,
        modified_at: row.try_get::<Timestamptz, _>("modified_at")?.0,
        approval: row.try_get("approval")?,
    })
}

/// Records facts under the generation after this one. The caller holds facts alone.
///
/// # Errors
/// When Postgres cannot be reached.
pub(crate) async fn record(
    connection: &mut PgConnection,
    facts: &[NewFact],
    generation: i64,
    recorded_at: Timestamptz,
) -> Result<(), StoreError> {
    sqlx::query("update redline.knowledge set generation = $1")
        .bind(generation + 1)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "insert into redline.facts (kind, id, version, content_hash, effective_at, recorded_by, content, text,
            recorded_at, generation, source, row_id)
         select kind, id, version, content_hash, effective_at, recorded_by, content, text, $11, $12, source, row_id
         from unnest($1::text[], $2::text[], $3::bigint[], $4::bytea[], $5::timestamptz[], $6::text[], $7::text[],
            $8::text[], $9::text[], $10::text[])
            u (kind, id, version, content_hash, effective_at, recorded_by, content, text, source, row_id)
         on conflict do nothing",
    )
    .bind(facts.iter().map(|new| new.fact.kind.as_str()).collect::<Vec<_>>())
    .bind(facts.iter().map(|new| new.fact.id.as_str()).collect::<Vec<_>>())
    .bind(facts.iter().map(|new| new.fact.version).collect::<Vec<_>>())
    .bind(facts.iter().map(|new| new.hash.0.to_vec()).collect::<Vec<_>>())
    .bind(facts.iter().map(|new| Timestamptz(new.fact.effective_at)).collect::<Vec<_>>())
    .bind(facts.iter().map(|new| new.fact.recorded_by.as_str()).collect::<Vec<_>>())
    .bind(facts.iter().map(|new| new.content.as_str()).collect::<Vec<_>>())
    .bind(facts.iter().map(|new| new.fact.text.as_deref()).collect::<Vec<_>>())
    .bind(facts.iter().map(|new| new.fact.source.as_deref()).collect::<Vec<_>>())
    .bind(facts.iter().map(|new| new.fact.row_id.as_deref()).collect::<Vec<_>>())
    .bind(recorded_at)
    .bind(generation + 1)
    .execute(&mut *connection)
    .await?;
    // Most ids are new, with one version that stands already. The others are looked up one by one, whatever the planner
    // knows of a table that was just filled.
    sqlx::query(
        "update redline.facts f set standing = all_of.standing
         from (select distinct kind, id from unnest($1::text[], $2::text[]) u (kind, id)) new,
            lateral (select g.kind, g.id, g.version, g.content_hash, row_number() over
                    (order by g.version desc, g.content_hash desc) = 1 as standing
                from redline.facts g where g.kind = new.kind and g.id = new.id offset 0) all_of
         where f.kind = all_of.kind and f.id = all_of.id and f.version = all_of.version
            and f.content_hash = all_of.content_hash and f.standing <> all_of.standing",
    )
    .bind(facts.iter().map(|new| new.fact.kind.as_str()).collect::<Vec<_>>())
    .bind(facts.iter().map(|new| new.fact.id.as_str()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
