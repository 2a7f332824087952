//! Settings of the worker and the relay.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

/// The section `[work]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkSettings {
    /// Consumer group. Default `redline`.
    pub group: String,
    /// Records in one batch, at most. Default 5000.
    pub batch_records: usize,
    /// Bytes in one batch, at most. Default 8 MiB.
    pub batch_bytes: usize,
    /// Milliseconds that a batch waits for more records. Default 50.
    pub linger_milliseconds: u64,
    /// Bytes of remembered entities, at most. Default 128 MiB.
    pub cache_bytes: usize,
    /// Milliseconds after which Kafka gives a silent worker's partitions to others. Default 10000.
    pub session_timeout_milliseconds: u32,
    /// Milliseconds that one statement may take in Postgres. Default 30000.
    pub statement_timeout_milliseconds: u64,
    /// Milliseconds that one lock may be waited for in Postgres. Default 10000.
    pub lock_timeout_milliseconds: u64,
    /// Milliseconds that a transaction may stand idle before Postgres ends it. Default 15000.
    pub idle_in_transaction_timeout_milliseconds: u64,
    /// Seconds between two looks at stopped partitions. Default 5.
    pub stopped_recheck_seconds: u64,
    /// Records of a partition that are quarantined one after the other before it is stopped; 0 for no such limit.
    /// Default 10000.
    pub most_quarantined_in_a_row: u32,
    /// Hours that Redis remembers a content. Default 168.
    pub mark_hours: u64,
    /// Prefix of the marks in Redis. Default `redline:mark:`.
    pub mark_prefix: String,
    /// Where `GET /metrics`, `/healthz` and `/readyz` are answered. Default nowhere.
    pub metrics_listen: Option<SocketAddr>,
}

impl Default for WorkSettings {
    fn default() -> Self {
        Self {
            group: "redline".to_owned(),
            batch_records: 5_000,
            batch_bytes: 8 * 1024 * 1024,
            linger_milliseconds: 50,
            cache_bytes: 128 * 1024 * 1024,
            session_timeout_milliseconds: 10_000,
            statement_timeout_milliseconds: 30_000,
            lock_timeout_milliseconds: 10_000,
            idle_in_transaction_timeout_milliseconds: 15_000,
            stopped_recheck_seconds: 5,
            most_quarantined_in_a_row: 10_000,
            mark_hours: 168,
            mark_prefix: "redline:mark:".to_owned(),
            metrics_listen: None,
        }
    }
}

impl WorkSettings {
    /// The limits that Postgres keeps for a recording connection.
    pub fn timeouts(&self) -> redline_store::Timeouts {
        redline_store::Timeouts {
            statement: Duration::from_millis(self.statement_timeout_milliseconds),
            lock: Duration::from_millis(self.lock_timeout_milliseconds),
            idle_in_transaction: Duration::from_millis(self.idle_in_transaction_timeout_milliseconds),
            ..redline_store::Timeouts::default()
        }
    }

    /// Checks what a type cannot say.
    ///
    /// # Errors
    /// The key that is wrong, and what is expected.
    pub fn check(&self) -> Result<(), String> {
        /// A day.
        const LONGEST_MILLISECONDS: u64 = 86_400_000;
        let milliseconds = |key: &str, value: u64, least: u64| {
            within(&format!("work.{key}"), value, least, LONGEST_MILLISECONDS)
        };
        within("work.batch_records", self.batch_records as u64, 1, 1_000_000)?;
        within("work.batch_bytes", self.batch_bytes as u64, 1_024, 1 << 30)?;
        within("work.linger_milliseconds", self.linger_milliseconds, 0, 60_000)?;
        milliseconds(
            "session_timeout_milliseconds",
            u64::from(self.session_timeout_milliseconds),
            1_000,
        )?;
        milliseconds(
            "statement_timeout_milliseconds",
            self.statement_timeout_milliseconds,
            100,
        )?;
        milliseconds("lock_timeout_milliseconds", self.lock_timeout_milliseconds, 100)?;
        milliseconds(
            "idle_in_transaction_timeout_milliseconds",
            self.idle_in_transaction_timeout_milliseconds,
            100,
        )?;
        within(
            "work.stopped_recheck_seconds",
            self.stopped_recheck_seconds,
            1,
            86_400,
        )?;
        within("work.mark_hours", self.mark_hours, 1, 87_600)?;
        if self.group.is_empty() {
            return Err("work.group is empty".to_owned());
        }
        Ok(())
    }
}

/// Checks that a number lies within bounds.
fn within(key: &str, value: u64, least: u64, most: u64) -> Result<(), String> {
    match (least..=most).contains(&value) {
        true => Ok(()),
        false => Err(format!("{key} is {value}; {least} to {most} are expected")),
    }
}

/// The section `[relay]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RelaySettings {
    /// Messages published in one turn, at most. Default 1000.
    pub batch_messages: u32,
    /// Bytes published in one turn, at most. Default 8 MiB.
    pub batch_bytes: u32,
    /// Milliseconds between two looks at an empty outbox. Default 100.
    pub poll_milliseconds: u64,
    /// Milliseconds within which Kafka must acknowledge; the turn's transaction is ended a little later.
    /// Default 10000.
    pub message_timeout_milliseconds: u64,
    /// Where `GET /metrics`, `/healthz` and `/readyz` are answered. Default nowhere.
    pub metrics_listen: Option<SocketAddr>,
}

impl Default for RelaySettings {
    fn default() -> Self {
        Self {
            batch_messages: 1_000,
            batch_bytes: 8 * 1024 * 1024,
            poll_milliseconds: 100,
            message_timeout_milliseconds: 10_000,
            metrics_listen: None,
        }
    }
}

impl RelaySettings {
    /// Checks what a type cannot say.
    ///
    /// # Errors
    /// The key that is wrong, and what is expected.
    pub fn check(&self) -> Result<(), String> {
        within("relay.batch_messages", self.batch_messages.into(), 1, 100_000)?;
        within("relay.batch_bytes", self.batch_bytes.into(), 1_024, 1 << 30)?;
        within("relay.poll_milliseconds", self.poll_milliseconds, 1, 60_000)?;
        within(
            "relay.message_timeout_milliseconds",
            self.message_timeout_milliseconds,
            100,
            600_000,
        )
    }
}
