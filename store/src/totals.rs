//! Whether the control totals agree with themselves and with the tables. Reads everything once, as of one instant, in pieces.

use std::collections::VecDeque;

use redline_schemas::ContentHash;
use sqlx::postgres::PgRow;
use sqlx::{Connection, PgConnection, Postgres, Row, Transaction};

use crate::error::StoreError;
use crate::record::Outcome;

/// Bytes of a record's entry: offset, outcome, hash.
const ENTRY: usize = 8 + 1 + 32;
/// Rows that are fetched at once; of ranges fewer, each of which has an entry for every record of a batch.
const ROWS: usize = 10_000;
const RANGES: i64 = 50;

/// A ledger: a partition of one incarnation of its topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// The ledger's number.
    pub position_id: i32,
    /// Topic name.
    pub topic: String,
    /// Topic id.
    pub topic_id: String,
    /// Partition, from 0.
    pub partition: i32,
    /// Where recording goes on, or ended.
    pub next_offset: i64,
    /// Whether it is the one that is recorded now.
    pub is_live: bool,
}

/// What became of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its offset.
    pub offset: i64,
    /// What became of it.
    pub outcome: Outcome,
    /// Hash of its content; of its raw value where it could not be read.
    pub hash: ContentHash,
}

/// A range of offsets with the entry of each of its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRange {
    /// The first offset.
    pub first: i64,
    /// The offset behind the last one.
    pub next: i64,
    /// Its records.
    pub entries: Vec<Entry>,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Ledgers.
    pub ledgers: u64,
    /// Ranges.
    pub ranges: u64,
    /// Records by outcome.
    pub accepted: u64,
    /// Records by outcome.
    pub duplicate: u64,
    /// Records by outcome.
    pub quarantined: u64,
    /// Accepted ones whose contents retention has removed.
    pub removed: u64,
}

impl Counted {
    /// Records of all outcomes.
    pub fn records(&self) -> u64 {
        self.accepted + self.duplicate + self.quarantined
    }
}

/// Why the totals cannot be relied on, or could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum TotalsError {
    /// The first place where two things disagree.
    #[error("{0}")]
    Disagreement(String),
    /// Postgres.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for TotalsError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

fn disagree<T>(sentence: String) -> Result<T, TotalsError> {
    Err(TotalsError::Disagreement(sentence))
}

/// The record as of one instant.
pub struct Snapshot<'c> {
    transaction: Transaction<'c, Postgres>,
}

impl<'c> Snapshot<'c> {
    /// Begins to look.
    ///
    /// # Errors
    /// When Postgres cannot be reached.
    pub async fn begin(connection: &'c mut PgConnection) -> Result<Self, StoreError> {
        let mut transaction = connection.begin().await?;
        crate::read_only(&mut transaction).await?;
        crate::retention::hold_off(&mut transaction).await?;
        Ok(Self { transaction })
    }

    /// All ledgers, in the order of their numbers.
    ///
    /// # Errors
    /// When Postgres cannot be reached.
    pub async fn ledgers(&mut self) -> Result<Vec<Ledger>, StoreError> {
        let rows = sqlx::query(
            "select position_id, topic, topic_id, partition, next_offset, superseded_at is null as is_live
             from redline.positions order by position_id",
        )
        .fetch_all(&mut *self.transaction)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Ledger {
                    position_id: row.try_get("position_id")?,
                    topic: row.try_get("topic")?,
                    topic_id: row.try_get("topic_id")?,
                    partition: row.try_get("partition")?,
                    next_offset: row.try_get("next_offset")?,
                    is_live: row.try_get("is_live")?,
                })
            })
            .collect()
    }

    /// Some ranges of a ledger that end behind an offset, in order, each checked by itself.
    ///
    /// # Errors
    /// A range that disagrees with its entries; or when Postgres cannot be reached.
    pub async fn ranges(&mut self, ledger: &Ledger, behind: i64) -> Result<Vec<StoredRange>, TotalsError> {
        let rows = sqlx::query(
            "select first_offset, next_offset, read, accepted, duplicate, quarantined, records
             from redline.control_totals where position_id = $1 and next_offset > $2
             order by first_offset limit $3",
        )
        .bind(ledger.position_id)
        .bind(behind)
        .bind(RANGES)
        .fetch_all(&mut *self.transaction)
        .await?;
        rows.iter().map(|row| range(ledger, row)).collect()
    }

    /// Checks all totals against themselves and the tables; tells of each step how many records were looked at so far.
    ///
    /// # Errors
    /// The first disagreement; or when Postgres cannot be reached.
    pub async fn check(&mut self, mut progress: impl FnMut(u64)) -> Result<Counted, TotalsError> {
        let mut accepted = Stream::open(&mut self.transaction, Table::Versions).await?;
        let mut quarantined = Stream::open(&mut self.transaction, Table::Quarantine).await?;
        let mut counted = Counted::default();
        for ledger in self.ledgers().await? {
            counted.ledgers += 1;
            let mut end: Option<i64> = None;
            loop {
                let ranges = self.ranges(&ledger, end.unwrap_or(-1)).await?;
                if ranges.is_empty() {
                    break;
                }
                for range in ranges {
                    counted.ranges += 1;
                    if end.is_some_and(|end| end != range.first) {
                        return disagree(format!(
                            "{}: control totals end at offset {} and go on at {}",
                            ledger.named(),
                            end.unwrap_or_default(),
                            range.first
                        ));
                    }
                    end = Some(range.next);
                    for entry in &range.entries {
                        let (stream, count) = match entry.outcome {
                            Outcome::Accepted => (Some(&mut accepted), &mut counted.accepted),
                            Outcome::Quarantined => (Some(&mut quarantined), &mut counted.quarantined),
                            Outcome::Duplicate => (None, &mut counted.duplicate),
                        };
                        *count += 1;
                        if let Some(stream) = stream {
                            stream.expect(&mut self.transaction, &ledger, entry).await?;
                        }
                    }
                    progress(counted.records());
                }
            }
            if end.is_some_and(|end| end != ledger.next_offset) {
                return disagree(format!(
                    "{}: control totals end at offset {}, and the position stands at {}",
                    ledger.named(),
                    end.unwrap_or_default(),
                    ledger.next_offset
                ));
            }
        }
        accepted.expect_end(&mut self.transaction).await?;
        quarantined.expect_end(&mut self.transaction).await?;
        self.check_sums().await?;
        self.check_contents(&mut counted).await?;
        Ok(counted)
    }

    /// Every accepted content is there, but for those that retention removed.
    async fn check_contents(&mut self, counted: &mut Counted) -> Result<(), TotalsError> {
        let held: i64 = sqlx::query_scalar("select count(*) from redline.events")
            .fetch_one(&mut *self.transaction)
            .await?;
        let removed = crate::retention::removed(&mut self.transaction).await?;
        let (held, removed) = (held.unsigned_abs(), removed.unsigned_abs());
        if held + removed != counted.accepted {
            return disagree(format!(
                "{} records were accepted, redline.events has {held} contents, and retention removed {removed}",
                counted.accepted
            ));
        }
        counted.removed = removed;
        Ok(())
    }

    /// Sums belong to a range, and are of no more records than it has.
    async fn check_sums(&mut self) -> Result<(), TotalsError> {
        let row = sqlx::query(
            "select s.topic, s.partition, s.first_offset, s.outcome
             from (select position_id, topic, partition, first_offset, next_offset, outcome, sum(records) as records
                 from redline.control_sums group by 1, 2, 3, 4, 5, 6) s
             left join redline.control_totals t using (position_id, first_offset, next_offset)
             where s.records > coalesce(case s.outcome when 'accepted' then t.accepted
                 when 'duplicate' then t.duplicate when 'quarantined' then t.quarantined end, 0)
             order by 1, 2, 3, 4 limit 1",
        )
        .fetch_optional(&mut *self.transaction)
        .await?;
        let Some(row) = row else { return Ok(()) };
        let (topic, outcome): (String, String) = (row.try_get("topic")?, row.try_get("outcome")?);
        let (partition, first): (i32, i64) = (row.try_get("partition")?, row.try_get("first_offset")?);
        disagree(format!(
            "partition {partition} of {topic}, from offset {first}: the sums are of more {outcome} records than its totals"
        ))
    }
}

impl Ledger {
    /// As a person is told.
    pub fn named(&self) -> String {
        let Self { topic, partition, .. } = self;
        match self.is_live {
            true => format!("partition {partition} of {topic}"),
            false => format!(
                "partition {partition} of {topic} (superseded, topic id {})",
                self.topic_id
            ),
        }
    }
}

fn range(ledger: &Ledger, row: &PgRow) -> Result<StoredRange, TotalsError> {
    let (first, next): (i64, i64) = (row.try_get("first_offset")?, row.try_get("next_offset")?);
    let place = || format!("{}, from offset {first}", ledger.named());
    let records: &[u8] = row.try_get("records")?;
    let entries: Option<Vec<Entry>> = records.chunks(ENTRY).map(entry).collect();
    let Some(entries) = entries else {
        return disagree(format!(
            "{}: the entries of the control totals are damaged",
            place()
        ));
    };
    let is_in_order = entries.is_sorted_by(|one, other| one.offset < other.offset);
    if !is_in_order || entries.iter().any(|entry| !(first..next).contains(&entry.offset)) {
        return disagree(format!(
            "{}: the entries of the control totals are not the offsets {first} to {next} in order",
            place()
        ));
    }
    let count = |outcome| {
        let matching = entries.iter().filter(|entry| entry.outcome == outcome).count();
        i64::try_from(matching).unwrap_or(i64::MAX)
    };
    for (outcome, entered) in [
        (Outcome::Accepted, count(Outcome::Accepted)),
        (Outcome::Duplicate, count(Outcome::Duplicate)),
        (Outcome::Quarantined, count(Outcome::Quarantined)),
    ] {
        let total: i64 = row.try_get(outcome.word())?;
        if total != entered {
            return disagree(format!(
                "{}: the control totals say {total} {}, and their entries {entered}",
                place(),
                outcome.word()
            ));
        }
    }
    Ok(StoredRange { first, next, entries })
}

fn entry(bytes: &[u8]) -> Option<Entry> {
    let (offset, rest) = bytes.split_first_chunk::<8>()?;
    let (outcome, hash) = rest.split_first()?;
    let outcome = [Outcome::Accepted, Outcome::Duplicate, Outcome::Quarantined]
        .into_iter()
        .find(|known| *known as u8 == *outcome)?;
    Some(Entry {
        offset: i64::from_be_bytes(*offset),
        outcome,
        hash: ContentHash(hash.try_into().ok()?),
    })
}

/// A table that has a row for each record of one outcome.
#[derive(Clone, Copy)]
enum Table {
    Versions,
    Quarantine,
}

impl Table {
    fn cursor(self) -> (&'static str, &'static str) {
        match self {
            Self::Versions => (
                "declare versions_by_place no scroll cursor for
                 select position_id, \"offset\", content_hash as hash from redline.versions order by 1, 2",
                "fetch 10000 from versions_by_place",
            ),
            Self::Quarantine => (
                "declare quarantine_by_place no scroll cursor for
                 select position_id, \"offset\", sha256(coalesce(value, '')) as hash
                 from redline.quarantine join redline.positions using (topic, incarnation, partition) order by 1, 2",
                "fetch 10000 from quarantine_by_place",
            ),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Versions => "redline.versions",
            Self::Quarantine => "redline.quarantine",
        }
    }
}

/// Its rows, by ledger and offset.
struct Stream {
    table: Table,
    rows: VecDeque<(i32, i64, ContentHash)>,
    is_over: bool,
}

impl Stream {
    async fn open(connection: &mut PgConnection, table: Table) -> Result<Self, StoreError> {
        sqlx::query(table.cursor().0).execute(connection).await?;
        Ok(Self {
            table,
            rows: VecDeque::new(),
            is_over: false,
        })
    }

    async fn next(
        &mut self,
        connection: &mut PgConnection,
    ) -> Result<Option<(i32, i64, ContentHash)>, StoreError> {
        if self.rows.is_empty() && !self.is_over {
            let fetched = sqlx::query(self.table.cursor().1).fetch_all(connection).await?;
            self.is_over = fetched.len() < ROWS;
            for row in &fetched {
                let hash: [u8; 32] = row.try_get("hash")?;
                let place = (
                    row.try_get("position_id")?,
                    row.try_get("offset")?,
                    ContentHash(hash),
                );
                self.rows.push_back(place);
            }
        }
        Ok(self.rows.pop_front())
    }

    /// The next row is that of an entry.
    async fn expect(
        &mut self,
        connection: &mut PgConnection,
        ledger: &Ledger,
        entry: &Entry,
    ) -> Result<(), TotalsError> {
        let table = self.table.name();
        let (place, word) = (ledger.named(), entry.outcome.word());
        match self.next(connection).await? {
            Some((position_id, offset, hash))
                if (position_id, offset) == (ledger.position_id, entry.offset) =>
            {
                match hash == entry.hash {
                    true => Ok(()),
                    false => disagree(format!(
                        "{place}, offset {offset}: {table} has another content than was {word}"
                    )),
                }
            }
            Some((position_id, offset, _)) if (position_id, offset) < (ledger.position_id, entry.offset) => {
                disagree(format!(
                    "{table} has a row for offset {offset} of the ledger {position_id}, which was not {word}"
                ))
            }
            _ => disagree(format!(
                "{place}, offset {}: it was {word}, and {table} does not have it",
                entry.offset
            )),
        }
    }

    async fn expect_end(&mut self, connection: &mut PgConnection) -> Result<(), TotalsError> {
        match self.next(connection).await? {
            None => Ok(()),
            Some((position_id, offset, _)) => disagree(format!(
                "{} has a row for offset {offset} of the ledger {position_id}, which no control total has",
                self.table.name()
            )),
        }
    }
}
