//! A simulation as files, written and read line by line.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Lines as TextLines, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::arrival::Order;
use crate::random::Random;
use crate::{Simulation, Truth};

/// The file of events, in the order of their arrival.
pub const EVENTS_FILE: &str = "events.ndjson";
/// The file of facts.
pub const FACTS_FILE: &str = "facts.ndjson";
/// The file of rules.
pub const RULES_FILE: &str = "rules.toml";
/// The file with the truth.
pub const TRUTH_FILE: &str = "truth.json";

/// A file that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file system says no.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it says.
        source: std::io::Error,
    },
    /// It is not the JSON that it should be.
    #[error("{path}: {source}")]
    Json {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
}

impl FileError {
    fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_path_buf(),
            source,
        }
    }

    fn json(path: &Path, source: serde_json::Error) -> Self {
        Self::Json {
            path: path.to_path_buf(),
            source,
        }
    }
}

impl Simulation {
    /// Writes `events.ndjson` in the order of arrival with its duplicates, `facts.ndjson` in the order of ids or as
    /// shuffled as the events, `rules.toml` and `truth.json` into a folder, which is made.
    pub fn write_to(&self, folder: &Path, order: Order) -> Result<(), FileError> {
        std::fs::create_dir_all(folder).map_err(|source| FileError::io(folder, source))?;
        let events = self.arriving_events(order);
        write_lines(&folder.join(EVENTS_FILE), events.iter().map(crate::Event::json))?;
        let mut facts: Vec<_> = self.facts.iter().collect();
        if let Order::Shuffled(seed) = order {
            Random::new(seed).shuffle(&mut facts);
        }
        write_lines(&folder.join(FACTS_FILE), facts.into_iter().map(crate::Fact::json))?;
        let rules = folder.join(RULES_FILE);
        std::fs::write(&rules, &self.rules_toml).map_err(|source| FileError::io(&rules, source))?;
        self.truth.to_file(&folder.join(TRUTH_FILE))
    }
}

impl Truth {
    /// Writes the truth as one JSON object.
    pub fn to_file(&self, path: &Path) -> Result<(), FileError> {
        let mut file = create(path)?;
        serde_json::to_writer(&mut file, self).map_err(|source| FileError::json(path, source))?;
        file.flush().map_err(|source| FileError::io(path, source))
    }

    /// Reads what `to_file` wrote.
    pub fn from_file(path: &Path) -> Result<Self, FileError> {
        let file = BufReader::new(open(path)?);
        serde_json::from_reader(file).map_err(|source| FileError::json(path, source))
    }
}

/// The JSON values of a file with one a line, read as they are asked for.
pub fn read_lines(path: &Path) -> Result<Lines, FileError> {
    Ok(Lines {
        path: path.to_path_buf(),
        lines: BufReader::new(open(path)?).lines(),
    })
}

/// The JSON values of a file with one a line.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    lines: TextLines<BufReader<File>>,
}

impl Iterator for Lines {
    type Item = Result<Value, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = match self.lines.next()? {
            Ok(line) => line,
            Err(source) => return Some(Err(FileError::io(&self.path, source))),
        };
        Some(serde_json::from_str(&line).map_err(|source| FileError::json(&self.path, source)))
    }
}

fn write_lines(path: &Path, values: impl Iterator<Item = Value>) -> Result<(), FileError> {
    let mut file = create(path)?;
    for value in values {
        serde_json::to_writer(&mut file, &value).map_err(|source| FileError::json(path, source))?;
        file.write_all(b"\n")
            .map_err(|source| FileError::io(path, source))?;
    }
    file.flush().map_err(|source| FileError::io(path, source))
}

fn create(path: &Path) -> Result<BufWriter<File>, FileError> {
    File::create(path)
        .map(BufWriter::new)
        .map_err(|source| FileError::io(path, source))
}

fn open(path: &Path) -> Result<File, FileError> {
    File::open(path).map_err(|source| FileError::io(path, source))
}
