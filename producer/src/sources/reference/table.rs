//! A CSV file of reference rows: a header, key columns, validity, values.

use std::collections::BTreeMap;

use redline_schemas::{ColumnValue, Date, Timestamp};

use super::Refusals;
use super::cells::{Misquoted, misquoted, value};
use crate::lines::{Line, Lines, TooLong};
use crate::sources::reading::{CARRIAGE_RETURN, Cutter, MAX_LINE};
use crate::window::{LineError, MAX_ERRORS};

const VALID_FROM: &str = "valid_from";
const VALID_UNTIL: &str = "valid_until";
/// The key column of a file whose reader names none.
const KEY: &str = "key";
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// A row of a reference table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Where it begins in the file, from 1.
    pub line: u64,
    /// The key; of several columns a JSON array of their texts.
    pub key: String,
    /// First instant of validity; none is open.
    pub valid_from: Option<Timestamp>,
    /// First instant after validity; none is open.
    pub valid_until: Option<Timestamp>,
    /// The other columns by name; empty cells are absent.
    pub values: BTreeMap<String, ColumnValue>,
}

/// What a file holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Table {
    /// The rows in their order.
    pub rows: Vec<Row>,
    /// What somebody should look at all the same, at most 1,000.
    pub warnings: Vec<LineError>,
}

/// Reads a whole file. Without names of key columns, it is the column `key`, else the first one.
///
/// # Errors
/// Everything that is wrong with it, by line.
pub fn read(bytes: &[u8], keys: &[String]) -> Result<Table, Refusals> {
    if let Some(reason) = wrong_encoding(bytes) {
        return Err(Refusals::of(1, "", reason));
    }
    let mut reader = Reader {
        cutter: Cutter::new(b','),
        header: None,
        table: Table::default(),
        refusals: Refusals::default(),
    };
    let mut lines = Lines::of_csv(MAX_LINE, b',');
    lines.feed(bytes);
    if let Err(TooLong) = reader.lines(&mut lines, keys) {
        let reason = "the record is longer than 1 MiB; a quote that it opens may never be closed";
        reader.refusals.add(lines.number() + 1, "", reason);
    } else if reader.header.is_none() && reader.refusals.refused == 0 {
        let reason = "the file is empty; its first line must name the columns";
        reader.refusals.add(1, "", reason);
    }
    reader.refusals.or(reader.table)
}

/// Why a file is no plain UTF-8, as far as its first bytes say.
fn wrong_encoding(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Some(
            "begins with a byte order mark (EF BB BF), which would become part of the first column's name; save the file \
             as UTF-8 without it (in a spreadsheet as `CSV`, not `CSV UTF-8`; or run `sed -i '1s/^\\xEF\\xBB\\xBF//' FILE`)",
        );
    }
    let is_utf16 = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    is_utf16.then_some("is UTF-16; save the file as UTF-8 without a byte order mark")
}

/// Where the parts of a row stand.
struct Header {
    cells: usize,
    keys: Vec<(String, usize)>,
    valid_from: Option<usize>,
    valid_until: Option<usize>,
    values: Vec<(String, usize)>,
}

struct Reader {
    cutter: Cutter,
    header: Option<Header>,
    table: Table,
    refusals: Refusals,
}

impl Reader {
    fn lines(&mut self, lines: &mut Lines, keys: &[String]) -> Result<(), TooLong> {
        while let Some(line) = lines.next_line()? {
            if !self.line(&line, keys) {
                return Ok(());
            }
        }
        let in_quotes = lines.is_in_quotes();
        if let Some(line) = lines.last_line()? {
            if in_quotes {
                let reason = "opens a quote that is never closed; what follows it was not read";
                self.refusals.add(line.number, "", reason);
            } else {
                self.line(&line, keys);
            }
        }
        Ok(())
    }

    /// Reads a record; false when there is no use in reading on.
    fn line(&mut self, line: &Line, keys: &[String]) -> bool {
        let Some(text) = self.text(line) else {
            return self.header.is_some();
        };
        if let Some(Misquoted { place, breaks }) = misquoted(text) {
            let column = match &self.header {
                Some(header) => header.name(place).unwrap_or_default().to_owned(),
                None => String::new(),
            };
            let reason = format!(
                "has {}a quote inside of a cell; put quotes around the whole cell, with nothing before and after them, and double those \
                 in it: \"5\"\" pipe\"",
                if column.is_empty() {
                    format!("in column {} ", place + 1)
                } else {
                    String::new()
                },
            );
            self.refusals.add(line.number + breaks, column, reason);
            return self.header.is_some();
        }
        let Some(cells) = self.cutter.cells(text) else {
            self.refusals.add(line.number, "", CARRIAGE_RETURN);
            return self.header.is_some();
        };
        match &self.header {
            None => {
                let refused = self.refusals.refused;
                self.header = header(line.number, &cells, keys, &mut self.refusals);
                self.refusals.refused == refused
            }
            Some(header) => {
                let row = header.row(line.number, &cells, &mut self.refusals);
                self.table.rows.extend(row.inspect(|row| {
                    self.table.warnings.extend(header.warning(row, &cells));
                    self.table.warnings.truncate(MAX_ERRORS);
                }));
                true
            }
        }
    }

    /// The text of a record, which must be UTF-8.
    fn text<'a>(&mut self, line: &'a Line) -> Option<&'a str> {
        let error = match std::str::from_utf8(&line.bytes) {
            Ok(text) => return Some(text),
            Err(error) => error,
        };
        let (valid, rest) = line.bytes.split_at(error.valid_up_to());
        let valid = std::str::from_utf8(valid).unwrap_or_default();
        let byte = rest.first().copied().unwrap_or_default();
        let breaks = valid.matches('\n').count();
        let column = valid.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let latin = match byte {
            0xa0..=0xff => format!(" (`{}` in Latin-1)", char::from(byte)),
            _ => String::new(),
        };
        self.refusals.add(
            line.number + u64::try_from(breaks).unwrap_or_default(),
            "",
            format!(
                "has in column {column} the byte {byte:02X}{latin}, which is no UTF-8; save the file as UTF-8"
            ),
        );
        None
    }
}

/// Finds the columns; none when the header cannot be used.
fn header(line: u64, cells: &[&str], keys: &[String], refusals: &mut Refusals) -> Option<Header> {
    let before = refusals.refused;
    if let [only] = cells
        && let Some(other) = [';', '\t'].into_iter().find(|other| only.contains(*other))
    {
        let reason = format!("is divided by {other:?}; save the file with commas between the cells");
        refusals.add(line, "", reason);
        return None;
    }
    let mut places = BTreeMap::new();
    let mut folded = BTreeMap::new();
    for (place, name) in cells.iter().enumerate() {
        if name.is_empty() {
            let reason = format!(
                "column {} of the header has no name; name it or remove it",
                place + 1
            );
            refusals.add(line, "", reason);
        } else if let Some(meant) = almost_validity(name) {
            let reason = format!(
                "is almost {meant}, and would be a value like any other; name the column {meant}, or something else"
            );
            refusals.add(line, *name, reason);
        } else if name.trim() != *name {
            refusals.add(
                line,
                *name,
                "has white space around its name in the header; remove it",
            );
        } else if places.insert(*name, place).is_some() {
            refusals.add(line, *name, "is there twice in the header; rename one of them");
        } else if let Some(other) = folded.insert(name.to_lowercase(), *name) {
            let reason = format!("differs from the column {other} by nothing but case; rename one of them");
            refusals.add(line, *name, reason);
        }
    }
    let by_default = [(*cells.first()?).to_owned()];
    let default_key = [KEY.to_owned()];
    let names = match keys {
        [] if places.contains_key(KEY) => &default_key,
        [] => &by_default,
        keys => keys,
    };
    let mut key_places: Vec<(String, usize)> = Vec::new();
    for name in names {
        if name == VALID_FROM || name == VALID_UNTIL {
            refusals.add(line, name, "is no key; name the key's column with --key");
        } else if key_places.iter().any(|(known, _)| known == name) {
            refusals.add(line, name, "is named twice by --key");
        } else if let Some(place) = places.get(name.as_str()) {
            key_places.push((name.clone(), *place));
        } else if !keys.is_empty() {
            let reason = format!(
                "is named by --key and is not in the header, which has {}",
                cells.join(", ")
            );
            refusals.add(line, name, reason);
        }
    }
    let is_value = |name: &str| {
        name != VALID_FROM && name != VALID_UNTIL && !key_places.iter().any(|(key, _)| key == name)
    };
    let values = places
        .iter()
        .filter(|(name, _)| is_value(name))
        .map(|(name, place)| ((*name).to_owned(), *place))
        .collect();
    (refusals.refused == before).then(|| Header {
        cells: cells.len(),
        valid_from: places.get(VALID_FROM).copied(),
        valid_until: places.get(VALID_UNTIL).copied(),
        keys: key_places,
        values,
    })
}

/// The column of validity that a name means without saying it.
fn almost_validity(name: &str) -> Option<&'static str> {
    let folded = |name: &str| {
        let characters = name
            .chars()
            .filter(|one| !one.is_whitespace() && !matches!(one, '_' | '-'));
        characters.collect::<String>().to_lowercase()
    };
    let meant = [VALID_FROM, VALID_UNTIL]
        .into_iter()
        .find(|meant| folded(meant) == folded(name))?;
    (name != meant).then_some(meant)
}

impl Header {
    /// The name of a column.
    fn name(&self, place: usize) -> Option<&str> {
        let named = self.keys.iter().chain(&self.values).find(|(_, at)| *at == place);
        let validity = [(VALID_FROM, self.valid_from), (VALID_UNTIL, self.valid_until)];
        let validity = validity.into_iter().find(|(_, at)| *at == Some(place));
        named
            .map(|(name, _)| name.as_str())
            .or(validity.map(|(name, _)| name))
    }

    /// The row of a record; none when it is refused.
    fn row(&self, line: u64, cells: &[&str], refusals: &mut Refusals) -> Option<Row> {
        if cells.len() != self.cells {
            let reason = format!(
                "has {} cell{}, the header has {}; a quote may be missing, or a comma stands in a cell without quotes",
                cells.len(),
                if cells.len() == 1 { "" } else { "s" },
                self.cells
            );
            refusals.add(line, "", reason);
            return None;
        }
        let before = refusals.refused;
        let cell = |place: usize| cells.get(place).copied().unwrap_or_default();
        for (name, place) in &self.keys {
            if cell(*place).trim().is_empty() {
                let reason = "is empty, and it is the key; fill it in or remove the line";
                refusals.add(line, name, reason);
            }
        }
        let mut instant = |name: &str, place: Option<usize>| {
            let text = place.map(cell).unwrap_or_default().trim();
            match (text, instant(text)) {
                ("", _) => None,
                (_, Ok(time)) => Some(time),
                (_, Err(reason)) => {
                    refusals.add(line, name, format!("`{text}` {reason}"));
                    None
                }
            }
        };
        let valid_from = instant(VALID_FROM, self.valid_from);
        let valid_until = instant(VALID_UNTIL, self.valid_until);
        if let Some(until) = valid_until
            && valid_from.unwrap_or(Timestamp::FIRST) >= until
        {
            let reason = format!(
                "{until} is not after valid_from, {}; it is the first instant at which the row is no longer valid",
                valid_from.unwrap_or(Timestamp::FIRST)
            );
            refusals.add(line, VALID_UNTIL, reason);
        }
        let mut values = BTreeMap::new();
        for (name, place) in &self.values {
            match value(cell(*place)) {
                Ok(value) => values.extend(value.map(|value| (name.clone(), value))),
                Err(reason) => refusals.add(line, name, reason),
            }
        }
        (refusals.refused == before).then(|| Row {
            line,
            key: self.key(cells),
            valid_from,
            valid_until,
            values,
        })
    }

    fn key(&self, cells: &[&str]) -> String {
        let texts: Vec<&str> = self
            .keys
            .iter()
            .map(|(_, place)| cells.get(*place).copied().unwrap_or_default())
            .collect();
        match texts.as_slice() {
            [only] => (*only).to_owned(),
            several => serde_json::Value::from(several.to_vec()).to_string(),
        }
    }

    /// Keys are kept to the letter, also with blanks that nobody sees.
    fn warning(&self, row: &Row, cells: &[&str]) -> Option<LineError> {
        let (name, _) = self.keys.iter().find(|(_, place)| {
            let cell = cells.get(*place).copied().unwrap_or_default();
            cell.trim() != cell
        })?;
        Some(LineError {
            line: row.line,
            field: name.clone(),
            reason: "has white space around it, and so is the key only of what has the same".to_owned(),
        })
    }
}

/// Whether it means forever, or since ever, such as 9999-12-31 and 0001-01-01.
fn is_of_no_year(text: &str) -> bool {
    let year = text.get(..4).and_then(|year| year.parse::<u16>().ok());
    year.is_some_and(|year| !(1900..=2200).contains(&year)) && text.get(4..5) == Some("-")
}

/// A day, which is its midnight in UTC, or an instant.
fn instant(text: &str) -> Result<Timestamp, String> {
    /// Where an instant has its `T`.
    const DAY_LENGTH: usize = 10;
    let is_day = text.len() == DAY_LENGTH;
    let read = match text.as_bytes().get(DAY_LENGTH) {
        _ if is_day => {
            Date::parse(text).map(|day| Timestamp::from_micros(i64::from(day.days()) * MICROS_PER_DAY))
        }
        Some(b'T') => Timestamp::parse(text),
        _ => Err("is neither a day nor an instant".to_owned()),
    };
    read.map_err(|reason| {
        if is_of_no_year(text) {
            return "lies outside the years 1900 to 2200; leave it empty for open, or correct it".to_owned();
        }
        format!("{reason}; write a day such as 2026-03-01 or an instant such as 2026-03-01T05:00:00Z")
    })
}
