//! What OpenTelemetry's conventions for messaging name, in their Prometheus spelling. What all clients of Kafka share.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec};

use super::{DURATIONS, Error, Meter};

/// The value of `messaging_system`.
pub const SYSTEM: &str = "kafka";

/// What is sent.
#[derive(Clone)]
pub struct Sent(IntCounterVec);

/// How long operations take.
#[derive(Clone)]
pub struct Operations(HistogramVec);

/// An operation of a client.
#[derive(Clone, Copy, Debug)]
pub enum Operation {
    /// Publishing messages and waiting until they are acknowledged.
    Send,
    /// Telling Kafka how far recording is.
    Commit,
}

impl Operation {
    /// Name and type.
    fn words(self) -> [&'static str; 2] {
        match self {
            Self::Send => ["send", "send"],
            Self::Commit => ["commit", "settle"],
        }
    }
}

impl Sent {
    /// Asks for the counters.
    ///
    /// # Errors
    /// When the name is that of another metric.
    pub fn new(meter: &Meter) -> Result<Self, Error> {
        Ok(Self(meter.counters(
            "messaging_client_sent_messages_total",
            "Messages that Kafka acknowledged, by topic: of the door events and facts; of the relay flags and \
             quarantined records, once its transaction was committed.",
            &[
                "messaging_system",
                "messaging_operation_name",
                "messaging_destination_name",
            ],
        )?))
    }

    /// Makes the counter of a topic exist before its first message.
    pub fn expect(&self, topic: &str) {
        self.add(topic, 0);
    }

    /// Messages of a topic were acknowledged.
    pub fn add(&self, topic: &str, messages: u64) {
        self.0
            .with_label_values(&[SYSTEM, "send", topic])
            .inc_by(messages);
    }
}

impl Operations {
    /// Asks for the histograms.
    ///
    /// # Errors
    /// When the name is that of another metric.
    pub fn new(meter: &Meter) -> Result<Self, Error> {
        Ok(Self(meter.histograms(
            "messaging_client_operation_duration_seconds",
            "Time of an operation of a Kafka client: `send` is one turn of the relay until its transaction is \
             committed, `commit` telling Kafka how far recording is. `error_type` is empty where it succeeded.",
            &[
                "messaging_system",
                "messaging_operation_name",
                "messaging_operation_type",
                "error_type",
            ],
            &DURATIONS,
        )?))
    }

    /// An operation came to its end; the type of its error is a word of ours.
    pub fn took(&self, operation: Operation, time: Duration, error_type: Option<&'static str>) {
        let [name, kind] = operation.words();
        self.0
            .with_label_values(&[SYSTEM, name, kind, error_type.unwrap_or_default()])
            .observe(time.as_secs_f64());
    }
}
