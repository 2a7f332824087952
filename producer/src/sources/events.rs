//! Events and facts of every kind from a file of NDJSON, checked as the HTTP door checks them, in bounded memory.

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use redline_domain::facts;
use redline_schemas::{Event, EventKind, FieldError};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::sync::mpsc;

use super::reading::MAX_LINE;
use crate::lines::{Line, Lines};

/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;
/// Chunks that may wait to be taken.
const CHUNKS_AHEAD: usize = 4;

/// Events with their lines, from 1.
pub type Events = Vec<(u64, Event)>;

/// Why a file cannot be read, or not behind a line.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// It cannot be opened.
    #[error("{path} cannot be opened: {reason}")]
    Open {
        /// The file.
        path: String,
        /// What the system says.
        reason: std::io::Error,
    },
    /// A line is no event.
    #[error("{path}, line {line}: {told}")]
    Line {
        /// The file.
        path: String,
        /// From 1.
        line: u64,
        /// Field, what is wrong with it, and what is expected.
        told: String,
    },
}

/// Reads a file behind a number of lines; `.gz` is unpacked on the way. Of which kind a line is, its id says, unless that is
/// given. The first error is the last that is handed over.
///
/// # Errors
/// When the file cannot be opened.
pub fn read(
    path: &Path,
    kind: Option<EventKind>,
    behind: u64,
) -> Result<mpsc::Receiver<Result<Events, EventsError>>, EventsError> {
    let failed = |reason| EventsError::Open {
        path: path.display().to_string(),
        reason,
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let is_packed = path
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("gz"));
    let input: Box<dyn Read + Send> = match is_packed {
        true => Box::new(MultiGzDecoder::new(file)),
        false => Box::new(file),
    };
    let reading = Reading {
        path: path.to_owned(),
        kind,
        behind,
        lines: Lines::new(MAX_LINE),
    };
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    std::thread::Builder::new()
        .name("replay".to_owned())
        .spawn(move || reading.run(input, &sender))
        .map_err(failed)?;
    Ok(receiver)
}

struct Reading {
    path: PathBuf,
    kind: Option<EventKind>,
    behind: u64,
    lines: Lines,
}

impl Reading {
    fn run(mut self, mut input: Box<dyn Read + Send>, sender: &mpsc::Sender<Result<Events, EventsError>>) {
        let mut chunk = vec![0; CHUNK];
        loop {
            let mut events = Events::new();
            let read = self.read(&mut *input, &mut chunk, &mut events);
            let has_some = !events.is_empty();
            if has_some && sender.blocking_send(Ok(events)).is_err() {
                return;
            }
            match read {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => return drop(sender.blocking_send(Err(error))),
            }
        }
    }

    /// Takes in what is read at once; the events before an error are in `events`.
    fn read(
        &mut self,
        input: &mut dyn Read,
        chunk: &mut [u8],
        events: &mut Events,
    ) -> Result<usize, EventsError> {
        let read = input
            .read(chunk)
            .map_err(|error| self.broken(error.to_string()))?;
        self.lines.feed(chunk.get(..read).unwrap_or_default());
        while let Some(line) = self.lines.next_line().map_err(|_| self.too_long())? {
            self.take(&line, events)?;
        }
        if read == 0
            && let Some(line) = self.lines.last_line().map_err(|_| self.too_long())?
        {
            self.take(&line, events)?;
        }
        Ok(read)
    }

    fn take(&self, line: &Line, events: &mut Events) -> Result<(), EventsError> {
        if line.number > self.behind {
            let event =
                event(&line.bytes, self.kind).map_err(|error| self.error(line.number, told(&error)))?;
            events.push((line.number, event));
        }
        Ok(())
    }

    fn broken(&self, told: String) -> EventsError {
        self.error(self.lines.number() + 1, told)
    }

    fn too_long(&self) -> EventsError {
        self.broken("it is longer than 1 MiB; one event or fact a line is expected".to_owned())
    }

    fn error(&self, line: u64, told: String) -> EventsError {
        EventsError::Line {
            path: self.path.display().to_string(),
            line,
            told,
        }
    }
}

fn told(error: &FieldError) -> String {
    match error.field.as_str() {
        "" => format!("it {}", error.reason),
        _ => error.to_string(),
    }
}

/// By what the kinds are told from each other.
#[derive(Deserialize)]
struct Ids {
    row_id: Option<IgnoredAny>,
    payout_id: Option<IgnoredAny>,
    order_id: Option<IgnoredAny>,
    kind: Option<IgnoredAny>,
}

fn event(bytes: &[u8], kind: Option<EventKind>) -> Result<Event, FieldError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| FieldError::new("", "is not UTF-8; save the file with this encoding"))?;
    let event = Event::from_json(kind.map_or_else(|| kind_of(text), Ok)?, text)?;
    if let Event::Fact(fact) = &event {
        facts::check(fact)?;
    }
    Ok(event)
}

fn kind_of(text: &str) -> Result<EventKind, FieldError> {
    let ids: Ids = serde_json::from_str(text)
        .map_err(|error| FieldError::new("", format!("is no JSON object: {error}")))?;
    // An outcome is a fact about an order and an approval one about a row: facts first.
    match ids {
        Ids { kind: Some(_), .. } => Ok(EventKind::Fact),
        Ids { row_id: Some(_), .. } => Ok(EventKind::Row),
        Ids {
            payout_id: Some(_), ..
        } => Ok(EventKind::Payout),
        Ids {
            order_id: Some(_), ..
        } => Ok(EventKind::Order),
        _ => Err(FieldError::new(
            "",
            "has no row_id, payout_id, order_id or kind, by one of which events and facts are told from each other",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = r#"{"source":"billing","row_id":"R-1","version":1,"op":"create","observed_at":"2026-03-02T10:00:00Z","columns":{}}"#;
    const ORDER: &str = r#"{"order_id":"o-1","customer_id":"c","amount":1,"currency":"USD","status":"created","created_at":"2026-01-01T00:00:00Z"}"#;
    const PAYOUT: &str = r#"{"system":"store","payout_id":"p-1","period":"2026-01","amount":1,"currency":"USD","reported_at":"2026-01-01T00:00:00Z"}"#;
    const FACT: &str = r#"{"kind":"period","id":"p-1","version":1,"effective_at":"2026-01-01T00:00:00Z","recorded_by":"ann","source":"billing","period":"2026-01","state":"closed"}"#;

    fn read_all(text: &str, name: &str, behind: u64) -> (Vec<(u64, EventKind)>, Option<String>) {
        let path = std::env::temp_dir().join(format!("redline-events-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let mut chunks = read(&path, None, behind).unwrap();
        let (mut events, mut error) = (Vec::new(), None);
        while let Some(chunk) = chunks.blocking_recv() {
            match chunk {
                Ok(chunk) => events.extend(chunk.into_iter().map(|(line, event)| (line, event.kind()))),
                Err(failed) => error = Some(failed.to_string()),
            }
        }
        std::fs::remove_file(&path).unwrap();
        (events, error)
    }

    #[test]
    fn each_line_says_itself_of_which_kind_it_is_and_blank_ones_count() {
        let text = format!("{ROW}\n\n{ORDER}\n{PAYOUT}\n{FACT}");
        let (events, error) = read_all(&text, "kinds", 0);
        assert_eq!(error, None);
        let expected = [
            (1, EventKind::Row),
            (3, EventKind::Order),
            (4, EventKind::Payout),
            (5, EventKind::Fact),
        ];
        assert_eq!(events, expected);
        assert_eq!(read_all(&text, "behind", 3).0, expected[2..]);
    }

    #[test]
    fn a_packed_file_is_unpacked_on_the_way() {
        let path = std::env::temp_dir().join(format!("redline-events-{}.ndjson.gz", std::process::id()));
        let file = std::fs::File::create(&path).unwrap();
        let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, format!("{ROW}\n{FACT}\n").as_bytes()).unwrap();
        packed.finish().unwrap();
        let mut chunks = read(&path, None, 0).unwrap();
        assert_eq!(chunks.blocking_recv().unwrap().unwrap().len(), 2);
        assert!(chunks.blocking_recv().is_none());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn nothing_behind_a_bad_line_is_read_and_the_line_is_named_with_what_is_wrong() {
        for (bad, found) in [
            (ROW.replace("R-1", "").as_str(), "line 2: `row_id` "),
            ("{}", "line 2: it has no row_id, payout_id, order_id or kind"),
            ("row", "line 2: it is no JSON object"),
            (FACT.replace("closed", "ajar").as_str(), "line 2: `state` "),
        ] {
            let (events, error) = read_all(&format!("{ROW}\n{bad}\n{ROW}\n"), "bad", 0);
            assert_eq!(events, [(1, EventKind::Row)]);
            let error = error.unwrap();
            assert!(error.contains(found), "{error}");
        }
    }
}
