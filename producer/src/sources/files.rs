//! `redline collect files`: rows from NDJSON and CSV files into Kafka.
//!
//! Every line ends as accepted or as refused. When Kafka stays away for too long, the error names the line to go on
//! from; a second run from the beginning makes duplicates only, which is harmless.

use std::path::Path;

use redline_schemas::registry::SchemaRegistry;
use redline_schemas::{Event, EventKind, FieldError};
use serde::Serialize;
use tokio::sync::mpsc;
use tracing::{Instrument as _, Span};

use super::reading::{Batch, ReadError, Row, Shape, read};
use super::settings::CollectSettings;
use crate::encode::{EncodeError, Encoder};
use crate::publisher::{Publish, PublishError};
use crate::traces;
use crate::window::{Bounds, Broken, Lane, LineError, Refused, Tally, Window};

/// What may be on its way to Kafka, and how many message timeouts in a row Kafka may be away.
const BOUNDS: Bounds = Bounds {
    records: 5_000,
    bytes: 16 << 20,
    attempts: 10,
};

/// How far a collection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Lines read.
    pub lines: u64,
    /// Rows that Kafka acknowledged.
    pub accepted: u64,
    /// Rows that were refused.
    pub refused: u64,
}

/// What became of a file.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Summary {
    /// Lines read, header and blank lines too.
    pub lines: u64,
    /// Rows that Kafka acknowledged.
    pub accepted: u64,
    /// Rows that were refused, named or not.
    pub refused: u64,
    /// The first refused rows, at most 1,000.
    pub errors: Vec<LineError>,
}

/// Why a file could not be collected, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The settings do not fit the file; nothing was published.
    #[error("{0}")]
    Settings(String),
    /// The file cannot be opened; nothing was published.
    #[error("{path} cannot be opened: {reason}")]
    Open {
        /// The file.
        path: String,
        /// What the system says.
        reason: std::io::Error,
    },
    /// The schema is not to be had; nothing was published.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The file cannot be read from a line on; the lines before it are in the summary.
    #[error("the file cannot be read from line {line} on: {reason}")]
    Read {
        /// The first line that was not read.
        line: u64,
        /// Why.
        reason: String,
        /// The lines before it.
        summary: Box<Summary>,
    },
    /// Kafka stayed away, or refuses everything; the lines before this one are in the summary.
    #[error("{error}; go on from line {line}, or run it again: what is in already makes duplicates only")]
    Kafka {
        /// The first line that may not be in Kafka.
        line: u64,
        /// Why.
        error: PublishError,
        /// The lines before it.
        summary: Box<Summary>,
    },
}

impl CollectError {
    /// What was reached before reading or publishing broke off; none when nothing was begun.
    pub fn summary(&self) -> Option<&Summary> {
        match self {
            Self::Read { summary, .. } | Self::Kafka { summary, .. } if summary.lines > 0 => Some(summary),
            _ => None,
        }
    }

    /// Whether settings and file do not fit, whatever runs.
    pub fn is_misuse(&self) -> bool {
        matches!(self, Self::Settings(_))
    }
}

/// Publishes the rows of a file; `-` is standard input.
///
/// # Errors
/// See [`CollectError`]; refused rows are no error but part of the summary.
pub async fn collect<P: Publish, R: SchemaRegistry>(
    path: &Path,
    source: &str,
    settings: &CollectSettings,
    publisher: &P,
    encoder: &Encoder<R>,
    progress: impl FnMut(Progress),
) -> Result<Summary, CollectError> {
    let shape = Shape::of(path, source, settings).map_err(CollectError::Settings)?;
    let sending = traces::sending(encoder.topic(EventKind::Row));
    let lane = open_lane(publisher, encoder, &sending).await?;
    let batches = read(&shape, source, settings).map_err(|reason| CollectError::Open {
        path: path.display().to_string(),
        reason,
    })?;
    let collection = Collection {
        source,
        window: Window::new(publisher, lane, BOUNDS),
        lines: 0,
    };
    let collected = collection
        .run(batches, progress)
        .instrument(sending.clone())
        .await;
    let summary = match &collected {
        Ok(summary) => Some(summary),
        Err(error) => error.summary(),
    };
    traces::settled(
        &sending,
        summary.map_or(0, |summary| summary.accepted),
        collected.is_ok(),
    );
    collected
}

/// Finds schema and topic before the file is read. That Kafka is away is no reason to stop, the window waits.
async fn open_lane<P: Publish, R: SchemaRegistry>(
    publisher: &P,
    encoder: &Encoder<R>,
    sending: &Span,
) -> Result<Lane, CollectError> {
    let schema_id = encoder.schema_id(EventKind::Row).await?;
    let topic = encoder.topic(EventKind::Row).to_owned();
    match publisher.partitions(&topic).await {
        Ok(_) | Err(PublishError::Away(_)) => Ok(Lane {
            topic,
            schema_id,
            headers: traces::headers(sending),
        }),
        Err(error) => Err(CollectError::Kafka {
            line: 1,
            error,
            summary: Box::default(),
        }),
    }
}

struct Collection<'a, P> {
    source: &'a str,
    window: Window<'a, P>,
    lines: u64,
}

impl<P: Publish> Collection<'_, P> {
    async fn run(
        mut self,
        mut batches: mpsc::Receiver<Result<Batch, ReadError>>,
        mut progress: impl FnMut(Progress),
    ) -> Result<Summary, CollectError> {
        let mut ended = Ok(());
        while let Some(batch) = batches.recv().await {
            match batch {
                Ok(batch) => {
                    if let Err(broken) = self.publish(batch).await {
                        return Err(self.without_kafka(broken));
                    }
                    progress(self.progress());
                }
                Err(error) => ended = Err(error),
            }
        }
        if let Err(broken) = self.window.settle_all().await {
            return Err(self.without_kafka(broken));
        }
        progress(self.progress());
        match ended {
            Ok(()) => Ok(self.summary()),
            Err(ReadError::Mapping(reason)) => Err(CollectError::Settings(reason)),
            Err(ReadError::Broken { line, reason }) => Err(CollectError::Read {
                line,
                reason,
                summary: Box::new(self.summary()),
            }),
        }
    }

    async fn publish(&mut self, batch: Batch) -> Result<(), Broken> {
        for Row { line, json } in batch.rows {
            match json.and_then(|json| self.event(&json)) {
                Ok(event) => self.window.send(line, &event).await?,
                Err(error) => self.window.refuse(line, Refused::Field(error)).await?,
            }
        }
        self.lines = batch.lines;
        Ok(())
    }

    fn event(&self, json: &str) -> Result<Event, FieldError> {
        let event = Event::from_json(EventKind::Row, json)?;
        if event.source() != self.source {
            let reason = format!("is not `{}`, the source that is collected", self.source);
            return Err(FieldError::new("source", reason));
        }
        Ok(event)
    }

    fn progress(&self) -> Progress {
        let Tally {
            accepted, refused, ..
        } = *self.window.tally();
        Progress {
            lines: self.lines,
            accepted,
            refused,
        }
    }

    fn summary(self) -> Summary {
        let tally = self.window.into_tally();
        Summary {
            lines: self.lines,
            accepted: tally.accepted,
            refused: tally.refused,
            errors: tally.errors,
        }
    }

    fn without_kafka(self, broken: Broken) -> CollectError {
        CollectError::Kafka {
            line: broken.line,
            error: broken.error,
            summary: Box::new(self.summary()),
        }
    }
}

#[cfg(test)]
mod tests;
