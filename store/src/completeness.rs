//! How complete the record is: what was read of every topic, what of it belongs to a period, and what is known to be missing.

use redline_schemas::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{Connection, PgConnection, Row};

use crate::entities::time;
use crate::error::StoreError;

/// What was read of a topic, over all its partitions and incarnations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicTotals {
    /// Topic name.
    pub topic: String,
    /// Partitions.
    pub partitions: i64,
    /// Ranges of control totals.
    pub ranges: i64,
    /// Records that were read.
    pub read: i64,
    /// Those whose content is new.
    pub accepted: i64,
    /// Those whose content was accepted before.
    pub duplicate: i64,
    /// Those that could not be accepted.
    pub quarantined: i64,
}

/// Records of a period that have an amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeriodSum {
    /// Topic name.
    pub topic: String,
    /// Last day of the period, or `YYYY-MM`.
    pub period: String,
    /// ISO 4217; none where the event has none.
    pub currency: Option<String>,
    /// `accepted`, `duplicate` or `quarantined`.
    pub outcome: String,
    /// How many.
    pub records: i64,
    /// Their exact sum, as text.
    pub amount: String,
}

/// Accepted events of a period, of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceCount {
    /// `row`, `payout` or `order`.
    pub entity_type: String,
    /// The source or system.
    pub source: String,
    /// Rows, payouts or orders.
    pub entities: i64,
    /// Their versions.
    pub events: i64,
}

/// Offsets that were lost, and that somebody accepted as lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Topic name.
    pub topic: String,
    /// Partition, from 0.
    pub partition: i32,
    /// The first offset that was lost.
    pub first_offset: i64,
    /// The offset behind the last one; none where nobody can tell how much was lost.
    pub next_offset: Option<i64>,
    /// Why.
    pub reason: String,
    /// By whom it was accepted.
    pub accepted_by: String,
    /// When.
    pub accepted_at: Option<Timestamp>,
}

/// How complete the record is, as of one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completeness {
    /// What was read, by topic.
    pub topics: Vec<TopicTotals>,
    /// What belongs to the period.
    pub sums: Vec<PeriodSum>,
    /// Whose it is, as far as contents are kept.
    pub sources: Vec<SourceCount>,
    /// What was lost, of whatever period.
    pub gaps: Vec<Gap>,
    /// Quarantined records that wait, of whatever period.
    pub quarantined: i64,
    /// Partitions that are stopped.
    pub stopped: i64,
    /// Contents that retention removed, of whatever period: they are in no source's count.
    pub removed: i64,
}

impl Completeness {
    /// Whether nothing is known to be missing.
    pub fn is_complete(&self) -> bool {
        self.gaps.is_empty() && self.quarantined == 0 && self.stopped == 0
    }
}

/// Reads it for a month, `YYYY-MM`: periods of rows that end in it, payouts of it, orders placed in it.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn of_month(connection: &mut PgConnection, month: &str) -> Result<Completeness, StoreError> {
    let mut transaction = connection.begin().await?;
    crate::read_only(&mut transaction).await?;
    crate::retention::hold_off(&mut transaction).await?;
    let completeness = Completeness {
        topics: topics(&mut transaction).await?,
        sums: sums(&mut transaction, month).await?,
        sources: sources(&mut transaction, month).await?,
        gaps: gaps(&mut transaction).await?,
        quarantined: crate::health::quarantined(&mut transaction).await?,
        stopped: sqlx::query_scalar("select count(*) from redline.stopped_partitions")
            .fetch_one(&mut *transaction)
            .await?,
        removed: crate::retention::removed(&mut transaction).await?,
    };
    transaction.rollback().await?;
    Ok(completeness)
}

async fn topics(connection: &mut PgConnection) -> Result<Vec<TopicTotals>, StoreError> {
    let rows = sqlx::query(
        "select topic, count(distinct partition) as partitions, count(*) as ranges, sum(read)::bigint as read,
            sum(accepted)::bigint as accepted, sum(duplicate)::bigint as duplicate,
            sum(quarantined)::bigint as quarantined
         from redline.control_totals group by topic order by topic",
    )
    .fetch_all(connection)
    .await?;
    let read = |row: &PgRow| {
        Ok(TopicTotals {
            topic: row.try_get("topic")?,
            partitions: row.try_get("partitions")?,
            ranges: row.try_get("ranges")?,
            read: row.try_get("read")?,
            accepted: row.try_get("accepted")?,
            duplicate: row.try_get("duplicate")?,
            quarantined: row.try_get("quarantined")?,
        })
    };
    rows.iter().map(read).collect()
}

async fn sums(connection: &mut PgConnection, month: &str) -> Result<Vec<PeriodSum>, StoreError> {
    let rows = sqlx::query(
        "select topic, period, currency, outcome, sum(records)::bigint as records,
            trim_scale(sum(amount))::text as amount
         from redline.control_sums where period = $1 or starts_with(period, $1 || '-')
         group by topic, period, currency, outcome order by topic, period, currency nulls first, outcome",
    )
    .bind(month)
    .fetch_all(connection)
    .await?;
    let read = |row: &PgRow| {
        Ok(PeriodSum {
            topic: row.try_get("topic")?,
            period: row.try_get("period")?,
            currency: row.try_get("currency")?,
            outcome: row.try_get("outcome")?,
            records: row.try_get("records")?,
            amount: row.try_get("amount")?,
        })
    };
    rows.iter().map(read).collect()
}

async fn sources(connection: &mut PgConnection, month: &str) -> Result<Vec<SourceCount>, StoreError> {
    let rows = sqlx::query(
        "select n.entity_type, n.source, count(distinct v.entity) as entities, count(*) as events
         from redline.events v join redline.entities n using (entity)
         where case n.entity_type
             when 'row' then starts_with(v.content::jsonb ->> 'period_end', $1 || '-')
             when 'payout' then v.content::jsonb ->> 'period' = $1
             when 'order' then starts_with(v.content::jsonb ->> 'created_at', $1 || '-')
             else false end
         group by 1, 2 order by 1, 2",
    )
    .bind(month)
    .fetch_all(connection)
    .await?;
    let read = |row: &PgRow| {
        Ok(SourceCount {
            entity_type: row.try_get("entity_type")?,
            source: row.try_get("source")?,
            entities: row.try_get("entities")?,
            events: row.try_get("events")?,
        })
    };
    rows.iter().map(read).collect()
}

async fn gaps(connection: &mut PgConnection) -> Result<Vec<Gap>, StoreError> {
    let rows = sqlx::query(
        "select topic, partition, first_offset, next_offset, reason, accepted_by, accepted_at
         from redline.gaps order by accepted_at, topic, partition, first_offset",
    )
    .fetch_all(connection)
    .await?;
    let read = |row: &PgRow| {
        Ok(Gap {
            topic: row.try_get("topic")?,
            partition: row.try_get("partition")?,
            first_offset: row.try_get("first_offset")?,
            next_offset: row.try_get("next_offset")?,
            reason: row.try_get("reason")?,
            accepted_by: row.try_get("accepted_by")?,
            accepted_at: time(row, "accepted_at")?,
        })
    };
    rows.iter().map(read).collect()
}
