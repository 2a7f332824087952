//! All settings: one documented file, environment variables over it, every key checked at the start.

mod connections;
mod origin;
#[cfg(test)]
mod reference;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::bail;
use figment::Figment;
use figment::error::Kind;
use figment::providers::{Env, Format, Serialized, Toml};
use redline_console::ConsoleSettings;
use redline_consumer::settings::{RelaySettings, WorkSettings};
use redline_producer::door::IngestSettings;
use redline_producer::kafka::KafkaSettings;
use redline_producer::sources::CollectSettings;
use redline_schemas::topics::Topics;
use redline_telemetry::logs::LogSettings;
use redline_telemetry::traces::TraceSettings;
use serde::Deserialize;

pub(crate) use self::connections::{DatabaseSettings, RedisSettings, RegistrySettings};
pub(crate) use self::origin::Origin;

/// Where the settings are when nobody says otherwise.
const DEFAULT_FILE: &str = "configs/redline.toml";

/// Variables that everybody knows, and the key that each of them sets.
const WELL_KNOWN: [(&str, &str); 10] = [
    ("KAFKA_BOOTSTRAP_SERVERS", "kafka.bootstrap_servers"),
    ("SCHEMA_REGISTRY_URL", "registry.url"),
    ("DATABASE_URL", "database.url"),
    ("REDIS_URL", "redis.url"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "traces.endpoint"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "traces.protocol"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "traces.headers"),
    ("OTEL_TRACES_SAMPLER", "traces.sampler"),
    ("OTEL_TRACES_SAMPLER_ARG", "traces.sample_ratio"),
    ("OTEL_SERVICE_NAME", "traces.service_name"),
];

/// All settings.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    pub(crate) kafka: KafkaSettings,
    pub(crate) registry: RegistrySettings,
    pub(crate) database: DatabaseSettings,
    pub(crate) redis: RedisSettings,
    pub(crate) topics: Topics,
    pub(crate) migrate: MigrateSettings,
    pub(crate) ingest: IngestSettings,
    pub(crate) console: ConsoleSettings,
    pub(crate) work: WorkSettings,
    pub(crate) relay: RelaySettings,
    pub(crate) retention: RetentionSettings,
    pub(crate) collect: BTreeMap<String, CollectSettings>,
    pub(crate) log: LogSettings,
    pub(crate) traces: TraceSettings,
}

/// The section `[migrate]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MigrateSettings {
    /// Partitions of topics that are made.
    pub(crate) partitions: i32,
    /// Copies of each partition.
    pub(crate) replication_factor: i32,
    /// The rule file that is recorded as the first one.
    pub(crate) rules: PathBuf,
    /// Greatest record of the quarantine topic in bytes; larger than that of the input topics.
    pub(crate) quarantine_max_message_bytes: u32,
}

impl Default for MigrateSettings {
    fn default() -> Self {
        Self {
            partitions: 12,
            replication_factor: 1,
            rules: PathBuf::from("configs/rules.toml"),
            quarantine_max_message_bytes: 8 * 1024 * 1024,
        }
    }
}

/// The section `[retention]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RetentionSettings {
    /// Months for which the contents of events are kept at least; 0 for ever.
    pub(crate) events_months: u32,
}

impl RetentionSettings {
    fn check(&self) -> Result<(), String> {
        const MOST: u32 = 1_200;
        match self.events_months {
            0..=MOST => Ok(()),
            months => Err(format!(
                "retention.events_months is {months}; 0 (for ever) to {MOST} are expected"
            )),
        }
    }
}

impl Settings {
    /// Reads the file and the environment.
    pub(crate) fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let mut figment = Figment::new();
        match origin::chosen_file(file) {
            Some(path) if !path.is_file() => bail!("the settings file {} does not exist", path.display()),
            Some(path) => figment = figment.merge(Toml::file_exact(path)),
            None => {}
        }
        figment = figment.merge(Env::prefixed("REDLINE_").filter(is_setting).split("__"));
        for (key, text) in connections::texts(std::env::vars()) {
            figment = figment.merge(Serialized::default(&key, text));
        }
        let properties = connections::properties(std::env::vars());
        figment = figment.merge(Serialized::default("kafka.client", properties));
        for (variable, key) in WELL_KNOWN {
            if let Ok(value) = std::env::var(variable)
                && !value.is_empty()
            {
                figment = figment.merge(Serialized::default(key, value));
            }
        }
        Self::extract(&figment)
    }

    /// Reads a file of another installation: the environment is about this one and says nothing about it.
    pub(crate) fn load_alone(file: &Path) -> anyhow::Result<Self> {
        if !file.is_file() {
            bail!("the settings file {} does not exist", file.display());
        }
        Self::extract(&Figment::new().merge(Toml::file_exact(file)))
    }

    fn extract(figment: &Figment) -> anyhow::Result<Self> {
        let mut settings: Self = figment.extract().map_err(explain)?;
        settings.read_secrets().map_err(anyhow::Error::msg)?;
        settings.check()?;
        Ok(settings)
    }

    /// How Kafka is reached by those who publish quarantined records: they may be larger than our own ever are, and carry
    /// headers on top. What `kafka.client` says wins.
    pub(crate) fn kafka_for_quarantined(&self, properties: &[(&str, &str)]) -> KafkaSettings {
        let mut kafka = self.kafka.clone();
        let bytes = self.migrate.quarantine_max_message_bytes.to_string();
        for (name, value) in [("message.max.bytes", bytes.as_str())].iter().chain(properties) {
            kafka
                .client
                .entry((*name).to_owned())
                .or_insert_with(|| (*value).to_owned());
        }
        kafka
    }

    fn read_secrets(&mut self) -> Result<(), String> {
        self.kafka.read_secrets()?;
        self.registry.read_secrets()?;
        self.database.read_secrets()?;
        self.redis.read_secrets()
    }

    fn check(&self) -> anyhow::Result<()> {
        self.relay.check().map_err(anyhow::Error::msg)?;
        self.work.check().map_err(anyhow::Error::msg)?;
        self.retention.check().map_err(anyhow::Error::msg)?;
        self.ingest.check().map_err(anyhow::Error::msg)?;
        self.console.check().map_err(anyhow::Error::msg)?;
        self.topics.check().map_err(anyhow::Error::msg)?;
        self.traces.check().map_err(anyhow::Error::msg)?;
        self.kafka.check().map_err(anyhow::Error::msg)?;
        self.registry.check()?;
        self.redis.check()?;
        self.database.check()?;
        let MigrateSettings {
            partitions,
            replication_factor,
            ..
        } = &self.migrate;
        if !(1..=1_000).contains(partitions) {
            bail!("migrate.partitions is {partitions}; 1 to 1000 are expected");
        }
        if !(1..=10).contains(replication_factor) {
            bail!("migrate.replication_factor is {replication_factor}; 1 to 10 are expected");
        }
        Ok(())
    }
}

/// Settings are `REDLINE_<SECTION>__<KEY>`; other variables with our prefix are not, and some are read as they stand.
fn is_setting(name: &figment::value::UncasedStr) -> bool {
    name.as_str().contains("__") && !connections::is_read_as_text(name.as_str())
}

/// One line a problem, each with its key and where it was set.
fn explain(errors: figment::Error) -> anyhow::Error {
    let lines: Vec<String> = errors
        .into_iter()
        .map(|error| {
            let key = error.path.join(".");
            let place = error
                .metadata
                .as_ref()
                .map_or_else(String::new, |from| format!(" (set {})", origin::told(from, &key)));
            // A syntax error quotes the line, which may hold a password.
            let kind = match connections::is_secret(&key) {
                true => "a text in quotes is expected".to_owned(),
                false => words(&error.kind),
            };
            let (first, last) = (
                kind.lines().next().unwrap_or_default(),
                kind.lines().next_back().unwrap_or_default(),
            );
            let kind = if first == last {
                first.to_owned()
            } else {
                format!("{first}: {last}")
            };
            match key.as_str() {
                "" => format!("{kind}{place}"),
                key => format!("{key}: {kind}{place}"),
            }
        })
        .collect();
    anyhow::anyhow!("the settings cannot be used: {}", lines.join("; "))
}

/// What is wrong with a value, or with a key that nobody has.
fn words(kind: &Kind) -> String {
    match kind {
        Kind::UnknownField(_, expected) => format!("unknown field; there are {}", expected.join(", ")),
        // figment puts its own marks around those of serde.
        kind => kind.to_string().replace("``", "`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Settings, String> {
        Figment::new()
            .merge(Toml::string(text))
            .extract()
            .map_err(|error| explain(error).to_string())
    }

    #[test]
    fn the_documented_file_holds_the_defaults() {
        let documented = load(include_str!("../../configs/redline.toml")).unwrap();
        let defaults = Settings::default();
        assert_eq!(format!("{:?}", documented.kafka), format!("{:?}", defaults.kafka));
        assert_eq!(documented.topics, defaults.topics);
        assert_eq!(documented.ingest, defaults.ingest);
        assert_eq!(documented.console, defaults.console);
        assert_eq!(documented.work, defaults.work);
        assert_eq!(documented.relay, defaults.relay);
        assert_eq!(documented.retention, defaults.retention);
        assert_eq!(documented.log, defaults.log);
        assert_eq!(documented.database.url(), defaults.database.url());
        assert_eq!(documented.redis.url(), defaults.redis.url());
        assert_eq!(format!("{:?}", documented.redis), format!("{:?}", defaults.redis));
        assert_eq!(
            format!("{:?}", documented.registry),
            format!("{:?}", defaults.registry)
        );
        assert_eq!(
            format!("{:?}", documented.migrate),
            format!("{:?}", defaults.migrate)
        );
        assert_eq!(
            format!("{:?}", documented.traces),
            format!("{:?}", defaults.traces)
        );
    }

    #[test]
    fn a_key_that_is_unknown_or_wrong_is_named() {
        for (text, part) in [
            ("[work]\nbatch = 1", "work.batch: unknown field"),
            ("[worker]", "worker: unknown field; there are kafka, registry,"),
            (
                "[work]\nbatch_records = \"many\"",
                "work.batch_records: invalid type",
            ),
            ("[ingest]\nlisten = \"nowhere\"", "ingest.listen:"),
            (
                "[traces]\nprotocol = \"http\"",
                "expected `grpc` or `http/protobuf`",
            ),
        ] {
            let error = load(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn what_a_type_cannot_say_is_checked_and_named() {
        for (text, part) in [
            ("[relay]\nbatch_messages = 0", "relay.batch_messages is 0; 1 to"),
            (
                "[work]\nlinger_milliseconds = 99999999",
                "work.linger_milliseconds is",
            ),
            (
                "[retention]\nevents_months = 1201",
                "retention.events_months is 1201; 0 (for ever) to",
            ),
            ("[topics]\nrows = \"\"", "topics.rows is \"\""),
            ("[topics]\nrows = \"a b\"", "topics.rows is \"a b\""),
            (
                "[topics]\nfacts = \"redline.rows\"",
                "topics.facts and topics.rows are both",
            ),
            ("[database]\nurl = \"mysql://u:hunter2@h/d\"", "database.url: "),
            ("[registry]\nurl = \"nowhere\"", "registry.url "),
            ("[migrate]\npartitions = 0", "migrate.partitions is 0"),
            (
                "[ingest]\nevents_burst = 4000000000",
                "ingest.events_burst is 4000000000; 1 to",
            ),
            ("[traces]\nendpoint = \"hunter2:4317\"", "traces.endpoint "),
            ("[traces]\nsample_ratio = 2", "traces.sample_ratio is 2; 0 to 1"),
            ("[console]\nconnections = 0", "console.connections is 0; 1 to"),
        ] {
            let error = format!("{:#}", load(text).unwrap().check().unwrap_err());
            assert!(error.contains(part) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn addresses_with_passwords_are_not_printed() {
        let settings =
            load("[database]\nurl = \"postgres://u:hunter2@h/d\"\n[redis]\nurl = \"redis://:hunter2@h/\"")
                .unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
        let error = load("[database]\nurl = \"postgres://u:hunter2@h/d").unwrap_err();
        assert!(error.contains("line 2") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn the_database_of_an_address_can_be_replaced() {
        let url = |text: &str| load(&format!("[database]\nurl = \"{text}\"")).unwrap().database;
        let replaced = |text: &str| {
            url(text)
                .with_database("other")
                .map(|database| database.url().to_owned())
        };
        assert_eq!(
            replaced("postgres://u@h:1/d?sslmode=disable").as_deref(),
            Some("postgres://u@h:1/other?sslmode=disable")
        );
        assert_eq!(replaced("postgres://u@h:1"), None);
    }
}
