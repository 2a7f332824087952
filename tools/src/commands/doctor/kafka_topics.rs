//! What is right and wrong about a topic.

use super::report::Outcome;
use crate::commands::counted;

/// A topic as Kafka describes it.
#[derive(Clone, Debug, Default)]
pub(super) struct Topic {
    pub(super) partitions: usize,
    /// Partitions that nobody leads now.
    pub(super) leaderless: usize,
    /// Of the partition that has the fewest.
    pub(super) copies: usize,
    /// Brokers of the cluster.
    pub(super) brokers: usize,
    pub(super) cleanup_policy: Option<String>,
    pub(super) least_in_sync: Option<usize>,
    pub(super) max_message_bytes: Option<u32>,
}

/// What a topic is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    /// Its records may be quarantined, in a topic that takes so many bytes.
    Input {
        quarantine: u32,
    },
    Output,
    /// It has to take so many bytes.
    Quarantine {
        least: u32,
    },
}

/// Judges it; what is worst comes first.
pub(super) fn judge(topic: &Topic, wanted: Wanted, name: &str) -> Outcome {
    let set = |property: &str, value: &str| {
        format!(
            "set {property} to {value}: kafka-configs.sh --alter --entity-type topics --entity-name {name} --add-config \
             {property}={value}"
        )
    };
    if topic.leaderless > 0 {
        let partitions = counted(topic.leaderless as u64, "partition has", "partitions have");
        let fix = "look at the brokers; the one that leads them is away";
        return Outcome::failed(format!("{partitions} no leader"), fix);
    }
    if topic
        .cleanup_policy
        .as_deref()
        .is_some_and(|policy| policy.contains("compact"))
    {
        return Outcome::failed(
            "it is compacted, which loses all but the latest record of a key",
            set("cleanup.policy", "delete"),
        );
    }
    if let Some(least) = topic.least_in_sync
        && least > topic.copies
    {
        return Outcome::failed(
            format!(
                "min.insync.replicas is {least}, and there are only {} of a partition; nothing can be published",
                counted(topic.copies as u64, "copy", "copies")
            ),
            set("min.insync.replicas", &topic.copies.to_string()),
        );
    }
    if let (Wanted::Quarantine { least }, Some(bytes)) = (wanted, topic.max_message_bytes)
        && bytes < least
    {
        return Outcome::failed(
            format!("it takes records of {bytes} bytes at most; quarantined ones may have {least}"),
            set("max.message.bytes", &least.to_string()),
        );
    }
    if let (Wanted::Input { quarantine }, Some(bytes)) = (wanted, topic.max_message_bytes)
        && bytes >= quarantine
    {
        return Outcome::failed(
            format!("it takes records of {bytes} bytes, and the topic of quarantine only of {quarantine}"),
            format!(
                "set migrate.quarantine_max_message_bytes above {bytes}, and max.message.bytes of that topic"
            ),
        );
    }
    if topic.brokers > 1 && topic.copies < 2 {
        return Outcome::warning(
            "there is one copy of each partition; with its broker the records are away, or lost",
            "give it three copies (kafka-reassign-partitions.sh), and migrate.replication_factor = 3 for new ones",
        );
    }
    if topic.copies > 2 && topic.least_in_sync == Some(1) {
        return Outcome::warning(
            "min.insync.replicas is 1: what one broker acknowledged can be lost with it",
            set("min.insync.replicas", "2"),
        );
    }
    let copies = counted(topic.copies as u64, "copy", "copies");
    let partitions = counted(topic.partitions as u64, "partition", "partitions");
    Outcome::ok(format!("{partitions}, {copies} of each"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_topic_is_said_with_what_to_do() {
        let good = Topic {
            partitions: 12,
            leaderless: 0,
            copies: 3,
            brokers: 3,
            cleanup_policy: Some("delete".to_owned()),
            least_in_sync: Some(2),
            max_message_bytes: Some(1_048_588),
        };
        let input = Wanted::Input {
            quarantine: 8_388_608,
        };
        let quarantine = Wanted::Quarantine { least: 8_388_608 };
        let cases = [
            (good.clone(), input),
            (
                Topic {
                    leaderless: 1,
                    ..good.clone()
                },
                input,
            ),
            (
                Topic {
                    cleanup_policy: Some("compact,delete".to_owned()),
                    ..good.clone()
                },
                Wanted::Output,
            ),
            (
                Topic {
                    least_in_sync: Some(4),
                    ..good.clone()
                },
                input,
            ),
            (good.clone(), quarantine),
            (
                Topic {
                    max_message_bytes: Some(9_000_000),
                    ..good.clone()
                },
                input,
            ),
            (
                Topic {
                    copies: 1,
                    least_in_sync: Some(1),
                    ..good.clone()
                },
                input,
            ),
            (
                Topic {
                    least_in_sync: Some(1),
                    ..good.clone()
                },
                input,
            ),
            (
                Topic {
                    copies: 1,
                    brokers: 1,
                    least_in_sync: Some(1),
                    ..good
                },
                input,
            ),
        ];
        let told = cases.map(|(topic, wanted)| format!("{:#?}", judge(&topic, wanted, "redline.rows")));
        insta::assert_snapshot!(told.join("\n"));
    }
}
