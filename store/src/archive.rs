//! What was accepted, read back from the beginning: every event and fact once, in the order in which its partition was read.
//!
//! A copy is sent as it counts: a row with the least observation of all its copies, so that whoever takes it in comes to the
//! same findings. What lies below a position never changes its place, so that pages may be read one after the other without
//! a snapshot, however long that takes.

use redline_schemas::{Event, EventKind, Timestamp};
use sqlx::{PgConnection, Row};

use crate::entities::{read_key, time};
use crate::error::StoreError;
use crate::types::optional_time;

/// A partition that was read, up to where it is recorded now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ledger {
    /// The ledger's number.
    pub position_id: i32,
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// The first offset that is not recorded.
    pub end: i64,
}

/// Which of it.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only this source: the system for payouts, `orders` for orders.
    pub source: Option<String>,
    /// Only this kind.
    pub kind: Option<EventKind>,
    /// Recorded from then on.
    pub from: Option<Timestamp>,
    /// Recorded before.
    pub to: Option<Timestamp>,
}

/// An accepted event with the offset at which it was read.
#[derive(Clone, Debug)]
pub struct Archived {
    /// In its partition.
    pub offset: i64,
    /// The event or fact.
    pub event: Event,
}

/// All ledgers, also of topics that were made again since, in the order in which they were begun.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn ledgers(connection: &mut PgConnection) -> Result<Vec<Ledger>, StoreError> {
    let rows = sqlx::query(
        "select position_id, topic, partition, next_offset from redline.positions order by position_id",
    )
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Ledger {
                position_id: row.try_get("position_id")?,
                topic: row.try_get("topic")?,
                partition: row.try_get("partition")?,
                end: row.try_get("next_offset")?,
            })
        })
        .collect()
}

/// The next accepted events of a ledger from an offset on, in the order of their offsets; none are left when there are fewer
/// than asked for.
///
/// # Errors
/// When Postgres cannot be reached, or the record is damaged.
pub async fn page(
    connection: &mut PgConnection,
    ledger: &Ledger,
    selection: &Selection,
    from: i64,
    most: i64,
) -> Result<Vec<Archived>, StoreError> {
    let rows = sqlx::query(
        "select e.entity_type, e.source, e.entity_id, o.\"offset\", o.content, v.observed_at
         from redline.events o
         join redline.entities e using (entity)
         join redline.versions v on v.entity = o.entity and v.version = o.version
            and v.position_id = o.position_id and v.\"offset\" = o.\"offset\"
         where o.position_id = $1 and o.\"offset\" >= $2 and o.\"offset\" < $3
            and ($4::text is null or e.source = $4 and e.entity_type <> 'fact')
            and ($5::text is null or e.entity_type = $5)
            and ($6::timestamptz is null or o.recorded_at >= $6)
            and ($7::timestamptz is null or o.recorded_at < $7)
         order by o.\"offset\" limit $8",
    )
    .bind(ledger.position_id)
    .bind(from)
    .bind(ledger.end)
    .bind(selection.source.as_deref())
    .bind(selection.kind.map(EventKind::entity_type))
    .bind(optional_time(selection.from))
    .bind(optional_time(selection.to))
    .bind(most)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let key = read_key(row)?;
            let content: &str = row.try_get("content")?;
            let event =
                Event::from_canonical(key.kind, content, time(row, "observed_at")?).map_err(|error| {
                    StoreError::Damaged {
                        what: key.to_string(),
                        reason: error.to_string(),
                    }
                })?;
            Ok(Archived {
                offset: row.try_get("offset")?,
                event,
            })
        })
        .collect()
}
