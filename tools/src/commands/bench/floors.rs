//! The floors: what cannot be done with less.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};
use redline_domain::entity::{EntityState, Latest};
use redline_domain::finding::Ledger;
use redline_producer::kafka::{Asking, Callbacks, KafkaSettings, create};
use redline_schemas::avro::{WriterSchema, split_frame};
use redline_schemas::{ContentHash, EntityKey, Event};
use redline_store::facts;
use redline_store::positions::{self, KafkaPartition, Opened};
use redline_store::record::{
    AcceptedVersion, EntityUpdate, Outcome, Range, RecordOutcome, Recording, record,
};
use redline_store::{Timeouts, recording_connection};

use super::{BenchArguments, generate};

const TOPIC: &str = "bench";
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Consumes all events of a topic, and decodes them where a schema is given.
pub(super) async fn consume(
    kafka: &KafkaSettings,
    topic: &str,
    partitions: i32,
    events: u64,
    writer: Option<WriterSchema>,
) -> anyhow::Result<()> {
    let mut config = kafka.client_config();
    config
        .set("group.id", "redline-bench")
        .set("enable.auto.commit", "false")
        .set("queued.max.messages.kbytes", "32768")
        .set("fetch.queue.backoff.ms", "2");
    let consumer: BaseConsumer<Asking> = create(&config, Asking(Callbacks::new(kafka)))?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    tokio::task::spawn_blocking(move || {
        for _ in 0..events {
            let message = consumer
                .poll(PATIENCE)
                .context("Kafka has fewer events than were published")??;
            let value = message.payload().context("an event has no value")?;
            if let Some(writer) = &writer {
                writer.decode(split_frame(value)?.1)?;
            }
        }
        Ok(())
    })
    .await?
}

/// One batch for [`copy`]: versions of entities, nothing else.
pub(super) struct Prepared {
    updates: Vec<EntityUpdate>,
    records: Vec<RecordOutcome>,
}

/// The same events in batches, prepared so that copying them is all that is left.
pub(super) fn prepare(arguments: &BenchArguments, batch_records: usize) -> Vec<Prepared> {
    let mut batches = Vec::new();
    let mut offset = 0;
    let mut events = generate::events(arguments).peekable();
    while events.peek().is_some() {
        let mut updates: HashMap<EntityKey, EntityUpdate> = HashMap::new();
        let mut records = Vec::with_capacity(batch_records);
        for event in events.by_ref().take(batch_records) {
            let content = event.canonical();
            let hash = ContentHash::of(content.as_bytes());
            records.push(RecordOutcome {
                offset,
                outcome: Outcome::Accepted,
                hash,
            });
            add(&mut updates, event, content, hash, offset);
            offset += 1;
        }
        let mut updates: Vec<EntityUpdate> = updates.into_values().collect();
        updates.sort_by(|a, b| a.key.cmp(&b.key));
        batches.push(Prepared { updates, records });
    }
    batches
}

fn add(
    updates: &mut HashMap<EntityKey, EntityUpdate>,
    event: Event,
    content: String,
    hash: ContentHash,
    offset: i64,
) {
    let (version, observed_at) = (event.version(), event.observed_at());
    let update = updates.entry(event.entity()).or_insert_with(|| EntityUpdate {
        key: event.entity(),
        entity: None,
        revision: 0,
        state: EntityState::default(),
        accepted: Vec::new(),
        observed_earlier: Vec::new(),
        changes: Vec::new(),
        derived_again: false,
        horizon: None,
        flags: Vec::new(),
        contributions: Vec::new(),
    });
    update.state.latest = Some(Latest {
        version,
        hash,
        observed_at,
    });
    if let Event::Row(row) = event {
        update.state.baseline = Some(row);
    }
    update.accepted.push(AcceptedVersion {
        version,
        hash,
        observed_at,
        least_observed_at: observed_at,
        content,
        position_id: 0,
        offset,
    });
}

/// Copies the batches into `events` and `versions` and updates `entities`, each batch in one transaction.
pub(super) async fn copy(database_url: &str, batches: Vec<Prepared>) -> anyhow::Result<()> {
    let mut connection = recording_connection(database_url, "bench", Timeouts::default()).await?;
    let kafka = KafkaPartition {
        topic: TOPIC.to_owned(),
        topic_id: TOPIC.to_owned(),
        partition: 0,
        log_start: 0,
        log_end: 0,
    };
    let Opened::At(position) = positions::open(&mut connection, &kafka, uuid::Uuid::nil(), 0).await? else {
        anyhow::bail!("the bench's own partition is stopped");
    };
    let ledger = Arc::new(Ledger {
        topic: TOPIC.to_owned(),
        incarnation: TOPIC.to_owned(),
        partition: 0,
    });
    let generation = facts::since(&mut connection, 0).await?.generation;
    let mut known: HashMap<EntityKey, (i64, i64)> = HashMap::new();
    let mut from = 0;
    for Prepared { mut updates, records } in batches {
        for update in &mut updates {
            if let Some((entity, revision)) = known.get(&update.key) {
                (update.entity, update.revision) = (Some(*entity), *revision);
            }
            update
                .accepted
                .iter_mut()
                .for_each(|version| version.position_id = position.position_id);
        }
        let to = from + i64::try_from(records.len())?;
        let range = Range {
            position_id: position.position_id,
            ledger: Arc::clone(&ledger),
            from,
            to,
            watermark: None,
            records,
            sums: std::collections::BTreeMap::new(),
        };
        let recording = Recording {
            ranges: vec![range],
            entities: updates,
            generation,
            ..Recording::default()
        };
        let recorded = record(&mut connection, &recording).await?;
        for (update, entity) in recording.entities.into_iter().zip(recorded.entities) {
            known.insert(update.key, (entity, update.revision + 1));
        }
        from = to;
    }
    Ok(())
}
