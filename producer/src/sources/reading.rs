//! Reading a file in bounded memory, in a thread of its own: files and standard input block whoever reads them.

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use redline_schemas::{FieldError, Timestamp};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};
use tokio::sync::mpsc;

use super::mapping::Mapping;
use super::settings::{CollectSettings, Format};
use crate::lines::{Line, Lines};

/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;
/// Chunks that may wait to be published.
const CHUNKS_AHEAD: usize = 4;
/// Longest line or CSV record, in bytes.
pub(crate) const MAX_LINE: usize = 1 << 20;

/// Why a CSV record is refused whose end csv-core and [`Lines`] see at different places.
pub(crate) const CARRIAGE_RETURN: &str =
    "holds a carriage return outside of quotes; save the file with lines that end in LF or CRLF";

/// The rows of one chunk of a file.
pub(crate) struct Batch {
    pub(crate) rows: Vec<Row>,
    /// Lines read so far.
    pub(crate) lines: u64,
}

/// A row as a JSON object, or why it is none.
pub(crate) struct Row {
    pub(crate) line: u64,
    pub(crate) json: Result<String, FieldError>,
}

/// Why a file could not be read, or not to its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ReadError {
    /// Settings or header are wrong; nothing was read.
    Mapping(String),
    /// From this line on.
    Broken { line: u64, reason: String },
}

/// What a file is, by settings and ending.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Shape {
    path: PathBuf,
    format: Format,
    delimiter: u8,
    gzip: bool,
}

impl Shape {
    pub(crate) fn of(path: &Path, source: &str, settings: &CollectSettings) -> Result<Self, String> {
        if path.is_dir() {
            return Err(format!("{} is a folder; name a file in it", path.display()));
        }
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().to_ascii_lowercase());
        let name = name.unwrap_or_default();
        let (name, gzip) = match name.strip_suffix(".gz") {
            Some(name) => (name, true),
            None => (name.as_str(), false),
        };
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        let by_ending = match ending {
            "csv" | "tsv" => Some(Format::Csv),
            "ndjson" | "jsonl" => Some(Format::Ndjson),
            _ => None,
        };
        let format = settings.format.or(by_ending).ok_or_else(|| {
            format!(
                "{}: the format cannot be told from the name; set [collect.{source}] format = \"csv\" or \"ndjson\"",
                path.display()
            )
        })?;
        let default = if ending == "tsv" { '\t' } else { ',' };
        let delimiter = settings.delimiter.unwrap_or(default);
        let delimiter = u8::try_from(delimiter)
            .ok()
            .filter(|byte| byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n'))
            .ok_or_else(|| {
                format!("[collect.{source}] delimiter must be one ASCII character and no quote")
            })?;
        Ok(Self {
            path: path.to_owned(),
            format,
            delimiter,
            gzip,
        })
    }

    fn open(&self) -> std::io::Result<Box<dyn Read + Send>> {
        let plain: Box<dyn Read + Send> = if self.path.as_os_str() == "-" {
            Box::new(std::io::stdin())
        } else {
            Box::new(std::fs::File::open(&self.path)?)
        };
        Ok(match self.gzip {
            true => Box::new(MultiGzDecoder::new(plain)),
            false => plain,
        })
    }
}

/// Starts reading; the thread ends with the file, or when nobody receives any more.
pub(crate) fn read(
    shape: &Shape,
    source: &str,
    settings: &CollectSettings,
) -> std::io::Result<mpsc::Receiver<Result<Batch, ReadError>>> {
    let input = shape.open()?;
    let rows = Rows {
        source: source.to_owned(),
        settings: settings.clone(),
        lines: match shape.format {
            Format::Csv => Lines::of_csv(MAX_LINE, shape.delimiter),
            Format::Ndjson => Lines::new(MAX_LINE),
        },
        cutter: match shape.format {
            Format::Csv => Some(Cutter::new(shape.delimiter)),
            Format::Ndjson => None,
        },
        mapping: None,
    };
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    std::thread::Builder::new()
        .name("collect".to_owned())
        .spawn(move || {
            if let Err(error) = rows.read(input, &sender) {
                let _ = sender.blocking_send(Err(error));
            }
        })?;
    Ok(receiver)
}

/// Turns bytes into rows.
struct Rows {
    source: String,
    settings: CollectSettings,
    lines: Lines,
    /// Only in CSV.
    cutter: Option<Cutter>,
    /// Known after the header, only in CSV.
    mapping: Option<Mapping>,
}

impl Rows {
    fn read(
        mut self,
        mut input: Box<dyn Read + Send>,
        sender: &mpsc::Sender<Result<Batch, ReadError>>,
    ) -> Result<(), ReadError> {
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = input.read(&mut chunk);
            let read = read.map_err(|error| self.broken(error.to_string()))?;
            let mut rows = Vec::new();
            self.lines.feed(chunk.get(..read).unwrap_or_default());
            while let Some(line) = self.lines.next_line().map_err(|_| self.too_long())? {
                rows.extend(self.row(&line)?);
            }
            if read == 0 {
                self.last(&mut rows)?;
            }
            let batch = Batch {
                rows,
                lines: self.lines.number(),
            };
            if sender.blocking_send(Ok(batch)).is_err() || read == 0 {
                return Ok(());
            }
        }
    }

    /// What stands behind the last line break.
    fn last(&mut self, rows: &mut Vec<Row>) -> Result<(), ReadError> {
        let in_quotes = self.lines.is_in_quotes();
        let line = self.lines.last_line().map_err(|_| self.too_long())?;
        match line {
            Some(line) if in_quotes => rows.push(Row {
                line: line.number,
                json: Err(FieldError::new(
                    "",
                    "opens a quote that is never closed; what follows it was not read",
                )),
            }),
            Some(line) => rows.extend(self.row(&line)?),
            None => {}
        }
        if self.cutter.is_some() && self.mapping.is_none() {
            return Err(ReadError::Mapping("the file has no header".to_owned()));
        }
        Ok(())
    }

    fn broken(&self, reason: String) -> ReadError {
        ReadError::Broken {
            line: self.lines.number() + 1,
            reason,
        }
    }

    fn too_long(&self) -> ReadError {
        let what = match self.cutter {
            Some(_) => "the record is longer than 1 MiB; a quote that it opens may never be closed",
            None => "the line is longer than 1 MiB",
        };
        self.broken(what.to_owned())
    }

    /// The row of a line; none for the header.
    fn row(&mut self, line: &Line) -> Result<Option<Row>, ReadError> {
        let Ok(text) = std::str::from_utf8(&line.bytes) else {
            return self.not_utf8(line.number).map(Some);
        };
        let json = match (&mut self.cutter, &self.mapping) {
            (None, _) => Ok(with_source(text, &self.source)),
            (Some(cutter), Some(mapping)) => match cutter.cells(text) {
                Some(cells) => mapping.json(&cells),
                None => Err(FieldError::new("", CARRIAGE_RETURN)),
            },
            (Some(cutter), None) => {
                let header = cutter
                    .cells(text)
                    .ok_or_else(|| ReadError::Mapping(format!("the header {CARRIAGE_RETURN}")))?;
                let header: Vec<String> = header.into_iter().map(str::to_owned).collect();
                let mapping = Mapping::new(&self.source, &self.settings, &header, Timestamp::now());
                self.mapping = Some(mapping.map_err(ReadError::Mapping)?);
                return Ok(None);
            }
        };
        Ok(Some(Row {
            line: line.number,
            json,
        }))
    }

    fn not_utf8(&self, line: u64) -> Result<Row, ReadError> {
        let reason = "is not UTF-8; save the file with this encoding";
        if self.cutter.is_some() && self.mapping.is_none() {
            return Err(ReadError::Mapping(format!("the header (line {line}) {reason}")));
        }
        Ok(Row {
            line,
            json: Err(FieldError::new("", reason)),
        })
    }
}

/// Cuts one CSV record into its cells.
pub(crate) struct Cutter {
    reader: csv_core::Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Cutter {
    pub(crate) fn new(delimiter: u8) -> Self {
        Self {
            reader: csv_core::ReaderBuilder::new().delimiter(delimiter).build(),
            text: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// None when the record ends before its last character: at a carriage return outside of quotes.
    pub(crate) fn cells(&mut self, record: &str) -> Option<Vec<&str>> {
        // Cells are never longer than their record, nor more than its characters and one.
        self.text.resize(record.len() + 1, 0);
        self.ends.resize(record.len() + 2, 0);
        self.reader.reset();
        let (_, read, written, ends) =
            self.reader
                .read_record(record.as_bytes(), &mut self.text, &mut self.ends);
        if read < record.len() {
            return None;
        }
        // The record's end is told by an empty input.
        let (text, places) = (
            self.text.get_mut(written..).unwrap_or_default(),
            self.ends.get_mut(ends..).unwrap_or_default(),
        );
        let (_, _, _, more) = self.reader.read_record(&[], text, places);
        let mut start = 0;
        let ends = self.ends.get(..ends + more).unwrap_or_default();
        let cells = ends.iter().map(|end| {
            let cell = self.text.get(start..*end).unwrap_or_default();
            start = *end;
            // Cut at ASCII characters, UTF-8 stays UTF-8.
            std::str::from_utf8(cell).unwrap_or_default()
        });
        Some(cells.collect())
    }
}

/// Whether a JSON object has a member `source`, whatever its value.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    source: Present,
}

#[derive(Default)]
struct Present(bool);

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self(true))
    }
}

/// Fills in the source where a JSON object has none; what is no object is left to the event's own check.
fn with_source(text: &str, source: &str) -> String {
    let is_without = serde_json::from_str::<Head>(text).is_ok_and(|head| !head.source.0);
    let Some(members) = text.trim_start().strip_prefix('{').filter(|_| is_without) else {
        return text.to_owned();
    };
    let comma = if members.trim_start().starts_with('}') {
        ""
    } else {
        ","
    };
    format!("{{\"source\":{}{comma}{members}", serde_json::Value::from(source))
}
