//! From a checked event to the bytes of its record, under the schema that is registered for its topic.

use std::time::Duration;

use redline_http::{Asked, Keep};
use redline_schemas::registry::{RegistryError, SchemaRegistry};
use redline_schemas::topics::{Topics, subject};
use redline_schemas::{Event, EventKind, avro};

/// A schema's id never changes; that a registry is away is believed for a second.
const IDS: Keep = Keep {
    answer: Duration::MAX,
    failure: Duration::from_secs(1),
    old_before_failure: true,
};

/// Why an event cannot be encoded now.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EncodeError {
    /// Class: try again.
    #[error("{0}")]
    Away(String),
    /// Class: stop.
    #[error("our schema of {0} is not registered; run `redline migrate`")]
    NotRegistered(String),
    /// Class: stop.
    #[error("{0}")]
    Refused(String),
    /// A defect of ours. Class: refused.
    #[error("the event cannot be encoded: {0}")]
    Defect(String),
}

/// Encodes events. It asks the registry for ids and never registers anything: `redline migrate` does that.
pub struct Encoder<R> {
    registry: R,
    topics: Topics,
    ids: [Asked<u32, EncodeError>; 4],
}

/// An event as Kafka gets it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The key.
    pub key: String,
    /// The framed value.
    pub value: Vec<u8>,
}

impl Record {
    /// Bytes of key and value.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

impl<R: SchemaRegistry> Encoder<R> {
    /// An encoder for topics of these names.
    pub fn new(registry: R, topics: Topics) -> Self {
        Self {
            registry,
            topics,
            ids: Default::default(),
        }
    }

    /// The topic of a kind of events.
    pub fn topic(&self, kind: EventKind) -> &str {
        self.topics.of(kind)
    }

    /// The schema id of a kind of events; kept once it is found.
    ///
    /// # Errors
    /// When the registry is away, or does not have our schema.
    pub async fn schema_id(&self, kind: EventKind) -> Result<u32, EncodeError> {
        let [row, payout, order, fact] = &self.ids;
        let asked = match kind {
            EventKind::Row => row,
            EventKind::Payout => payout,
            EventKind::Order => order,
            EventKind::Fact => fact,
        };
        asked.get(IDS, self.ask_schema_id(kind)).await
    }

    /// Asks the registry now.
    pub(crate) async fn ask_schema_id(&self, kind: EventKind) -> Result<u32, EncodeError> {
        let subject = subject(self.topic(kind));
        match self.registry.schema_id(&subject, schema_text(kind)).await {
            Ok(Some(id)) => Ok(id),
            Ok(None) => Err(EncodeError::NotRegistered(subject)),
            Err(error @ (RegistryError::Unavailable { .. } | RegistryError::Unusable(_))) => {
                Err(EncodeError::Away(error.to_string()))
            }
            Err(error @ RegistryError::Refused { .. }) => Err(EncodeError::Refused(error.to_string())),
        }
    }
}

/// Encodes one event under a schema id that [`Encoder::schema_id`] answered for its kind.
///
/// # Errors
/// [`EncodeError::Defect`].
pub fn encode(schema_id: u32, event: &Event) -> Result<Record, EncodeError> {
    Ok(Record {
        key: event.entity().kafka_key(),
        value: avro::encode_event(schema_id, event).map_err(EncodeError::Defect)?,
    })
}

fn schema_text(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Row => avro::ROW_SCHEMA,
        EventKind::Payout => avro::PAYOUT_SCHEMA,
        EventKind::Order => avro::ORDER_SCHEMA,
        EventKind::Fact => avro::FACT_SCHEMA,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stand_in::Registry;

    #[tokio::test]
    async fn a_registry_without_our_schema_says_what_to_run() {
        let encoder = Encoder::new(Registry::empty(), Topics::default());
        let error = encoder.schema_id(EventKind::Row).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "our schema of redline.rows-value is not registered; run `redline migrate`"
        );
    }

    #[tokio::test]
    async fn an_id_outlives_its_registry() {
        let encoder = Encoder::new(Registry::with_id(7), Topics::default());
        assert_eq!(encoder.schema_id(EventKind::Order).await, Ok(7));
        encoder.registry.go_away();
        assert_eq!(encoder.schema_id(EventKind::Order).await, Ok(7));
        assert!(encoder.schema_id(EventKind::Row).await.is_err());
    }
}
