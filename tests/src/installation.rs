//! One isolated Redline: its own database, topics, consumer group and marks, and processes of the real binary.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redline_schemas::avro::encode_event;
use redline_schemas::topics::{Topics, partition_of, subject};
use redline_schemas::{Event, EventKind};
use sqlx::{PgPool, Row as _};

use crate::database;
use crate::door::Door;
use crate::kafka::{Kafka, Raw};
use crate::process::{self, Ended, Process};
use crate::registry::Registry;
use crate::services::Services;
use crate::settings::{self, Texts};
use crate::wait::until;

/// How long a one-shot command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);
/// How long a role may take to stop when it is told to.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Lines of each log that a failing test shows.
const TAIL_LINES: usize = 40;

/// What an installation is to be like.
#[derive(Clone, Debug)]
pub struct Plan {
    name: String,
    partitions: i32,
    rows_are_shared: bool,
    texts: Texts,
    services: Option<Services>,
}

impl Plan {
    /// A plan with the example rules and 3 partitions a topic. The name is for people: letters, digits, `-`.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            partitions: 3,
            rows_are_shared: false,
            texts: Texts {
                rules: settings::example_rules(),
                more: String::new(),
            },
            services: None,
        }
    }

    /// So many partitions for every topic.
    #[must_use]
    pub fn partitions(mut self, partitions: i32) -> Self {
        self.partitions = partitions;
        self
    }

    /// One partition for orders and one for payouts, which such a test leaves empty: then whatever way a group
    /// balances partitions, two workers have rows to read.
    #[must_use]
    pub fn rows_are_shared(mut self) -> Self {
        self.rows_are_shared = true;
        self
    }

    /// Other rules.
    #[must_use]
    pub fn rules(mut self, rules: &str) -> Self {
        rules.clone_into(&mut self.texts.rules);
        self
    }

    /// Further sections of the settings file.
    #[must_use]
    pub fn settings(mut self, more: &str) -> Self {
        more.clone_into(&mut self.texts.more);
        self
    }

    /// Other services than those that the environment names.
    #[must_use]
    pub fn on(mut self, services: Services) -> Self {
        self.services = Some(services);
        self
    }

    /// Makes it, without `redline migrate`.
    pub async fn unmigrated(self) -> Installation {
        Installation::make(self).await
    }

    /// Makes it, with `redline migrate`.
    pub async fn make(self) -> Installation {
        let rows_are_shared = self.rows_are_shared;
        let installation = self.unmigrated().await;
        if rows_are_shared {
            for topic in [&installation.topics.orders, &installation.topics.payouts] {
                installation.kafka.create_topic(topic, 1, &[]).await;
            }
        }
        installation.migrate().await;
        installation
    }
}

/// One isolated Redline. It is removed by [`Self::remove`], and kept, with a word about where, when a test fails.
pub struct Installation {
    /// Where the services are.
    pub services: Services,
    /// Kafka, as a foreign client sees it.
    pub kafka: Kafka,
    /// The registry, as a foreign client sees it.
    pub registry: Registry,
    /// Its database.
    pub pool: PgPool,
    /// The address of its database.
    pub database_url: String,
    /// Its topics.
    pub topics: Topics,
    /// Its unique name: that of the consumer group too, the first part of the topics' names, and with a colon the
    /// prefix of its marks in Redis.
    pub name: String,
    /// Partitions of every topic, as planned.
    pub partitions: i32,
    folder: PathBuf,
    settings: PathBuf,
    started: Cell<usize>,
    removed: bool,
}

impl Installation {
    async fn make(plan: Plan) -> Self {
        let services = plan.services.clone().unwrap_or_else(Services::from_environment);
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let name = format!("{}-{}", plan.name, &unique[..8]);
        let folder = std::env::temp_dir().join(format!("redline-test-{name}"));
        fs::create_dir(&folder).expect("a temporary folder can be made");
        let database_url = database::create(&services.database, &name).await;
        let settings = settings::write(
            &folder,
            &name,
            plan.partitions,
            &services,
            &database_url,
            &plan.texts,
        );
        Self {
            kafka: Kafka::new(&services.kafka),
            registry: Registry::new(&services.registry),
            pool: database::pool(&database_url),
            topics: settings::topics(&name),
            partitions: plan.partitions,
            services,
            database_url,
            name,
            folder,
            settings,
            started: Cell::new(0),
            removed: false,
        }
    }

    /// Its settings file.
    pub fn settings(&self) -> &Path {
        &self.settings
    }

    /// A temporary folder of its own, for files that a test hands to the binary.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn command(&self, arguments: &[&str], variables: &[(&str, &str)]) -> std::process::Command {
        self.command_of(&self.services.binary, arguments, variables)
    }

    fn command_of(
        &self,
        binary: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> std::process::Command {
        let mut command = process::command(binary);
        command
            .arg("--config")
            .arg(&self.settings)
            .args(arguments)
            .envs(variables.iter().copied());
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(arguments, &[]).await
    }

    /// Runs a command to its end, with variables such as `REDLINE_WORK__GROUP` over its settings.
    pub async fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
        let mut command = tokio::process::Command::from(self.command(arguments, variables));
        command.kill_on_drop(true);
        let output = tokio::time::timeout(COMMAND_LIMIT, command.output())
            .await
            .unwrap_or_else(|_| panic!("`redline {}` does not end", arguments.join(" ")))
            .expect("setpriv (package util-linux) starts the binary");
        Ended {
            code: process::code(output.status),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a command that must succeed; answers its standard output.
    pub async fn succeed(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments).await;
        assert_eq!(
            ended.code,
            0,
            "`redline {}` fails: {}{}",
            arguments.join(" "),
            ended.stdout,
            ended.stderr
        );
        ended.stdout
    }

    /// `redline migrate`; answers what it says.
    pub async fn migrate(&self) -> String {
        self.succeed(&["migrate"]).await
    }

    /// Starts a role, with variables such as `REDLINE_WORK__BATCH_RECORDS` or `SCHEMA_REGISTRY_URL` over its
    /// settings.
    pub fn start(&self, role: &str, variables: &[(&str, &str)]) -> Process {
        self.start_other(&self.services.binary, role, variables)
    }

    /// Starts a command that a test will not let come to its end.
    pub fn start_command(&self, arguments: &[&str]) -> Process {
        let name = arguments.first().copied().unwrap_or("redline");
        Process::start(self.command(arguments, &[]), self.next_log(name))
    }

    /// Starts a role with another binary, such as that of the version before.
    pub fn start_other(&self, binary: &Path, role: &str, variables: &[(&str, &str)]) -> Process {
        Process::start(self.command_of(binary, &[role], variables), self.next_log(role))
    }

    /// Where the next process writes.
    fn next_log(&self, name: &str) -> PathBuf {
        let number = self.started.get() + 1;
        self.started.set(number);
        self.folder.join(format!("{number}-{name}.log"))
    }

    /// Starts `redline work`.
    pub fn work(&self) -> Process {
        self.start("work", &[])
    }

    /// Starts `redline relay`.
    pub fn relay(&self) -> Process {
        self.start("relay", &[])
    }

    /// Starts `redline ingest` and waits until it listens; its client has a key for all scopes.
    pub async fn ingest(&self) -> Door {
        self.ingest_with(&[]).await
    }

    /// The same with variables over its settings.
    pub async fn ingest_with(&self, variables: &[(&str, &str)]) -> Door {
        let key = self.key(&["rows", "facts", "approvals", "read"]).await;
        Door::open(self.start("ingest", variables), key).await
    }

    /// Starts `redline serve`, all roles in one process, and waits until its door listens.
    pub async fn serve(&self) -> Door {
        let key = self.key(&["rows", "facts", "approvals", "read"]).await;
        Door::open(self.start("serve", &[]), key).await
    }

    /// Makes an API key.
    pub async fn key(&self, scopes: &[&str]) -> String {
        let name = format!("key-{}", uuid::Uuid::new_v4().simple());
        let printed = self
            .succeed(&["key", "create", &name, "--scope", &scopes.join(",")])
            .await;
        printed.trim().to_owned()
    }

    /// Makes an API key for one source only.
    pub async fn key_of_source(&self, scopes: &[&str], source: &str) -> String {
        let name = format!("key-{}", uuid::Uuid::new_v4().simple());
        let scopes = scopes.join(",");
        let arguments = ["key", "create", &name, "--scope", &scopes, "--source", source];
        self.succeed(&arguments).await.trim().to_owned()
    }

    /// The id under which events of a kind are written.
    pub async fn schema_id(&self, kind: EventKind) -> u32 {
        self.registry.latest_id(&subject(self.topics.of(kind))).await
    }

    /// An event as our own producer writes it. Nothing is checked, so it may break the contract.
    ///
    /// # Panics
    /// When it does not follow the schema.
    pub fn raw(&self, event: &Event, schema_id: u32) -> Raw {
        let key = event.entity().kafka_key().into_bytes();
        Raw {
            topic: self.topics.of(event.kind()).to_owned(),
            partition: Some(partition_of(&key, self.partitions)),
            key: Some(key),
            value: Some(encode_event(schema_id, event).expect("an event follows its schema")),
            headers: Vec::new(),
        }
    }

    /// Produces rows as our own producer does.
    pub async fn produce_rows(&self, rows: &[Event]) {
        let schema_id = self.schema_id(EventKind::Row).await;
        let raws = rows.iter().map(|row| self.raw(row, schema_id)).collect();
        self.kafka.produce_all(raws).await;
    }

    /// Produces events and facts as our own producer does, in this order.
    pub async fn produce(&self, events: &[Event]) {
        let mut schema_ids = BTreeMap::new();
        let mut raws = Vec::with_capacity(events.len());
        for event in events {
            let kind = event.kind();
            if let std::collections::btree_map::Entry::Vacant(entry) = schema_ids.entry(kind) {
                entry.insert(self.schema_id(kind).await);
            }
            raws.push(self.raw(event, schema_ids[&kind]));
        }
        self.kafka.produce_all(raws).await;
    }

    /// A connection to its Redis.
    pub async fn redis(&self) -> redis::aio::MultiplexedConnection {
        redis::Client::open(self.services.redis.as_str())
            .expect("REDIS_URL is of the form redis://host:port/")
            .get_multiplexed_async_connection()
            .await
            .expect("Redis answers")
    }

    /// Waits until so many workers at least own a partition of rows.
    pub async fn wait_for_owners(&self, workers: i64, limit: Duration) {
        until("the workers share the partitions of rows", limit, async || {
            let rows = sqlx::query(
                "select owner::text, count(*) from redline.positions
                 where topic = $1 and superseded_at is null and owner is not null group by owner",
            )
            .bind(&self.topics.rows)
            .fetch_all(&self.pool)
            .await
            .map_err(|error| error.to_string())?;
            let owners: Vec<(String, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
            if i64::try_from(owners.len()).is_ok_and(|count| count >= workers) {
                return Ok(());
            }
            Err(format!(
                "the owners, with their numbers of partitions, are {owners:?}"
            ))
        })
        .await;
    }

    /// Waits until every record of the input topics is recorded.
    pub async fn wait_recorded(&self, limit: Duration) {
        until("every record is recorded", limit, async || self.recorded().await).await;
    }

    /// Waits until every record of the input topics is recorded, nothing has to be derived again and the outbox is empty.
    pub async fn wait_quiet(&self, limit: Duration) {
        until("it is quiet", limit, async || {
            self.recorded().await?;
            let dirty = self
                .count(
                    "select (select count(*) from redline.dirty_entities)
                        + (select count(*) from redline.state_keys where dirty_since is not null)",
                )
                .await;
            if dirty > 0 {
                return Err(format!(
                    "{dirty} entities and state keys have to be derived again"
                ));
            }
            let waiting = self.count("select count(*) from redline.outbox").await;
            if waiting > 0 {
                return Err(format!("{waiting} messages wait in the outbox"));
            }
            Ok(())
        })
        .await;
    }

    /// Whether the positions of all partitions stand at Kafka's log ends.
    async fn recorded(&self) -> Result<(), String> {
        let rows = sqlx::query(
            "select topic, partition, next_offset from redline.positions where superseded_at is null",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(|error| error.to_string())?;
        let positions: BTreeMap<(String, i32), i64> = rows
            .iter()
            .map(|row| ((row.get(0), row.get(1)), row.get(2)))
            .collect();
        for kind in EventKind::ALL {
            let topic = self.topics.of(kind);
            for (partition, (_, end)) in self.kafka.log_ends(topic).await {
                let position = positions.get(&(topic.to_owned(), partition)).copied();
                if position.unwrap_or(0) != end {
                    return Err(format!(
                        "partition {partition} of {topic} stands at {position:?} of {end}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// The number that a query answers.
    pub async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query)
            .fetch_one(&self.pool)
            .await
            .unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    /// Executes statements in its database, whatever they damage.
    pub async fn execute(&self, statements: &'static str) {
        sqlx::raw_sql(statements)
            .execute(&self.pool)
            .await
            .unwrap_or_else(|error| panic!("{statements}: {error}"));
    }

    /// The texts that a query answers, in its order; null is empty.
    pub async fn texts(&self, query: &'static str) -> Vec<String> {
        let rows: Vec<Option<String>> = sqlx::query_scalar(query)
            .fetch_all(&self.pool)
            .await
            .unwrap_or_else(|error| panic!("{query}: {error}"));
        rows.into_iter().map(Option::unwrap_or_default).collect()
    }

    /// Tells processes to stop and expects that each exits with 0.
    pub async fn stop(&self, processes: Vec<Process>) {
        for process in processes {
            let log = process.log();
            let code = process.terminate(STOP_LIMIT).await;
            assert_eq!(code, 0, "a process that is told to stop fails:\n{log}");
        }
    }

    /// Leaves everything of it for somebody to look at, and says where.
    pub fn keep(mut self) {
        self.removed = true;
        self.tell_where();
    }

    /// Removes everything of it; its processes must have ended.
    pub async fn remove(mut self) {
        self.removed = true;
        self.pool.close().await;
        database::drop(&self.services.database, &self.name).await;
        let topics = &self.topics;
        let names = [
            topics.rows.as_str(),
            &topics.payouts,
            &topics.orders,
            &topics.facts,
            &topics.flagged,
            &topics.quarantine,
        ];
        self.kafka.delete_topics(&names).await;
        for name in names {
            self.registry.forget(&subject(name)).await;
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        if self.removed {
            return;
        }
        if !std::thread::panicking() {
            eprintln!("{} was not removed: call `remove` at a test's end", self.name);
            return;
        }
        self.tell_where();
    }
}

impl Installation {
    /// Says where it is, and shows the last lines of every log.
    fn tell_where(&self) {
        eprintln!(
            "\n{} is kept: {} and the database {}",
            self.name,
            self.folder.display(),
            self.database_url
        );
        let mut logs: Vec<PathBuf> = fs::read_dir(&self.folder)
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        logs.sort();
        for log in logs
            .iter()
            .filter(|path| path.extension().is_some_and(|end| end == "log"))
        {
            let text = fs::read(log).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
            eprintln!("--- {} ({} lines)\n{tail}", log.display(), lines.len());
        }
    }
}
