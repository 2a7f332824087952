//! `redline reference load`: rows of a CSV file become facts of kind `reference`.
//!
//! A file is taken whole or refused whole, before anything is sent: what is wrong is named with its line, its column and a
//! remedy. A row that is recorded already is not sent again; one that differs is sent as the next version of its fact.

mod cells;
mod overlaps;
mod table;

use std::collections::HashMap;

use redline_domain::facts;
use redline_schemas::fact::Fact;
use redline_schemas::{ContentHash, FieldError, Timestamp};
use serde::Serialize;

pub use self::table::{Row, Table, read};
use crate::window::{LineError, MAX_ERRORS};

/// Longest name of a table, so that the id of a row always fits.
const MAX_TABLE: usize = 100;
/// Longest id of a fact, in characters.
const MAX_ID: usize = 200;
/// What an id says of a row that is valid from the beginning of time.
const BEGINNING: &str = "1900";

/// What is wrong with a file.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Refusals {
    /// All that was found.
    pub refused: u64,
    /// The first of it by line, at most 1,000.
    pub errors: Vec<LineError>,
}

impl Refusals {
    fn add(&mut self, line: u64, field: impl Into<String>, reason: impl Into<String>) {
        self.refused += 1;
        if self.errors.len() < MAX_ERRORS {
            let (field, reason) = (field.into(), reason.into());
            self.errors.push(LineError { line, field, reason });
        }
    }

    fn of(line: u64, field: impl Into<String>, reason: impl Into<String>) -> Self {
        let mut refusals = Self::default();
        refusals.add(line, field, reason);
        refusals
    }

    /// The value, when nothing was refused.
    fn or<T>(mut self, value: T) -> Result<T, Self> {
        if self.refused == 0 {
            return Ok(value);
        }
        self.errors.sort_by_key(|error| error.line);
        Err(self)
    }
}

/// What a file comes to, beside what is recorded.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// Rows that are not recorded yet.
    pub new: u64,
    /// Rows that are recorded with another content.
    pub changed: u64,
    /// Rows that are recorded as they are; they are not sent.
    pub unchanged: u64,
    /// What is to be sent, with the lines.
    pub facts: Vec<(u64, Fact)>,
}

/// Checks the name of a table.
///
/// # Errors
/// What is wrong with it.
pub fn check_table(table: &str) -> Result<(), String> {
    let fits = (1..=MAX_TABLE).contains(&table.chars().count()) && !table.chars().any(char::is_control);
    if fits && !table.contains('/') {
        return Ok(());
    }
    Err(format!(
        "a table's name has 1 to {MAX_TABLE} characters, no control characters and no `/`"
    ))
}

/// Finds out which rows are new or changed. `recorded` are the facts about the table that stand.
///
/// # Errors
/// Rows that break the contract, are there twice, or are valid at the same time as another row of the same key.
pub fn plan(table: &str, rows: &[Row], recorded: &[Fact], recorded_by: &str) -> Result<Plan, Refusals> {
    let mut refusals = Refusals::default();
    let standing: HashMap<&str, &Fact> = recorded.iter().map(|fact| (fact.id.as_str(), fact)).collect();
    let mut lines: HashMap<String, u64> = HashMap::with_capacity(rows.len());
    let mut plan = Plan::default();
    let mut kept = Vec::with_capacity(rows.len());
    for row in rows {
        let mut fact = fact_of(table, row, recorded_by);
        if let Some(first) = lines.get(&fact.id) {
            let reason = format!("and `valid_from` are those of line {first}; remove one of the two lines");
            refusals.add(row.line, "key", reason);
            continue;
        }
        lines.insert(fact.id.clone(), row.line);
        if let Err(error) = facts::check(&fact) {
            let (field, reason) = in_words_of_the_file(error);
            refusals.add(row.line, field, reason);
            continue;
        }
        kept.push(row);
        match standing.get(fact.id.as_str()) {
            None => plan.new += 1,
            Some(known) if says_the_same(known, &fact) => {
                plan.unchanged += 1;
                continue;
            }
            Some(known) => {
                plan.changed += 1;
                fact.version = known.version + 1;
            }
        }
        plan.facts.push((row.line, fact));
    }
    let others = recorded.iter().filter(|fact| !lines.contains_key(&fact.id));
    overlaps::refuse(&kept, others, &mut refusals);
    refusals.or(plan)
}

/// The id of a fact is made of table and key, and the file has no id.
fn in_words_of_the_file(error: FieldError) -> (String, String) {
    match error.field.as_str() {
        "id" => {
            let reason = format!(
                "{}, such as a tab or a line break; remove it from the cell",
                error.reason
            );
            ("key".to_owned(), reason)
        }
        _ => (error.field, error.reason),
    }
}

fn fact_of(table: &str, row: &Row, recorded_by: &str) -> Fact {
    let effective_at = row.valid_from.unwrap_or(Timestamp::FIRST);
    Fact {
        kind: "reference".to_owned(),
        text: None,
        table: Some(table.to_owned()),
        key: Some(row.key.clone()),
        values: Some(row.values.clone()),
        valid_from: row.valid_from,
        valid_until: row.valid_until,
        ..Fact::rules(
            &id_of(table, &row.key, effective_at),
            0,
            effective_at,
            recorded_by,
            "",
        )
    }
}

/// `{table}/{key}/{valid_from}`, with a hash for a key that would make it too long.
fn id_of(table: &str, key: &str, from: Timestamp) -> String {
    let from = match from {
        Timestamp::FIRST => BEGINNING.to_owned(),
        from => {
            let text = from.to_string();
            text.strip_suffix("T00:00:00Z").unwrap_or(&text).to_owned()
        }
    };
    let id = format!("{table}/{key}/{from}");
    if id.chars().count() <= MAX_ID {
        return id;
    }
    format!("{table}/sha256-{}/{from}", ContentHash::of(key.as_bytes()))
}

/// Whether two facts differ in nothing but their version and who said them.
fn says_the_same(known: &Fact, fact: &Fact) -> bool {
    let same = Fact {
        version: known.version,
        recorded_by: known.recorded_by.clone(),
        ..fact.clone()
    };
    same.canonical() == known.canonical()
}

#[cfg(test)]
mod tests;
