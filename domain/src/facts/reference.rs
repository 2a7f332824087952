//! Reference tables: rows of keys and values, each valid for a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use redline_schemas::fact::Fact;
use redline_schemas::{ColumnValue, ContentHash, FieldError, Timestamp};

use super::Said;
use super::check::needed;
use super::shards::Shards;
use crate::editors::matches;

/// All reference tables.
#[derive(Clone, Debug, Default)]
pub(super) struct Reference {
    standing: Shards<Said<Arc<Row>>>,
    tables: Arc<BTreeMap<String, Table>>,
}

/// What a fact says of one key of one table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Row {
    /// The id of the fact.
    pub(super) id: String,
    pub(super) table: String,
    key: String,
    effective_at: Timestamp,
    valid_from: Option<Timestamp>,
    valid_until: Option<Timestamp>,
    pub(super) values: BTreeMap<String, ColumnValue>,
}

/// One table.
#[derive(Clone, Debug, Default)]
struct Table {
    /// Everything that is said of each key.
    rows: Shards<Vec<Arc<Row>>>,
    /// Keys with a `*`, which stand for many editors.
    patterns: Arc<BTreeSet<String>>,
}

/// What a fact replaced, and by what.
pub(super) struct Replaced {
    pub(super) old: Option<Arc<Row>>,
    pub(super) new: Arc<Row>,
}

impl Reference {
    /// Takes a row in; nothing when what stands stays, or says the same.
    pub(super) fn take(&mut self, fact: &Fact, hash: ContentHash) -> Result<Option<Replaced>, FieldError> {
        let known = self.standing.get(&fact.id);
        if known.is_some_and(|known| !known.gives_way_to(fact, hash)) {
            return Ok(None);
        }
        let new = Arc::new(Row::of(fact)?);
        let said = Said {
            version: fact.version,
            hash,
            content: Arc::clone(&new),
        };
        let old = self
            .standing
            .shard_mut(&fact.id)
            .insert(fact.id.clone(), said)
            .map(|said| said.content);
        if old.as_ref() == Some(&new) {
            return Ok(None);
        }
        let tables = Arc::make_mut(&mut self.tables);
        if let Some(old) = &old
            && let Some(table) = tables.get_mut(&old.table)
        {
            table.remove(old);
        }
        tables
            .entry(new.table.clone())
            .or_default()
            .insert(Arc::clone(&new));
        Ok(Some(Replaced { old, new }))
    }

    /// The row of a key that counts at an instant.
    pub(super) fn row(&self, table: &str, key: &str, time: Timestamp) -> Option<&Row> {
        let rows = self.tables.get(table)?.rows.get(key)?;
        counting(rows, time)
    }

    /// Whether an editor is one of the keys of a table at an instant; a `*` in a key stands for any text.
    pub(super) fn allows(&self, table: &str, editor: &str, time: Timestamp) -> bool {
        let Some(table) = self.tables.get(table) else {
            return false;
        };
        let is_valid = |rows: &Vec<Arc<Row>>| counting(rows, time).is_some();
        table.rows.alike(editor).any(is_valid)
            || table
                .patterns
                .iter()
                .any(|pattern| matches(pattern, editor) && table.rows.get(pattern).is_some_and(is_valid))
    }
}

/// Of the rows about one key that are effective and valid at an instant the greatest by (`effective_at`, id).
fn counting(rows: &[Arc<Row>], time: Timestamp) -> Option<&Row> {
    rows.iter()
        .filter(|row| row.counts_at(time))
        .max_by(|a, b| (a.effective_at, &a.id).cmp(&(b.effective_at, &b.id)))
        .map(Arc::as_ref)
}

impl Row {
    fn of(fact: &Fact) -> Result<Self, FieldError> {
        Ok(Self {
            id: fact.id.clone(),
            table: needed("table", fact.table.as_deref())?.to_owned(),
            key: needed("key", fact.key.as_deref())?.to_owned(),
            effective_at: fact.effective_at,
            valid_from: fact.valid_from,
            valid_until: fact.valid_until,
            values: fact.values.clone().unwrap_or_default(),
        })
    }

    fn counts_at(&self, time: Timestamp) -> bool {
        self.counts_from() <= time && self.valid_until.is_none_or(|until| time < until)
    }

    /// The first instant at which it may count.
    pub(super) fn counts_from(&self) -> Timestamp {
        self.valid_from
            .map_or(self.effective_at, |from| from.max(self.effective_at))
    }
}

impl Table {
    fn insert(&mut self, row: Arc<Row>) {
        if row.key.contains('*') {
            Arc::make_mut(&mut self.patterns).insert(row.key.clone());
        }
        self.rows
            .shard_mut(&row.key)
            .entry(row.key.clone())
            .or_default()
            .push(row);
    }

    fn remove(&mut self, row: &Row) {
        let shard = self.rows.shard_mut(&row.key);
        let Some(rows) = shard.get_mut(&row.key) else {
            return;
        };
        rows.retain(|other| other.id != row.id);
        if rows.is_empty() {
            shard.remove(&row.key);
            if row.key.contains('*') {
                Arc::make_mut(&mut self.patterns).remove(&row.key);
            }
        }
    }
}
