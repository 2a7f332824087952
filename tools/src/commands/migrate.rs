//! `redline migrate`: topics, schemas, database and first rules. Idempotent.

use std::fs;
use std::time::Duration;

use anyhow::{Context, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::types::RDKafkaErrorCode;
use redline_domain::rules::RuleSet;
use redline_schemas::avro;
use redline_schemas::registry::SchemaRegistry;
use redline_schemas::topics::subject;
use redline_store::rules;

use crate::settings::Settings;

const KAFKA_PATIENCE: Duration = Duration::from_secs(30);

/// Brings everything up to this version, saying what it did.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let rules_file = &settings.migrate.rules;
    let text = fs::read_to_string(rules_file).with_context(|| {
        format!(
            "the rule file {} cannot be read (migrate.rules)",
            rules_file.display()
        )
    })?;
    let set = RuleSet::parse(&text).with_context(|| rules_file.display().to_string())?;

    migrate(
        settings,
        &text,
        &rules_file.display().to_string(),
        set.not_judged(),
        &mut std::io::stdout(),
    )
    .await
}

/// The same with the text of a rule file and without a word.
pub(crate) async fn run_quietly(settings: &Settings, rules: &str) -> anyhow::Result<()> {
    migrate(settings, rules, "rules", &[], &mut std::io::sink()).await
}

async fn migrate(
    settings: &Settings,
    rules_text: &str,
    rules_name: &str,
    not_judged: &[String],
    out: &mut (impl std::io::Write + Send),
) -> anyhow::Result<()> {
    for line in register_schemas(settings).await? {
        writeln!(out, "{line}")?;
    }
    for line in make_topics(settings).await? {
        writeln!(out, "{line}")?;
    }
    let migrations = redline_store::migrate(settings.database.url()).await?;
    writeln!(
        out,
        "database: schema redline is in place ({migrations} migration{})",
        plural(migrations)
    )?;

    let pool = redline_store::pool(settings.database.url(), "migrate", 1)?;
    if rules::record_first(&pool, rules_text).await? {
        writeln!(out, "rules: {rules_name} is recorded as the first rule set")?;
        for key in not_judged {
            writeln!(out, "rules: {key} is known and not judged by this version yet")?;
        }
    } else {
        writeln!(
            out,
            "rules: there are recorded rules already; {rules_name} was left alone"
        )?;
    }
    Ok(())
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

async fn register_schemas(settings: &Settings) -> anyhow::Result<Vec<String>> {
    let topics = &settings.topics;
    let registry = settings.registry.client()?;
    let mut lines = Vec::new();
    for (topic, schema) in [
        (&topics.rows, avro::ROW_SCHEMA),
        (&topics.payouts, avro::PAYOUT_SCHEMA),
        (&topics.orders, avro::ORDER_SCHEMA),
        (&topics.facts, avro::FACT_SCHEMA),
        (&topics.flagged, avro::FLAG_SCHEMA),
    ] {
        let subject = subject(topic);
        let schema_id = registry.register(&subject, schema).await?;
        lines.push(format!(
            "schema: {subject} is registered as {schema_id}, FULL_TRANSITIVE"
        ));
    }
    Ok(lines)
}

async fn make_topics(settings: &Settings) -> anyhow::Result<Vec<String>> {
    let topics = &settings.topics;
    let admin: AdminClient<DefaultClientContext> = settings.kafka.client_config().create()?;
    let options = AdminOptions::new()
        .request_timeout(Some(KAFKA_PATIENCE))
        .operation_timeout(Some(KAFKA_PATIENCE));
    let quarantine_bytes = settings.migrate.quarantine_max_message_bytes.to_string();
    let names = [
        &topics.rows,
        &topics.payouts,
        &topics.orders,
        &topics.facts,
        &topics.flagged,
        &topics.quarantine,
    ];
    let wanted: Vec<NewTopic<'_>> = names
        .iter()
        .map(|name| {
            let replication = TopicReplication::Fixed(settings.migrate.replication_factor);
            let topic =
                NewTopic::new(name, settings.migrate.partitions, replication).set("cleanup.policy", "delete");
            if *name == &topics.quarantine {
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
    let mut lines = Vec::new();
    for result in results {
        match result {
            Ok(name) => lines.push(format!(
                "topic: {name} was made with {} partitions",
                settings.migrate.partitions
            )),
            Err((name, RDKafkaErrorCode::TopicAlreadyExists)) => {
                lines.push(format!("topic: {name} is there already"))
            }
            Err((name, code)) => bail!("topic {name} cannot be made: {code}"),
        }
    }
    refuse_compaction(&admin, &topics.flagged, &options).await?;
    Ok(lines)
}

/// Flags of one entity share a key: compaction would drop all but the latest.
async fn refuse_compaction(
    admin: &AdminClient<DefaultClientContext>,
    topic: &str,
    options: &AdminOptions,
) -> anyhow::Result<()> {
    let described = admin
        .describe_configs([&ResourceSpecifier::Topic(topic)], options)
        .await?;
    for resource in described {
        let resource =
            resource.map_err(|code| anyhow::anyhow!("topic {topic} cannot be described: {code}"))?;
        let policy = resource
            .get("cleanup.policy")
            .and_then(|entry| entry.value.as_deref())
            .unwrap_or("delete");
        if policy.contains("compact") {
            bail!("topic {topic} is compacted, which would lose flags; set its cleanup.policy to delete");
        }
    }
    Ok(())
}
