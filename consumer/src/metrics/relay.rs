//! What a relay measures of itself.

use std::time::Duration;

use prometheus::{IntCounterVec, IntGauge};
use redline_telemetry::health::{Health, Part};
use redline_telemetry::metrics::messaging::{Operation, Operations, Sent};
use redline_telemetry::metrics::{Error, Meter};

/// What a relay measures of itself, and says of its health.
pub struct RelayMetrics {
    sent: Sent,
    operations: Operations,
    turns: IntCounterVec,
    leads: IntGauge,
    kafka: Part,
    database: Part,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Turned {
    /// Messages were published, and deleted from the outbox.
    Published,
    /// There was nothing to publish.
    Idle,
    /// Another relay leads.
    StandingBy,
    /// Kafka refused a quarantined record, which goes without its value in the next turn.
    Refused,
}

impl RelayMetrics {
    /// Asks for what a relay measures; `topics` are those that it publishes to.
    ///
    /// # Errors
    /// When a name is that of another metric.
    pub fn new(meter: &Meter, health: &Health, topics: &[&str]) -> Result<Self, Error> {
        let meter = &meter.of("relay");
        let metrics = Self {
            sent: Sent::new(meter)?,
            operations: Operations::new(meter)?,
            turns: meter.counters(
                "redline_relay_turns_total",
                "Turns of the relay, by result: `published`, `refused` (Kafka refused a record, which then goes without \
                 its value) or `failed` (they are tried again). Turns that found nothing to publish are not counted.",
                &["result"],
            )?,
            leads: meter.gauge(
                "redline_relay_leads",
                "1 where this relay is the one that publishes, 0 where it stands by.",
            )?,
            kafka: health.part("relay.kafka"),
            database: health.part("relay.database"),
        };
        // Nothing was asked of Kafka yet.
        metrics.kafka.set(true);
        for result in ["published", "refused", "failed"] {
            metrics.turns.with_label_values(&[result]);
        }
        for topic in topics {
            metrics.sent.expect(topic);
        }
        Ok(metrics)
    }

    /// Messages were published and deleted.
    pub(crate) fn published(&self, topic: &str, messages: u64) {
        self.sent.add(topic, messages);
    }

    /// A turn ended well.
    pub(crate) fn turned(&self, turned: Turned, time: Duration) {
        self.database.set(true);
        self.leads.set((!matches!(turned, Turned::StandingBy)).into());
        match turned {
            Turned::Published => {
                self.kafka.set(true);
                self.turns.with_label_values(&["published"]).inc();
                self.operations.took(Operation::Send, time, None);
            }
            Turned::Refused => {
                self.turns.with_label_values(&["refused"]).inc();
                self.operations.took(Operation::Send, time, Some("refused"));
            }
            Turned::Idle | Turned::StandingBy => {}
        }
    }

    /// A turn failed; with Postgres the lead may be lost.
    pub(crate) fn failed(&self, by_store: bool, time: Duration) {
        self.turns.with_label_values(&["failed"]).inc();
        if by_store {
            self.database.set(false);
            self.leads.set(0);
        } else {
            self.kafka.set(false);
            self.operations
                .took(Operation::Send, time, Some("not_acknowledged"));
        }
    }
}
