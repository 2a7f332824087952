//! Marks of contents that were recorded. They save work and decide nothing: a hit is a hint that Postgres is
//! asked about, a miss costs a little time. Read before the transaction, written after its commit.

mod memory;

use std::time::Duration;

use prometheus::IntCounter;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redline_schemas::ContentHash;
use redline_telemetry::metrics::{Error, Meter};
use tokio::time::Instant;

pub use self::memory::MemoryMarks;
use crate::redis_connection::told;

/// How long Redis may take before the batch goes on without it.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long Redis is left alone after a failure.
const REST: Duration = Duration::from_secs(2);
/// Marks in one command.
const CHUNK: usize = 1_000;

/// Which contents were recorded before, probably.
pub trait Marks: Send {
    /// Whether each content is marked; an answer per content. Whatever goes wrong answers false.
    fn seen(&mut self, hashes: &[ContentHash]) -> impl Future<Output = Vec<bool>> + Send;

    /// Marks contents. Whatever goes wrong is forgotten.
    fn mark(&mut self, hashes: &[ContentHash]) -> impl Future<Output = ()> + Send;
}

/// Marks in Redis, each for a limited time.
pub struct RedisMarks {
    client: redis::Client,
    connection: Option<ConnectionManager>,
    prefix: String,
    lifetime_seconds: u64,
    resting_until: Option<Instant>,
    failures: Option<IntCounter>,
}

/// The counter of its failures.
pub(crate) fn failures(meter: &Meter) -> Result<IntCounter, Error> {
    meter.of("work").counter(
        "redline_redis_failures_total",
        "Times that Redis did not answer in time or answered with an error; it is left alone for two seconds then, \
         and batches go on without it.",
    )
}

impl RedisMarks {
    /// Marks under a prefix, each for so long. See [`crate::redis_connection::client`].
    pub fn new(client: redis::Client, prefix: &str, lifetime: Duration) -> Self {
        Self {
            client,
            connection: None,
            prefix: prefix.to_owned(),
            lifetime_seconds: lifetime.as_secs().max(1),
            resting_until: None,
            failures: None,
        }
    }

    /// Counts its failures.
    ///
    /// # Errors
    /// When the name is that of another metric.
    pub fn counted(mut self, meter: &Meter) -> Result<Self, Error> {
        self.failures = Some(failures(meter)?);
        Ok(self)
    }

    fn key(&self, hash: &ContentHash) -> Vec<u8> {
        [self.prefix.as_bytes(), &hash.0].concat()
    }

    /// The connection, unless Redis is being left alone.
    async fn connection(&mut self) -> Option<ConnectionManager> {
        if self.resting_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        if self.connection.is_none() {
            let config = ConnectionManagerConfig::new()
                .set_number_of_retries(0)
                .set_connection_timeout(Some(PATIENCE))
                .set_response_timeout(Some(PATIENCE));
            match tokio::time::timeout(PATIENCE, self.client.get_connection_manager_with_config(config)).await
            {
                Ok(Ok(connection)) => self.connection = Some(connection),
                Ok(Err(error)) => self.rest(&told(&self.client, &error).to_string()),
                Err(_) => self.rest("no connection in time"),
            }
        }
        self.connection.clone()
    }

    fn rest(&mut self, reason: &str) {
        tracing::warn!(
            reason,
            "Redis is left alone for a moment; the batch goes on without it"
        );
        if let Some(failures) = &self.failures {
            failures.inc();
        }
        self.connection = None;
        self.resting_until = Some(Instant::now() + REST);
    }

    async fn run<T: redis::FromRedisValue>(&mut self, pipeline: &redis::Pipeline) -> Option<T> {
        let mut connection = self.connection().await?;
        match tokio::time::timeout(PATIENCE, pipeline.query_async(&mut connection)).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => self.rest(&told(&self.client, &error).to_string()),
            Err(_) => self.rest("no answer in time"),
        }
        None
    }
}

impl Marks for RedisMarks {
    async fn seen(&mut self, hashes: &[ContentHash]) -> Vec<bool> {
        let mut seen = Vec::with_capacity(hashes.len());
        for chunk in hashes.chunks(CHUNK) {
            let mut pipeline = redis::pipe();
            let command = pipeline.cmd("MGET");
            for hash in chunk {
                command.arg(self.key(hash));
            }
            let Some((answer,)) = self.run::<(Vec<Option<Vec<u8>>>,)>(&pipeline).await else {
                break;
            };
            seen.extend(answer.iter().map(Option::is_some));
        }
        seen.resize(hashes.len(), false);
        seen
    }

    async fn mark(&mut self, hashes: &[ContentHash]) {
        for chunk in hashes.chunks(CHUNK) {
            let mut pipeline = redis::pipe();
            for hash in chunk {
                pipeline
                    .cmd("SET")
                    .arg(self.key(hash))
                    .arg("1")
                    .arg("EX")
                    .arg(self.lifetime_seconds)
                    .ignore();
            }
            if self.run::<()>(&pipeline).await.is_none() {
                return;
            }
        }
    }
}
