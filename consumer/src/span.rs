//! Reading a span of a partition once more, in nobody's name: no group is joined and nothing is committed.

use std::ops::Range;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use redline_producer::kafka::{Asking, Callbacks, KafkaSettings, create};
use redline_schemas::Timestamp;
use tokio::sync::mpsc::Sender;

use crate::batch::RawRecord;
use crate::kafka::raw_record;

/// How long Kafka may be silent.
const PATIENCE: Duration = Duration::from_secs(30);
/// Records that are handed over at once.
const CHUNK: usize = 1_000;
/// Bytes that are handed over at once, about: records may be large.
const CHUNK_BYTES: usize = 4 << 20;

/// Why a span could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum SpanError {
    /// Kafka's client, or what a broker says. Class: try again.
    #[error("partition {1} of {0} cannot be read: {2}")]
    Kafka(String, i32, KafkaError),
    /// Nobody answers. Class: try again.
    #[error("partition {1} of {0} cannot be read: Kafka was silent for {seconds} s", seconds = PATIENCE.as_secs())]
    Silent(String, i32),
    /// The span begins before what Kafka still has. Class: try again from there.
    #[error("partition {1} of {0} no longer has the offset {2}")]
    Removed(String, i32, i64),
}

/// Reads what readers of committed records see of a span, in the order of offsets, and hands it over in chunks. Ends where
/// the span or the log does, or nobody takes any more.
///
/// # Errors
/// See [`SpanError`].
pub async fn read(
    kafka: &KafkaSettings,
    topic: &str,
    partition: i32,
    span: Range<i64>,
    into: Sender<Vec<RawRecord>>,
) -> Result<(), SpanError> {
    if span.is_empty() {
        return Ok(());
    }
    let (kafka, topic) = (kafka.clone(), topic.to_owned());
    tokio::task::spawn_blocking(move || read_now(&kafka, &topic, partition, &span, &into))
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

fn read_now(
    kafka: &KafkaSettings,
    topic: &str,
    partition: i32,
    span: &Range<i64>,
    into: &Sender<Vec<RawRecord>>,
) -> Result<(), SpanError> {
    let failed = |error| SpanError::Kafka(topic.to_owned(), partition, error);
    let consumer = consumer(kafka).map_err(failed)?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(span.start))
        .and_then(|()| consumer.assign(&list))
        .map_err(failed)?;
    let (mut chunk, mut bytes) = (Vec::new(), 0);
    let mut heard = Instant::now();
    loop {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) if message.offset() >= span.end => break,
            Some(Ok(message)) => {
                heard = Instant::now();
                let is_last = message.offset() + 1 == span.end;
                let record = raw_record(&message);
                bytes += record.bytes();
                chunk.push(record);
                if is_last {
                    break;
                }
                if chunk.len() == CHUNK || bytes >= CHUNK_BYTES {
                    bytes = 0;
                    if into.blocking_send(std::mem::take(&mut chunk)).is_err() {
                        return Ok(());
                    }
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => break,
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset) => {
                    return Err(SpanError::Removed(topic.to_owned(), partition, span.start));
                }
                _ if heard.elapsed() > PATIENCE => return Err(failed(error)),
                _ => tracing::debug!(%error, topic, partition, "reading a span"),
            },
            None if heard.elapsed() > PATIENCE => return Err(SpanError::Silent(topic.to_owned(), partition)),
            None => {}
        }
    }
    if !chunk.is_empty() {
        let _ = into.blocking_send(chunk);
    }
    Ok(())
}

/// The first offset of each of these partitions whose record has this time of Kafka's or a later one; none where there is
/// no such record.
///
/// # Errors
/// [`SpanError::Kafka`].
pub async fn offsets_at(
    kafka: &KafkaSettings,
    topic: &str,
    partitions: &[i32],
    time: Timestamp,
) -> Result<Vec<Option<i64>>, SpanError> {
    let (kafka, topic, partitions) = (kafka.clone(), topic.to_owned(), partitions.to_vec());
    tokio::task::spawn_blocking(move || offsets_at_now(&kafka, &topic, &partitions, time))
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

fn offsets_at_now(
    kafka: &KafkaSettings,
    topic: &str,
    partitions: &[i32],
    time: Timestamp,
) -> Result<Vec<Option<i64>>, SpanError> {
    // Kafka counts in milliseconds: one that has begun before the instant is not yet it.
    let millis = time.micros().div_euclid(1_000) + i64::from(time.micros().rem_euclid(1_000) > 0);
    let mut asked = TopicPartitionList::new();
    let failed = |partition| move |error| SpanError::Kafka(topic.to_owned(), partition, error);
    for partition in partitions {
        asked
            .add_partition_offset(topic, *partition, Offset::Offset(millis))
            .map_err(failed(*partition))?;
    }
    let first = partitions.first().copied().unwrap_or_default();
    let consumer = consumer(kafka).map_err(failed(first))?;
    let answered = consumer
        .offsets_for_times(asked, PATIENCE)
        .map_err(failed(first))?;
    partitions
        .iter()
        .map(|partition| {
            let Some(found) = answered.find_partition(topic, *partition) else {
                return Ok(None);
            };
            found.error().map_err(failed(*partition))?;
            Ok(found.offset().to_raw().filter(|offset| *offset >= 0))
        })
        .collect()
}

fn consumer(kafka: &KafkaSettings) -> Result<BaseConsumer<Asking>, KafkaError> {
    let mut config = kafka.client_config();
    config
        // librdkafka wants one; it is neither joined nor committed to.
        .set("group.id", "redline-span")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("allow.auto.create.topics", "false")
        .set("enable.partition.eof", "true")
        .set("queued.max.messages.kbytes", "16384");
    create(&config, Asking(Callbacks::new(kafka)))
}
