//! Simulated messages on their way to Kafka.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use redline_producer::encode::{Encoder, encode};
use redline_producer::kafka::KafkaSettings;
use redline_producer::publisher::{Delivery, Outgoing, Publisher};
use redline_producer::traces;
use redline_schemas::registry::SchemaRegistry;
use redline_schemas::topics::Topics;
use redline_schemas::{Event, EventKind};
use redline_simulator::Message;
use redline_telemetry::context::Headers;
use serde_json::Value;
use tracing::Span;

/// Records that may be on their way at once.
const IN_FLIGHT: usize = 5_000;

/// Publishes as any producer does.
pub(super) struct Feed<R> {
    publisher: Publisher,
    encoder: Encoder<R>,
    deliveries: Vec<Delivery>,
    /// The spans in which what is on its way is sent, with the headers of their records.
    sending: BTreeMap<EventKind, (Span, Headers)>,
    sent: u64,
}

impl<R: SchemaRegistry> Feed<R> {
    pub(super) fn new(kafka: &KafkaSettings, registry: R, topics: &Topics) -> anyhow::Result<Self> {
        Ok(Self {
            publisher: Publisher::new(kafka, Duration::from_secs(60))?,
            encoder: Encoder::new(registry, topics.clone()),
            deliveries: Vec::with_capacity(IN_FLIGHT),
            sending: BTreeMap::new(),
            sent: 0,
        })
    }

    /// Sends a message; answers how many were sent, of which those on their way are not acknowledged yet.
    pub(super) async fn send(&mut self, message: &Message) -> anyhow::Result<u64> {
        let kind = match message {
            Message::Event(_) => EventKind::Row,
            Message::Fact(_) => EventKind::Fact,
        };
        self.send_json(kind, &message.json()).await
    }

    /// The same with its JSON.
    pub(super) async fn send_json(&mut self, kind: EventKind, message: &Value) -> anyhow::Result<u64> {
        let text = message.to_string();
        let event = Event::from_json(kind, &text).with_context(|| text.clone())?;
        let record = encode(self.encoder.schema_id(kind).await?, &event)?;
        let topic = self.encoder.topic(kind);
        let (_, headers) = self.sending.entry(kind).or_insert_with(|| {
            let span = traces::sending(topic);
            let headers = traces::headers(&span);
            (span, headers)
        });
        let outgoing = Outgoing {
            topic,
            key: Some(record.key.as_bytes()),
            value: Some(&record.value),
            headers,
        };
        let partitions = self.publisher.partitions(topic).await?;
        let delivery = self.publisher.enqueue_when_free(outgoing, partitions).await?;
        self.deliveries.push(delivery);
        self.sent += 1;
        if self.deliveries.len() == IN_FLIGHT {
            self.settle().await?;
        }
        Ok(self.sent)
    }

    /// Waits until Kafka has acknowledged everything.
    pub(super) async fn settle(&mut self) -> anyhow::Result<()> {
        for delivery in self.deliveries.drain(..) {
            delivery.await?;
        }
        self.sending.clear();
        Ok(())
    }
}
