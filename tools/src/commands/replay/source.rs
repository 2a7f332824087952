//! Where replayed records come from: read piece by piece, a little ahead of what is published.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use redline_consumer::cluster::Cluster;
use redline_consumer::span;
use redline_producer::encode::{Encoder, encode};
use redline_producer::kafka::KafkaSettings;
use redline_producer::sources::events;
use redline_schemas::registry::ConfluentRegistry;
use redline_schemas::{Event, EventKind, Timestamp};
use redline_store::archive::{self, Ledger, Selection};
use redline_store::outbox::Headers;
use redline_store::read_only_connection;
use tokio::sync::mpsc;

use super::arguments::{TopicReplay, instant};
use super::course::Span;
use crate::settings::Settings;

/// The header by which a replayed record names the place that it was read from: topic, partition, offset.
pub(super) const REPLAY_HEADER: &str = "redline-replay-of";
/// Chunks that are read ahead.
const CHUNKS_AHEAD: usize = 2;
/// Recorded events that are read at once.
const PAGE: i64 = 500;

/// A record that is to be published, with what is left of its span behind it.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) span: usize,
    pub(super) next: i64,
    pub(super) topic: Arc<str>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Headers,
}

pub(super) type Pieces = Vec<Piece>;
type Sender = mpsc::Sender<anyhow::Result<Pieces>>;

/// What is replayed.
pub(super) enum Source {
    /// Records as Kafka has them.
    Topic {
        kafka: KafkaSettings,
        spans: Vec<Span>,
        into: Arc<str>,
    },
    /// Events and facts as JSON.
    File {
        path: PathBuf,
        kind: Option<EventKind>,
        into: Option<Arc<str>>,
    },
    /// Events and facts as they are recorded.
    Recorded {
        url: String,
        selection: Selection,
        ledgers: Vec<Ledger>,
        into: Option<Arc<str>>,
    },
}

impl Source {
    /// Everything, before anything of it is published.
    pub(super) fn spans(&self) -> impl Future<Output = anyhow::Result<Vec<Span>>> + use<> {
        let spans = match self {
            Self::Topic { spans, .. } => spans.clone(),
            Self::File { path, .. } => vec![Span {
                of: path.display().to_string(),
                partition: 0,
                ledger: 0,
                next: 1,
                end: i64::MAX,
            }],
            Self::Recorded { ledgers, .. } => ledgers
                .iter()
                .map(|ledger| Span {
                    of: ledger.topic.clone(),
                    partition: ledger.partition,
                    ledger: ledger.position_id,
                    next: 0,
                    end: ledger.end,
                })
                .collect(),
        };
        async { Ok(spans) }
    }

    /// Begins to read what is left. An error is the last that comes.
    pub(super) fn read(
        self,
        spans: Vec<Span>,
        encoder: Encoder<ConfluentRegistry>,
    ) -> mpsc::Receiver<anyhow::Result<Pieces>> {
        let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
        tokio::spawn(async move {
            let read = match self {
                Self::Topic { kafka, into, .. } => read_topic(&kafka, &spans, &into, &sender).await,
                Self::File { path, kind, into } => {
                    let encoding = Encoding { encoder, into };
                    read_file(&path, kind, &spans, &encoding, &sender).await
                }
                Self::Recorded {
                    url, selection, into, ..
                } => {
                    let encoding = Encoding { encoder, into };
                    read_record(&url, &selection, &spans, &encoding, &sender).await
                }
            };
            if let Err(error) = read {
                let _ = sender.send(Err(error)).await;
            }
        });
        receiver
    }
}

/// The spans of a topic, with their ends as they are now.
pub(super) async fn topic(settings: &Settings, replay: &TopicReplay, into: &str) -> anyhow::Result<Source> {
    let name = &replay.topic;
    let (from, to) = (
        instant("from", replay.from.as_deref())?,
        instant("to", replay.to.as_deref())?,
    );
    let cluster = Cluster::new(&settings.kafka)?;
    let partitions: Vec<i32> = match replay.partition {
        Some(partition) => vec![partition],
        None => (0..cluster.partitions(name).await?).collect(),
    };
    let from = offsets(settings, name, &partitions, from).await?;
    let to = offsets(settings, name, &partitions, to).await?;
    let mut spans = Vec::with_capacity(partitions.len());
    for (place, partition) in partitions.into_iter().enumerate() {
        let log = cluster.describe(name, partition).await?;
        // An instant behind the last record is the log's end.
        let at = |offsets: &Option<Vec<Option<i64>>>| {
            let offset = offsets
                .as_ref()
                .map(|offsets| offsets.get(place).copied().flatten());
            offset.map(|offset| offset.unwrap_or(log.log_end))
        };
        let next = replay.from_offset.or_else(|| at(&from)).unwrap_or(log.log_start);
        let end = replay.to_offset.or_else(|| at(&to)).unwrap_or(log.log_end);
        spans.push(Span {
            of: name.clone(),
            partition,
            ledger: 0,
            next,
            end: end.min(log.log_end),
        });
    }
    Ok(Source::Topic {
        kafka: settings.kafka.clone(),
        spans,
        into: into.into(),
    })
}

async fn offsets(
    settings: &Settings,
    topic: &str,
    partitions: &[i32],
    time: Option<Timestamp>,
) -> anyhow::Result<Option<Vec<Option<i64>>>> {
    match time {
        Some(time) => Ok(Some(
            span::offsets_at(&settings.kafka, topic, partitions, time).await?,
        )),
        None => Ok(None),
    }
}

/// What is recorded in a database, up to where it is now.
pub(super) async fn record(url: String, selection: Selection, into: Option<&str>) -> anyhow::Result<Source> {
    let mut connection = read_only_connection(&url, "replay").await?;
    let ledgers = archive::ledgers(&mut connection).await?;
    Ok(Source::Recorded {
        url,
        selection,
        ledgers,
        into: into.map(Arc::from),
    })
}

async fn read_topic(
    kafka: &KafkaSettings,
    spans: &[Span],
    into: &Arc<str>,
    sender: &Sender,
) -> anyhow::Result<()> {
    for (number, span) in spans.iter().enumerate() {
        let (records, mut chunks) = mpsc::channel(CHUNKS_AHEAD);
        let reading = {
            let (kafka, topic, partition, range) = (
                kafka.clone(),
                span.of.clone(),
                span.partition,
                span.next..span.end,
            );
            tokio::spawn(async move { span::read(&kafka, &topic, partition, range, records).await })
        };
        while let Some(chunk) = chunks.recv().await {
            let pieces = chunk.into_iter().map(|record| Piece {
                span: number,
                next: record.offset + 1,
                topic: Arc::clone(into),
                headers: with_place(record.headers, span, record.offset),
                key: record.key,
                value: record.value,
            });
            if sender.send(Ok(pieces.collect())).await.is_err() {
                return Ok(());
            }
        }
        reading.await.context("reading Kafka broke down")??;
    }
    Ok(())
}

/// The headers of a record, and where it stood.
fn with_place(mut headers: Headers, span: &Span, offset: i64) -> Headers {
    headers.retain(|(name, _)| name != REPLAY_HEADER);
    let place = format!("{}/{}/{offset}", span.of, span.partition);
    headers.push((REPLAY_HEADER.to_owned(), Some(place.into_bytes())));
    headers
}

/// How events become records.
struct Encoding {
    encoder: Encoder<ConfluentRegistry>,
    into: Option<Arc<str>>,
}

impl Encoding {
    async fn piece(&self, span: usize, next: i64, event: &Event, headers: Headers) -> anyhow::Result<Piece> {
        let kind = event.kind();
        let record = encode(self.encoder.schema_id(kind).await?, event)?;
        let topic = match &self.into {
            Some(into) => Arc::clone(into),
            None => self.encoder.topic(kind).into(),
        };
        Ok(Piece {
            span,
            next,
            topic,
            key: Some(record.key.into_bytes()),
            value: Some(record.value),
            headers,
        })
    }
}

async fn read_file(
    path: &Path,
    kind: Option<EventKind>,
    spans: &[Span],
    encoding: &Encoding,
    sender: &Sender,
) -> anyhow::Result<()> {
    let begin = spans.first().map_or(1, |span| span.next);
    let mut chunks = events::read(path, kind, u64::try_from(begin - 1).unwrap_or(0))?;
    while let Some(chunk) = chunks.recv().await {
        let chunk = chunk?;
        let mut pieces = Pieces::with_capacity(chunk.len());
        for (line, event) in chunk {
            let next = i64::try_from(line).unwrap_or(i64::MAX).saturating_add(1);
            pieces.push(encoding.piece(0, next, &event, Headers::new()).await?);
        }
        if sender.send(Ok(pieces)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

async fn read_record(
    url: &str,
    selection: &Selection,
    spans: &[Span],
    encoding: &Encoding,
    sender: &Sender,
) -> anyhow::Result<()> {
    let mut connection = read_only_connection(url, "replay").await?;
    for (number, span) in spans.iter().enumerate() {
        let ledger = Ledger {
            position_id: span.ledger,
            topic: span.of.clone(),
            partition: span.partition,
            end: span.end,
        };
        let mut next = span.next;
        loop {
            let page = archive::page(&mut connection, &ledger, selection, next, PAGE).await?;
            let is_last = i64::try_from(page.len()).is_ok_and(|length| length < PAGE);
            let mut pieces = Pieces::with_capacity(page.len());
            for archived in page {
                next = archived.offset + 1;
                let headers = with_place(Headers::new(), span, archived.offset);
                pieces.push(encoding.piece(number, next, &archived.event, headers).await?);
            }
            if !pieces.is_empty() && sender.send(Ok(pieces)).await.is_err() {
                return Ok(());
            }
            if is_last {
                break;
            }
        }
    }
    Ok(())
}

/// Refuses what a dry run cannot read.
pub(super) fn kind_of_topic(settings: &Settings, topic: &str) -> anyhow::Result<EventKind> {
    match settings.topics.kind_of(topic) {
        Some(EventKind::Row) => Ok(EventKind::Row),
        Some(other) => bail!(
            "{topic} holds {}s, and rules judge rows; a dry run of it says nothing",
            other.entity_type()
        ),
        // A copy of rows under another name.
        None => Ok(EventKind::Row),
    }
}
