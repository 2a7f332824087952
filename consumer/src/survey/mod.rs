//! The survey: what is true of the whole installation, whoever works in it: how far recording is behind Kafka, what is
//! stopped, what waits in the outbox, in quarantine and to be derived again.
//!
//! Every process that shows metrics has one. One of them leads: it holds a lock for as long as its connection to Postgres
//! lasts, and it alone asks and shows; the others show nothing, so that each figure is there once, and stand by. So a
//! partition that no worker reads has a lag all the same, as long as any process is there to tell.

mod gauges;
mod heads;
mod lag;

use std::time::{Duration, Instant};

use redline_producer::kafka::KafkaSettings;
use redline_schemas::EventKind;
use redline_schemas::topics::Topics;
use redline_store::sqlx::PgConnection;
use redline_store::{StoreError, Timeouts, recording_connection, survey};
use redline_telemetry::health::{Health, Part};
use redline_telemetry::metrics::{Error, Meter};
use tokio_util::sync::CancellationToken;

use self::gauges::Gauges;
use self::heads::Heads;
use self::lag::Log;
use crate::cluster::{Cluster, ClusterError};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(5);
/// What one look may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Why a survey could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// Kafka's client cannot be made.
    #[error("Kafka: {0}")]
    Kafka(#[from] rdkafka::error::KafkaError),
    /// A name of a metric is taken.
    #[error("metrics: {0}")]
    Metrics(#[from] Error),
}

/// Why a look failed. The next one is a moment later.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("it took longer than {} s", LIMIT.as_secs())]
    Slow,
}

/// Asks for everything that a survey shows, for the reference.
pub(crate) fn describe(meter: &Meter, topics: &Topics) -> Result<(), Error> {
    Gauges::new(meter, "", topics).map(|_| ())
}

/// Looks at the installation until told to stop.
pub struct Survey {
    cluster: Cluster,
    topics: Topics,
    database_url: String,
    connection: Option<(PgConnection, bool)>,
    heads: Heads,
    gauges: Gauges,
    database: Part,
}

impl Survey {
    /// A survey that has not looked yet. `group` is the consumer group of the workers.
    ///
    /// # Errors
    /// See [`SurveyError`].
    pub fn new(
        kafka: &KafkaSettings,
        topics: &Topics,
        group: &str,
        database_url: &str,
        meter: &Meter,
        health: &Health,
    ) -> Result<Self, SurveyError> {
        Ok(Self {
            cluster: Cluster::new(kafka)?,
            heads: Heads::new(kafka, group)?,
            gauges: Gauges::new(meter, group, topics)?,
            database: health.part("database"),
            topics: topics.clone(),
            database_url: database_url.to_owned(),
            connection: None,
        })
    }

    /// Looks every five seconds until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut told = false;
        while !stop.is_cancelled() {
            let began = Instant::now();
            let looked = tokio::time::timeout(LIMIT, self.look()).await;
            match looked.unwrap_or(Err(LookError::Slow)) {
                Ok(()) => told = false,
                Err(error) => {
                    if !told {
                        tracing::warn!(%error, "metrics of the whole installation are not known for the moment");
                    }
                    told = true;
                    // What was known is true no more; nor is it known who leads.
                    self.gauges.clear();
                    self.connection = None;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE.saturating_sub(began.elapsed())) => {}
                () = stop.cancelled() => {}
            }
        }
        self.gauges.clear();
    }

    async fn look(&mut self) -> Result<(), LookError> {
        let (mut connection, leads) = match self.connection.take() {
            Some(connected) => connected,
            None => match recording_connection(&self.database_url, "survey", timeouts()).await {
                Ok(connection) => (connection, false),
                Err(error) => {
                    self.database.set(false);
                    return Err(error.into());
                }
            },
        };
        let led = if leads {
            Ok(true)
        } else {
            survey::lead(&mut connection).await
        };
        self.database.set(led.is_ok());
        if led? {
            // Kafka first: what it has now is compared with what Postgres says afterwards.
            let logs = self.logs().await;
            let read = survey::read(&mut connection).await;
            self.database.set(read.is_ok());
            let installation = read?;
            self.gauges.see(&installation);
            let behind = lag::behind(&logs?, &installation.positions);
            let waiting_since = self.heads.look(&behind).await;
            self.gauges.see_lag(&behind, &waiting_since);
            self.gauges.looked();
            self.connection = Some((connection, true));
        } else {
            self.connection = Some((connection, false));
        }
        Ok(())
    }

    /// Every partition of the input topics as Kafka has it now.
    async fn logs(&self) -> Result<Vec<Log>, ClusterError> {
        let topics = EventKind::ALL.map(|kind| self.topics.of(kind).to_owned());
        let described = self.cluster.describe_all(topics.to_vec()).await?;
        Ok(described.into_iter().map(Log::from).collect())
    }
}

/// A process that stands still loses its connection and with it the lead.
fn timeouts() -> Timeouts {
    Timeouts {
        statement: Duration::from_secs(10),
        idle: LIMIT,
        ..Timeouts::default()
    }
}
