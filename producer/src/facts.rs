//! Facts that commands say: published in order, each acknowledged before the command ends.

use redline_schemas::fact::Fact;
use redline_schemas::registry::SchemaRegistry;
use redline_schemas::{Event, EventKind};

use crate::encode::{EncodeError, Encoder};
use crate::publisher::{Publish, PublishError};
use crate::traces;
use crate::window::{Bounds, Broken, Lane, Tally, Window};

/// What may be on its way to Kafka, and how many message timeouts in a row Kafka may be away.
const BOUNDS: Bounds = Bounds {
    records: 5_000,
    bytes: 16 << 20,
    attempts: 2,
};
/// Facts between two words about how far it is.
const STEP: usize = 1_000;

/// Why facts could not be published, or not all.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// The schema is not to be had; nothing was published.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Kafka is away, or refuses everything.
    #[error(
        "{error}; {acknowledged} of {all} facts are in: run the command again, what is in already is harmless"
    )]
    Kafka {
        /// Why.
        error: PublishError,
        /// Facts that Kafka acknowledged.
        acknowledged: u64,
        /// Facts that there were.
        all: usize,
    },
}

/// Publishes facts, each with the line that it comes from, and waits until Kafka has acknowledged them.
///
/// # Errors
/// See [`FactsError`]; what Kafka refuses because of its size is no error but named in the answer.
pub async fn publish<P: Publish, R: SchemaRegistry>(
    facts: Vec<(u64, Fact)>,
    publisher: &P,
    encoder: &Encoder<R>,
    mut progress: impl FnMut(u64),
) -> Result<Tally, FactsError> {
    let all = facts.len();
    let without_kafka = |error: PublishError, acknowledged: u64| FactsError::Kafka {
        error,
        acknowledged,
        all,
    };
    let topic = encoder.topic(EventKind::Fact).to_owned();
    let sending = traces::sending(&topic);
    let lane = Lane {
        schema_id: encoder.schema_id(EventKind::Fact).await?,
        headers: traces::headers(&sending),
        topic,
    };
    let known = publisher.partitions(&lane.topic).await;
    known.map_err(|error| without_kafka(error, 0))?;
    let mut window = Window::new(publisher, lane, BOUNDS);
    let mut broken: Result<(), Broken> = Ok(());
    for (place, (line, fact)) in facts.into_iter().enumerate() {
        broken = window.send(line, &Event::Fact(Box::new(fact))).await;
        if broken.is_err() {
            break;
        }
        if place % STEP == 0 {
            progress(window.tally().accepted);
        }
    }
    if broken.is_ok() {
        broken = window.settle_all().await;
    }
    let tally = window.into_tally();
    traces::settled(&sending, tally.accepted, broken.is_ok());
    progress(tally.accepted);
    match broken {
        Ok(()) => Ok(tally),
        Err(broken) => Err(without_kafka(broken.error, tally.accepted)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stand_in::{Kafka, Registry};
    use redline_schemas::Timestamp;
    use redline_schemas::topics::Topics;

    fn facts(ids: std::ops::RangeInclusive<u64>) -> Vec<(u64, Fact)> {
        ids.map(|id| {
            let text = "[sources.billing]";
            (id, Fact::rules(&id.to_string(), 0, Timestamp::FIRST, "eve", text))
        })
        .collect()
    }

    #[tokio::test]
    async fn facts_are_in_kafka_in_their_order_under_their_keys() {
        let (kafka, encoder) = (
            Kafka::default(),
            Encoder::new(Registry::with_id(1), Topics::default()),
        );
        let mut told = Vec::new();
        let tally = publish(facts(1..=3), &kafka, &encoder, |done| told.push(done))
            .await
            .unwrap();
        assert_eq!((tally.accepted, tally.refused), (3, 0));
        assert_eq!(kafka.keys(), ["rules/1", "rules/2", "rules/3"]);
        assert_eq!(told.last(), Some(&3));
    }

    #[tokio::test]
    async fn when_kafka_goes_away_it_is_said_how_many_are_in() {
        let (kafka, encoder) = (
            Kafka::failing(2, 100),
            Encoder::new(Registry::with_id(1), Topics::default()),
        );
        let error = publish(facts(1..=5), &kafka, &encoder, |_| {}).await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("2 of 5 facts are in: run the command again"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn without_our_schema_nothing_is_published() {
        let (kafka, encoder) = (
            Kafka::default(),
            Encoder::new(Registry::empty(), Topics::default()),
        );
        let error = publish(facts(1..=5), &kafka, &encoder, |_| {}).await.unwrap_err();
        assert!(error.to_string().contains("run `redline migrate`"), "{error}");
        assert_eq!(kafka.sent(), 0);
    }
}
