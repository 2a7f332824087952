//! A worker: the steps of the pipeline, in the order of the data.
//!
//! ```text
//! kafka (thread) -> batches -> decode -> batches -> record (one transaction) -> mark -> commit offsets
//! ```
//!
//! Every channel holds one batch, so that the next one is read and decoded while this one is recorded, and
//! memory stays bounded by a handful of batches.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use redline_producer::kafka::KafkaSettings;
use redline_schemas::avro::FLAG_SCHEMA;
use redline_schemas::registry::{RegistryError, SchemaRegistry};
use redline_schemas::topics::{Topics, subject};
use redline_store::positions::KafkaPartition;
use redline_store::sqlx::PgConnection;
use redline_store::{Class, StoreError, Timeouts, recording_connection, rules};
use tokio::sync::mpsc as channels;
use tokio_util::sync::CancellationToken;

use crate::batch::{Batch, Decoded, RawRecord};
use crate::decode::{decode, is_retried, schema_ids};
use crate::deduplicate::Marks;
use crate::incarnation::Incarnations;
use crate::kafka::{Command, InFlight, Poller, Request};
use crate::recorder::{Destinations, Errand, RecordError, Recorder};
use crate::settings::WorkSettings;
use crate::writers::WriterSchemas;

/// How long Kafka may take to answer about its topics.
const KAFKA_PATIENCE: Duration = Duration::from_secs(5);
/// Pause before a service that is away is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a worker ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// A setting is wrong.
    #[error("{0}")]
    Setting(String),
    /// `redline migrate` has not run.
    #[error("{0} is not there yet; run `redline migrate`")]
    NotMigrated(String),
    /// Kafka's client cannot be made.
    #[error("Kafka: {0}")]
    Kafka(#[from] rdkafka::error::KafkaError),
    /// The registry refuses.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Postgres or the record in it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Recording ended.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A task ended without saying why.
    #[error("a part of the worker ended unexpectedly: {0}")]
    Ended(String),
}

/// Everything that a worker needs from outside.
pub struct Worker<R, M> {
    /// How Kafka is reached.
    pub kafka: KafkaSettings,
    /// The names of the topics.
    pub topics: Topics,
    /// Address of Postgres.
    pub database_url: String,
    /// The schema registry.
    pub registry: R,
    /// Marks of contents that were recorded.
    pub marks: M,
    /// The section `[work]`.
    pub settings: WorkSettings,
}

impl<R, M> Worker<R, M>
where
    R: SchemaRegistry + Send + Sync + 'static,
    M: Marks + Sync + 'static,
{
    /// Works until told to stop: then what is in flight is recorded, and the partitions are given up.
    ///
    /// # Errors
    /// What somebody has to mend. Services that are away are waited for.
    pub async fn run(self, stop: CancellationToken) -> Result<(), WorkError> {
        self.settings.check().map_err(WorkError::Setting)?;
        let Some((flag_schema_id, rules)) = self.prepare(&stop).await? else {
            return Ok(());
        };
        let admin: AdminClient<DefaultClientContext> = self.kafka.client_config().create()?;
        let incarnations = Incarnations::new(admin);

        let (commands, commands_in) = mpsc::channel::<Command>();
        let (requests, requests_in) = channels::unbounded_channel::<Request>();
        let (raw, raw_in) = channels::channel::<Batch<RawRecord>>(1);
        let (decoded, decoded_in) = channels::channel::<Batch<Decoded>>(1);
        let (errands, errands_in) = channels::channel::<Errand>(16);
        let in_flight = Arc::new(InFlight::default());
        let own = self.topics.clone();
        let topics = [own.rows.as_str(), &own.payouts, &own.orders];
        let recheck = Duration::from_secs(self.settings.stopped_recheck_seconds);

        let group = self.settings.group.clone();
        let client_id = format!("redline-work-{}", uuid::Uuid::new_v4());
        let mut config = self.kafka.client_config();
        config.set("client.id", &client_id);
        let poller = Poller::new(
            config,
            &topics,
            commands_in,
            requests,
            raw,
            Arc::clone(&in_flight),
            self.settings.clone(),
            tokio::runtime::Handle::current(),
            stop.clone(),
        )?;
        let recorder = Recorder::new(
            self.database_url,
            self.settings,
            self.marks,
            rules,
            Destinations {
                flagged: self.topics.flagged.clone(),
                quarantine: self.topics.quarantine.clone(),
                flag_schema_id,
            },
            self.topics,
            commands.clone(),
            Arc::clone(&in_flight),
            stop.clone(),
        );

        let recording = tokio::spawn(recorder.run(decoded_in, errands_in));
        let opening = tokio::spawn(open_partitions(
            requests_in,
            errands,
            commands.clone(),
            incarnations.clone(),
            self.kafka.client_config().create()?,
        ));
        let watching = tokio::spawn(watch_kafka(
            topics.map(str::to_owned).to_vec(),
            group,
            client_id,
            recheck,
            incarnations.clone(),
            self.kafka.client_config().create()?,
            commands.clone(),
        ));
        let decoding = tokio::spawn(decode_batches(
            raw_in,
            decoded,
            WriterSchemas::new(self.registry),
            incarnations,
            commands,
            in_flight,
        ));
        // When recording ends by itself, nothing else goes on.
        let watched = stop.clone();
        let recording = tokio::spawn(async move {
            let result = recording.await;
            watched.cancel();
            result
        });
        let polling = tokio::task::spawn_blocking(move || poller.run());
        let ended = |error: tokio::task::JoinError| WorkError::Ended(error.to_string());
        polling.await.map_err(ended)?;
        // What these still wait for, a registry or a broker, is of no use any more: the partitions are given up.
        decoding.abort();
        opening.abort();
        watching.abort();
        recording.await.map_err(ended)?.map_err(ended)??;
        Ok(())
    }

    /// Waits for registry and Postgres, and reads what was migrated; none when told to stop meanwhile.
    async fn prepare(
        &self,
        stop: &CancellationToken,
    ) -> Result<Option<(u32, redline_domain::rules::RuleBook)>, WorkError> {
        let flag_schema_id = loop {
            match self
                .registry
                .schema_id(&subject(&self.topics.flagged), FLAG_SCHEMA)
                .await
            {
                Ok(Some(schema_id)) => break schema_id,
                Ok(None) => {
                    return Err(WorkError::NotMigrated(format!(
                        "the schema of {}",
                        self.topics.flagged
                    )));
                }
                Err(error @ RegistryError::Refused { .. }) => return Err(error.into()),
                Err(error) => tracing::warn!(%error, "waiting for the schema registry"),
            }
            if pause(stop).await {
                return Ok(None);
            }
        };
        loop {
            match load_rules(&self.database_url).await {
                Ok(book) if book.is_empty() => {
                    return Err(WorkError::NotMigrated("the first rule set".to_owned()));
                }
                Ok(book) => return Ok(Some((flag_schema_id, book))),
                Err(error) if error.is_not_migrated() => {
                    return Err(WorkError::NotMigrated("the database schema".to_owned()));
                }
                Err(error) if error.class() == Class::Stop => return Err(error.into()),
                Err(error) => tracing::warn!(%error, "waiting for Postgres"),
            }
            if pause(stop).await {
                return Ok(None);
            }
        }
    }
}

/// Pauses before something is asked again; answers whether the worker was told to stop.
async fn pause(stop: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(PAUSE) => false,
        () = stop.cancelled() => true,
    }
}

async fn load_rules(database_url: &str) -> Result<redline_domain::rules::RuleBook, StoreError> {
    let mut connection: PgConnection =
        recording_connection(database_url, "work", Timeouts::default()).await?;
    redline_store::ensure_event_partitions(&mut connection).await?;
    rules::load_book(&mut connection).await
}

/// Looks at Kafka from outside of the consumer now and then: tells the Kafka side the topics' ids, and when Kafka has
/// not counted this worker among the group's members for a minute. Kafka that is away has nothing to tell.
async fn watch_kafka(
    topics: Vec<String>,
    group: String,
    client_id: String,
    pause: Duration,
    incarnations: Incarnations,
    client: AdminClient<DefaultClientContext>,
    commands: mpsc::Sender<Command>,
) {
    const PATIENCE: Duration = Duration::from_secs(60);
    let client = Arc::new(client);
    let mut absent_since: Option<tokio::time::Instant> = None;
    loop {
        tokio::time::sleep(pause).await;
        if let Ok(ids) = incarnations.of(topics.clone(), KAFKA_PATIENCE).await
            && commands.send(Command::TopicIds(ids)).is_err()
        {
            return;
        }
        absent_since = match is_member(&client, &group, &client_id).await {
            Some(false) => absent_since.or_else(|| Some(tokio::time::Instant::now())),
            Some(true) => None,
            None => absent_since,
        };
        if absent_since.is_some_and(|since| since.elapsed() >= PATIENCE) {
            let _ = commands.send(Command::NotAMember);
            absent_since = None;
        }
    }
}

/// Whether a client is a member of a group; none when Kafka does not say.
async fn is_member(
    client: &Arc<AdminClient<DefaultClientContext>>,
    group: &str,
    client_id: &str,
) -> Option<bool> {
    let (client, group, client_id) = (Arc::clone(client), group.to_owned(), client_id.to_owned());
    let asked = tokio::task::spawn_blocking(move || {
        let list = client
            .inner()
            .fetch_group_list(Some(&group), KAFKA_PATIENCE)
            .ok()?;
        let mut members = list.groups().iter().flat_map(|group| group.members());
        Some(members.any(|member| member.client_id() == client_id))
    });
    asked.await.ok().flatten()
}

/// Learns how Kafka has each assigned partition now, and has it opened.
async fn open_partitions(
    mut requests: channels::UnboundedReceiver<Request>,
    errands: channels::Sender<Errand>,
    commands: mpsc::Sender<Command>,
    incarnations: Incarnations,
    client: AdminClient<DefaultClientContext>,
) {
    let client = Arc::new(client);
    while let Some(request) = requests.recv().await {
        match request {
            Request::Release(assigned, done) => {
                if errands.send(Errand::Release(assigned, done)).await.is_err() {
                    return;
                }
            }
            Request::Open(partition) => match describe(&incarnations, &client, &partition).await {
                Ok(kafka) => {
                    if errands.send(Errand::Open(kafka)).await.is_err() {
                        return;
                    }
                }
                Err(reason) => {
                    let (topic, number) = &partition;
                    tracing::warn!(topic, partition = number, reason, "a partition is opened later");
                    let _ = commands.send(Command::NotOpened(partition));
                }
            },
        }
    }
}

/// A partition as Kafka has it now.
///
/// # Errors
/// A sentence, when Kafka does not answer or has no such topic.
pub async fn describe(
    incarnations: &Incarnations,
    client: &Arc<AdminClient<DefaultClientContext>>,
    (topic, partition): &(String, i32),
) -> Result<KafkaPartition, String> {
    let ids = incarnations
        .of(vec![topic.clone()], KAFKA_PATIENCE)
        .await
        .map_err(|error| error.to_string())?;
    let topic_id = ids
        .get(topic)
        .ok_or_else(|| format!("the topic {topic} does not exist"))?
        .clone();
    let (asked, topic, partition) = (Arc::clone(client), topic.clone(), *partition);
    let name = topic.clone();
    let watermarks =
        tokio::task::spawn_blocking(move || asked.inner().fetch_watermarks(&name, partition, KAFKA_PATIENCE))
            .await
            .map_err(|error| error.to_string())?;
    let (log_start, log_end) = watermarks.map_err(|error| error.to_string())?;
    Ok(KafkaPartition {
        topic,
        topic_id,
        partition,
        log_start,
        log_end,
    })
}

/// Decodes batches while the one before is recorded. Asks for the incarnations after a batch was fetched, so that
/// nothing of a topic that was made again is recorded under the old one's name.
async fn decode_batches<R: SchemaRegistry>(
    mut raw: channels::Receiver<Batch<RawRecord>>,
    decoded: channels::Sender<Batch<Decoded>>,
    mut writers: WriterSchemas<R>,
    incarnations: Incarnations,
    commands: mpsc::Sender<Command>,
    in_flight: Arc<InFlight>,
) {
    while let Some(mut batch) = raw.recv().await {
        let position_ids: Vec<i32> = batch.iter().map(|part| part.assigned.position_id).collect();
        keep_known_incarnations(&mut batch, &incarnations, &commands).await;
        writers.forget_misses(&schema_ids(&batch, is_retried));
        writers.learn(&schema_ids(&batch, |_| true)).await;
        let known = writers.known().clone();
        // Decoding is computation: it must not hold up the tasks beside it.
        let Ok(batch) = tokio::task::spawn_blocking(move || decode(batch, &known)).await else {
            return;
        };
        let kept: Vec<i32> = batch.iter().map(|part| part.assigned.position_id).collect();
        in_flight.ended(position_ids.into_iter().filter(|id| !kept.contains(id)));
        if !batch.is_empty() && decoded.send(batch).await.is_err() {
            return;
        }
    }
}

/// Discards what was fetched from a topic that has another id than when its partition was opened.
async fn keep_known_incarnations(
    batch: &mut Batch<RawRecord>,
    incarnations: &Incarnations,
    commands: &mpsc::Sender<Command>,
) {
    let mut topics: Vec<String> = batch
        .iter()
        .map(|part| part.assigned.ledger.topic.clone())
        .collect();
    topics.sort_unstable();
    topics.dedup();
    let ids = loop {
        match incarnations.of(topics.clone(), KAFKA_PATIENCE).await {
            Ok(ids) => break ids,
            Err(error) => tracing::warn!(%error, "waiting for Kafka"),
        }
        if batch.iter().all(|part| !part.assigned.is_live()) {
            batch.clear();
            return;
        }
        tokio::time::sleep(PAUSE).await;
    };
    batch.retain(|part| {
        let is_same = ids.get(&part.assigned.ledger.topic) == Some(&part.assigned.topic_id);
        if !is_same {
            part.assigned.give_up();
            let _ = commands.send(Command::Reopen(Arc::clone(&part.assigned)));
        }
        is_same
    });
}
