//! Kafka: whether it is there, what its topics are like, and whether the relay's transactions come about.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminOptions, ConfigResource, ResourceSpecifier};
use rdkafka::metadata::Metadata;
use redline_producer::kafka::{self, Admin};
use redline_producer::turns::Turns;

use super::PATIENCE;
use super::kafka_topics::{self, Topic, Wanted};
use super::report::{Outcome, Report, Result as Checked};
use crate::commands::counted;
use crate::settings::Settings;

const SERVICE: &str = "kafka";
const LOOK: &str =
    "start Kafka, or mend kafka.bootstrap_servers, its login or kafka.client; docs/guides/connections.md";

/// A cluster that answered.
pub(super) struct Brokers {
    admin: Arc<Admin>,
    pub(super) metadata: Arc<Metadata>,
}

impl Brokers {
    /// How many members a group has.
    pub(super) async fn members(&self, group: &str) -> Result<usize, String> {
        let (admin, name) = (Arc::clone(&self.admin), group.to_owned());
        let asked = tokio::task::spawn_blocking(move || {
            let list = admin.inner().fetch_group_list(Some(&name), PATIENCE);
            list.map(|list| list.groups().iter().map(|group| group.members().len()).sum())
        });
        let asked = asked.await.map_err(|error| error.to_string())?;
        asked.map_err(|error| error.to_string())
    }
}

/// Checks Kafka; answers with the cluster if it is there.
pub(super) async fn check(report: &mut Report, settings: &Settings) -> anyhow::Result<Option<Brokers>> {
    let mut found = None;
    report
        .ask(SERVICE, "brokers", LOOK, async {
            match reach(settings).await {
                Ok(brokers) => {
                    let count = brokers.metadata.brokers().len() as u64;
                    let count = counted(count, "broker", "brokers");
                    found = Some(brokers);
                    Outcome::ok(format!("{count} at {}", settings.kafka.bootstrap_servers))
                }
                Err(reason) => Outcome::failed(reason, LOOK),
            }
        })
        .await?;
    let topics = wanted(settings);
    let Some(brokers) = found else {
        for (name, _) in topics {
            report.say(
                SERVICE,
                &format!("topic {name}"),
                Outcome::skipped("Kafka cannot be used"),
            )?;
        }
        report.say(SERVICE, "transactions", Outcome::skipped("Kafka cannot be used"))?;
        return Ok(None);
    };
    for (name, wanted) in topics {
        let asked = topic(&brokers, name, wanted);
        report.ask(SERVICE, &format!("topic {name}"), LOOK, asked).await?;
    }
    transactions(report, settings).await?;
    Ok(Some(brokers))
}

async fn reach(settings: &Settings) -> Result<Brokers, String> {
    // Shorter than the report's own patience, so that Kafka's words arrive.
    let patience = PATIENCE.saturating_sub(Duration::from_secs(1));
    let told = |error: kafka::Unreached| error.to_string();
    kafka::reach(&settings.kafka, patience).await.map_err(told)?;
    let admin = Arc::new(kafka::admin(&settings.kafka).await.map_err(told)?);
    let asking = Arc::clone(&admin);
    let asked = tokio::task::spawn_blocking(move || asking.inner().fetch_metadata(None, patience));
    let metadata = asked.await.map_err(|error| error.to_string())?;
    let metadata = Arc::new(metadata.map_err(|error| error.to_string())?);
    Ok(Brokers { admin, metadata })
}

/// The topics with what is wanted of each.
fn wanted(settings: &Settings) -> [(&str, Wanted); 6] {
    let topics = &settings.topics;
    let quarantine = settings.migrate.quarantine_max_message_bytes;
    [
        (&topics.rows, Wanted::Input { quarantine }),
        (&topics.payouts, Wanted::Input { quarantine }),
        (&topics.orders, Wanted::Input { quarantine }),
        (&topics.facts, Wanted::Input { quarantine }),
        (&topics.flagged, Wanted::Output),
        (&topics.quarantine, Wanted::Quarantine { least: quarantine }),
    ]
    .map(|(name, wanted)| (name.as_str(), wanted))
}

async fn topic(brokers: &Brokers, name: &str, wanted: Wanted) -> Outcome {
    let found = brokers
        .metadata
        .topics()
        .iter()
        .find(|topic| topic.name() == name);
    let partitions: Vec<_> = found.iter().flat_map(|topic| topic.partitions()).collect();
    if partitions.is_empty() {
        return Outcome::failed(
            "there is no such topic, or this client may not see it",
            "`redline migrate` makes it; or name another one under [topics]",
        );
    }
    let described = described(brokers, &ResourceSpecifier::Topic(name)).await;
    let Ok(described) = described else {
        return Outcome::warning(
            format!(
                "{}; its settings may not be read",
                counted(partitions.len() as u64, "partition", "partitions")
            ),
            "allow this client DESCRIBE_CONFIGS of the topic, or look at cleanup.policy yourself",
        );
    };
    let value = |name: &str| described.get(name).and_then(|entry| entry.value.clone());
    let copies = partitions
        .iter()
        .map(|partition| partition.replicas().len())
        .min();
    kafka_topics::judge(
        &Topic {
            partitions: partitions.len(),
            leaderless: partitions
                .iter()
                .filter(|partition| partition.leader() < 0)
                .count(),
            copies: copies.unwrap_or_default(),
            brokers: brokers.metadata.brokers().len(),
            cleanup_policy: value("cleanup.policy"),
            least_in_sync: value("min.insync.replicas").and_then(|text| text.parse().ok()),
            max_message_bytes: value("max.message.bytes").and_then(|text| text.parse().ok()),
        },
        wanted,
        name,
    )
}

async fn described(brokers: &Brokers, resource: &ResourceSpecifier<'_>) -> Result<ConfigResource, String> {
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    let answered = brokers.admin.describe_configs([resource], &options).await;
    let answered = answered.map_err(|error| error.to_string())?;
    match answered.into_iter().next() {
        Some(answer) => answer.map_err(|code| code.to_string()),
        None => Err("Kafka does not name it in its answer".to_owned()),
    }
}

/// Begins to work under a transactional id beside the relay's: under its own one the relay itself would be fenced off.
async fn transactions(report: &mut Report, settings: &Settings) -> anyhow::Result<Checked> {
    let id = format!("{}.doctor", settings.topics.flagged);
    let fix = "on fewer than three brokers set transaction.state.log.replication.factor and \
               transaction.state.log.min.isr to their number; allow the client to write under the transactional ids \
               that begin with the name of the topic of flags";
    let mut turns = Turns::new(settings.kafka.clone(), PATIENCE, id.clone());
    let begun = async {
        match turns.begin().await {
            Ok(_) => Outcome::ok("they come about; the relay publishes in them"),
            Err(error) => Outcome::failed(format!("none comes about under the id {id}: {error}"), fix),
        }
    };
    report.ask(SERVICE, "transactions", fix, begun).await
}
