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

use redline_producer::kafka::{Callbacks, KafkaSettings};
use redline_schemas::avro::FLAG_SCHEMA;
use redline_schemas::registry::{RegistryError, SchemaRegistry};
use redline_schemas::topics::{Topics, subject};
use redline_store::sqlx::PgConnection;
use redline_store::{Class, StoreError, Timeouts, recording_connection};
use redline_telemetry::health::Health;
use redline_telemetry::metrics::Meter;
use tokio::sync::mpsc as channels;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::batch::{Batch, Decoded, RawRecord};
use crate::cluster::Cluster;
use crate::decoder::Decoder;
use crate::deduplicate::Marks;
use crate::deriver::Deriver;
use crate::facts::Facts;
use crate::kafka::{Channels, Command, InFlight, Poller, Request};
use crate::metrics::Metrics;
use crate::opening::{Member, open_partitions, watch_kafka};
use crate::recorder::{Destinations, Errand, Links, RecordError, Recorder};
use crate::settings::WorkSettings;
use crate::traces::BatchTraces;
use crate::writers::WriterSchemas;

/// Pause before a service that is away is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// The part of its health that says whether it is a member of its group.
pub const MEMBERSHIP: &str = "work.kafka";

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
    /// A name of a metric is taken.
    #[error("metrics: {0}")]
    Metrics(#[from] redline_telemetry::metrics::Error),
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
    /// Where its metrics go.
    pub meter: Meter,
    /// Where it says how it is.
    pub health: Health,
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
        let member_of_group = self.health.part(MEMBERSHIP);
        let Some(flag_schema_id) = self.prepare(&stop).await? else {
            return Ok(());
        };
        let metrics = Metrics::new(
            &self.meter,
            &self.settings.group,
            &self.topics,
            self.settings.cache_bytes,
        )?;
        let cluster = Cluster::new(&self.kafka)?;

        let (commands, commands_in) = mpsc::channel::<Command>();
        let (requests, requests_in) = channels::unbounded_channel::<Request>();
        let (raw, raw_in) = channels::channel::<Batch<RawRecord>>(1);
        let (decoded, decoded_in) = channels::channel::<(Batch<Decoded>, BatchTraces)>(1);
        let (errands, errands_in) = channels::channel::<Errand>(16);
        let in_flight = Arc::new(InFlight::default());
        let group = self.settings.group.clone();
        let own = self.topics.clone();
        let topics = [own.rows.as_str(), &own.payouts, &own.orders, &own.facts];
        let recheck = Duration::from_secs(self.settings.stopped_recheck_seconds);

        let member = Member {
            group: self.settings.group.clone(),
            client_id: format!("redline-work-{}", uuid::Uuid::new_v4()),
        };
        let mut config = self.kafka.client_config();
        config.set("client.id", &member.client_id);
        let poller = Poller::new(
            (config, Callbacks::new(&self.kafka)),
            &topics,
            self.settings.clone(),
            Channels {
                commands: commands_in,
                requests,
                batches: raw,
            },
            Arc::clone(&in_flight),
            metrics.clone(),
            stop.clone(),
        )?;
        let destinations = Destinations {
            flagged: self.topics.flagged.clone(),
            quarantine: self.topics.quarantine.clone(),
            flag_schema_id,
        };
        let deriver = Deriver::new(
            self.database_url.clone(),
            self.settings.timeouts(),
            destinations.clone(),
            metrics.clone(),
            stop.clone(),
        );
        let recorder = Recorder::new(
            self.database_url,
            self.settings,
            self.marks,
            destinations,
            self.topics,
            Links {
                commands: commands.clone(),
                in_flight: Arc::clone(&in_flight),
                stop: stop.clone(),
            },
            metrics.clone(),
        );

        let recording = tokio::spawn(recorder.run(decoded_in, errands_in));
        let opening = tokio::spawn(open_partitions(
            requests_in,
            errands,
            commands.clone(),
            cluster.clone(),
        ));
        let watching = tokio::spawn(watch_kafka(
            topics.map(str::to_owned).to_vec(),
            member,
            recheck,
            cluster.clone(),
            commands.clone(),
            member_of_group,
        ));
        let writers = WriterSchemas::new(self.registry);
        let decoder = Decoder::new(writers, cluster, commands, in_flight, metrics, group);
        let decoding = tokio::spawn(decoder.run(raw_in, decoded));
        let deriving = tokio::spawn(deriver.run());
        // When recording or deriving ends by itself, nothing else goes on.
        let recording = ends_all(recording, stop.clone());
        let deriving = ends_all(deriving, stop.clone());
        let polling = tokio::task::spawn_blocking(move || poller.run());
        let ended = |error: JoinError| WorkError::Ended(error.to_string());
        polling.await.map_err(ended)?;
        // What these still wait for, a registry or a broker, is of no use any more: the partitions are given up.
        decoding.abort();
        opening.abort();
        watching.abort();
        recording.await.map_err(ended)?.map_err(ended)??;
        deriving.await.map_err(ended)?.map_err(ended)??;
        Ok(())
    }

    /// Waits for registry and Postgres, and for what is migrated; answers the schema id of flags, none when told to stop
    /// meanwhile.
    async fn prepare(&self, stop: &CancellationToken) -> Result<Option<u32>, WorkError> {
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
                Err(error @ (RegistryError::Refused { .. } | RegistryError::Unusable(_))) => {
                    return Err(error.into());
                }
                Err(error) => tracing::warn!(%error, "waiting for the schema registry"),
            }
            if pause(stop).await {
                return Ok(None);
            }
        };
        loop {
            match has_rules(&self.database_url).await {
                Ok(false) => return Err(WorkError::NotMigrated("the first rule set".to_owned())),
                Ok(true) => return Ok(Some(flag_schema_id)),
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

/// A task whose end cancels everything else.
fn ends_all<T: Send + 'static>(
    task: JoinHandle<T>,
    stop: CancellationToken,
) -> JoinHandle<Result<T, JoinError>> {
    tokio::spawn(async move {
        let result = task.await;
        stop.cancel();
        result
    })
}

async fn has_rules(database_url: &str) -> Result<bool, StoreError> {
    let mut connection: PgConnection =
        recording_connection(database_url, "work", Timeouts::default()).await?;
    redline_store::ensure_event_partitions(&mut connection).await?;
    let mut facts = Facts::default();
    facts.refresh(&mut connection).await?;
    Ok(!facts.knowledge.rules().is_empty())
}
