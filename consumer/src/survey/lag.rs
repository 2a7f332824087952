//! How far recording is behind. Pure.

use std::collections::HashMap;

use redline_store::positions::KafkaPartition;
use redline_store::survey::Standing;

/// A partition as Kafka has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Log {
    pub(super) topic: String,
    pub(super) topic_id: String,
    pub(super) partition: i32,
    pub(super) start: i64,
    pub(super) end: i64,
}

impl From<KafkaPartition> for Log {
    fn from(kafka: KafkaPartition) -> Self {
        Self {
            topic: kafka.topic,
            topic_id: kafka.topic_id,
            partition: kafka.partition,
            start: kafka.log_start,
            end: kafka.log_end,
        }
    }
}

/// What of a partition is not recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Behind {
    pub(super) topic: String,
    pub(super) partition: i32,
    /// The first offset that is not recorded.
    pub(super) from: i64,
    /// The offset behind the last one.
    pub(super) to: i64,
}

impl Behind {
    /// How many offsets that is.
    pub(super) fn offsets(&self) -> i64 {
        (self.to - self.from).max(0)
    }
}

/// What of each partition is not recorded. Of a topic that was made again nothing is, whatever stands of the old one; nor of a
/// partition that nobody ever opened.
pub(super) fn behind(logs: &[Log], positions: &[Standing]) -> Vec<Behind> {
    let positions: HashMap<(&str, &str, i32), i64> = positions
        .iter()
        .map(|standing| {
            let partition = (
                standing.topic.as_str(),
                standing.topic_id.as_str(),
                standing.partition,
            );
            (partition, standing.next_offset)
        })
        .collect();
    logs.iter()
        .map(|log| {
            let partition = (log.topic.as_str(), log.topic_id.as_str(), log.partition);
            // Records that Kafka has removed already can no longer be read.
            let from = positions
                .get(&partition)
                .map_or(log.start, |next| *next.max(&log.start));
            Behind {
                topic: log.topic.clone(),
                partition: log.partition,
                from,
                to: log.end,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(partition: i32) -> Log {
        Log {
            topic: "rows".to_owned(),
            topic_id: "id".to_owned(),
            partition,
            start: 10,
            end: 100,
        }
    }

    fn offsets(topic_id: &str, next_offset: i64) -> i64 {
        let position = Standing {
            topic: "rows".to_owned(),
            topic_id: topic_id.to_owned(),
            partition: 3,
            next_offset,
        };
        behind(&[log(3)], &[position])[0].offsets()
    }

    #[test]
    fn the_position_in_postgres_decides_how_far_recording_is_behind() {
        assert_eq!(offsets("id", 100), 0);
        assert_eq!(offsets("id", 97), 3);
        assert_eq!(offsets("id", 5), 90, "what Kafka has removed cannot be read");
        assert_eq!(offsets("id", 200), 0, "Kafka lost what is recorded");
        assert_eq!(
            offsets("old", 100),
            90,
            "of a topic that was made again nothing is recorded"
        );
        assert_eq!(behind(&[log(0)], &[])[0].offsets(), 90, "nobody ever opened it");
    }
}
