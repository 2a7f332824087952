//! `redline migrate`: topics, schemas, database and first rules. Idempotent.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rdkafka::admin::{AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::types::RDKafkaErrorCode;
use redline_producer::kafka::{self, Admin};
use redline_schemas::registry::SchemaRegistry;
use redline_schemas::topics::subject;
use redline_store::rules;

use super::counted;
use super::rules as rule_file;
use crate::settings::Settings;
use crate::topics;

const KAFKA_PATIENCE: Duration = Duration::from_secs(30);

/// Brings everything up to this version, saying what it did.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let rules_file = &settings.migrate.rules;
    let (text, _) = rule_file::read(rules_file)
        .context("migrate.rules")?
        .with_context(|| rules_file.display().to_string())?;

    migrate(
        settings,
        &text,
        &rules_file.display().to_string(),
        &mut std::io::stdout(),
    )
    .await
}

/// The same with the text of a rule file and without a word.
pub(crate) async fn run_quietly(settings: &Settings, rules: &str) -> anyhow::Result<()> {
    migrate(settings, rules, "rules", &mut std::io::sink()).await
}

async fn migrate(
    settings: &Settings,
    rules_text: &str,
    rules_name: &str,
    out: &mut (impl std::io::Write + Send),
) -> anyhow::Result<()> {
    let alone = redline_store::migrate_alone(settings.database.url()).await?;
    register_schemas(settings, out).await?;
    make_topics(settings, out).await?;
    let migrations = redline_store::migrate(settings.database.url()).await?;
    writeln!(
        out,
        "database: schema redline is in place ({})",
        counted(migrations, "migration", "migrations")
    )?;

    let pool = redline_store::pool(settings.database.url(), "migrate", 1)?;
    if rules::record_first(&pool, rules_text).await? {
        writeln!(out, "rules: {rules_name} is recorded as the first rule set")?;
    } else {
        writeln!(
            out,
            "rules: there are recorded rules already; {rules_name} was left alone"
        )?;
    }
    drop(alone);
    Ok(())
}

async fn register_schemas(settings: &Settings, out: &mut (impl std::io::Write + Send)) -> anyhow::Result<()> {
    let registry = settings.registry.client()?;
    for (topic, schema) in topics::with_schemas(&settings.topics) {
        let subject = subject(topic);
        let schema_id = registry.register(&subject, schema).await?;
        writeln!(
            out,
            "schema: {subject} is registered as {schema_id}, FULL_TRANSITIVE"
        )?;
    }
    Ok(())
}

async fn make_topics(settings: &Settings, out: &mut (impl std::io::Write + Send)) -> anyhow::Result<()> {
    // The client that makes topics tells nothing about its connections; this one does.
    kafka::reach(&settings.kafka, KAFKA_PATIENCE).await?;
    let admin = kafka::admin(&settings.kafka).await?;
    let options = AdminOptions::new()
        .request_timeout(Some(KAFKA_PATIENCE))
        .operation_timeout(Some(KAFKA_PATIENCE));
    let quarantine_bytes = settings.migrate.quarantine_max_message_bytes.to_string();
    let names = topics::all(&settings.topics);
    let wanted: Vec<NewTopic<'_>> = names
        .iter()
        .map(|name| {
            let replication = TopicReplication::Fixed(settings.migrate.replication_factor);
            let topic =
                NewTopic::new(name, settings.migrate.partitions, replication).set("cleanup.policy", "delete");
            if *name == &settings.topics.quarantine {
                topic.set("max.message.bytes", &quarantine_bytes)
            } else {
                topic
            }
        })
        .collect();
    let results = admin
        .create_topics(&wanted, &options)
        .await
        .context("Kafka cannot be reached (kafka.bootstrap_servers)")?;
    let mut refusals = Vec::new();
    for result in results {
        match result {
            Ok(name) => writeln!(
                out,
                "topic: {name} was made with {}",
                counted(settings.migrate.partitions, "partition", "partitions")
            )?,
            Err((name, RDKafkaErrorCode::TopicAlreadyExists)) => {
                writeln!(out, "topic: {name} is there already")?;
            }
            Err((name, code)) => refusals.push(format!("topic {name} cannot be made: {code}")),
        }
    }
    for name in names {
        let least_bytes =
            (name == &settings.topics.quarantine).then_some(settings.migrate.quarantine_max_message_bytes);
        refusals.extend(unfit(&admin, name, least_bytes, &options).await?);
    }
    if !refusals.is_empty() {
        bail!("{}", refusals.join("; "));
    }
    Ok(())
}

/// Why a topic cannot be used as it is set: compaction would drop all but the latest record of a key; a quarantined
/// record is larger than the record it holds.
async fn unfit(
    admin: &Admin,
    topic: &str,
    least_bytes: Option<u32>,
    options: &AdminOptions,
) -> anyhow::Result<Vec<String>> {
    let resource = described(admin, topic, options)
        .await
        .with_context(|| format!("the settings of topic {topic} cannot be read"))?;
    let value = |name: &str| resource.get(name).and_then(|entry| entry.value.clone());
    let mut reasons = Vec::new();
    if value("cleanup.policy").is_some_and(|policy| policy.contains("compact")) {
        reasons.push(format!(
            "topic {topic} is compacted, which loses all but the latest record of a key; set its cleanup.policy \
             to delete"
        ));
    }
    let bytes = value("max.message.bytes").and_then(|text| text.parse::<u32>().ok());
    if let (Some(bytes), Some(least)) = (bytes, least_bytes)
        && bytes < least
    {
        reasons.push(format!(
            "topic {topic} takes records of {bytes} bytes at most; set its max.message.bytes to {least} \
             (migrate.quarantine_max_message_bytes) or more"
        ));
    }
    Ok(reasons)
}

/// The settings of a topic. A broker that has not heard yet of a topic that was just made is asked again.
async fn described(admin: &Admin, topic: &str, options: &AdminOptions) -> anyhow::Result<ConfigResource> {
    const PAUSE: Duration = Duration::from_millis(100);
    let began = Instant::now();
    loop {
        let answered = admin
            .describe_configs([&ResourceSpecifier::Topic(topic)], options)
            .await?;
        match answered.into_iter().next() {
            Some(Ok(resource)) => return Ok(resource),
            Some(Err(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic))
                if began.elapsed() < KAFKA_PATIENCE => {}
            Some(Err(code)) => bail!("Kafka answers: {code}"),
            None => bail!("Kafka does not name it in its answer"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
