//! The section `[ingest]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::time::Duration;

use redline_http::limits::{Rate, Rates};
use serde::Deserialize;

/// What the HTTP door may vary. A limit of 0 is refused when the settings are read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IngestSettings {
    /// Address and port. Port 0 takes any free one. Default: `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// Bytes of a body that is one JSON object or array, after decompression. Default: 8388608 (8 MiB).
    pub max_body_bytes: NonZeroUsize,
    /// Bytes of one line of NDJSON, and of the white space between two, after decompression.
    /// Default: 1048576 (1 MiB).
    pub max_line_bytes: NonZeroUsize,
    /// Elements of a JSON array. Default: 10000.
    pub max_array_elements: NonZeroUsize,
    /// Requests that are worked on at once; more are answered 429. Default: 64.
    pub max_requests: NonZeroUsize,
    /// Connections that are open at once; more wait to be accepted. Default: 1024.
    pub max_connections: NonZeroUsize,
    /// Requests of one API key a second, also to the read API; more are answered 429. Default: 1000.
    pub requests_per_second: NonZeroU32,
    /// Requests of one API key at once after a silence. Default: 2000.
    pub requests_burst: NonZeroU32,
    /// Events and facts of one API key a second. NDJSON is read no faster; JSON beyond it is answered 429.
    /// Default: 50000.
    pub events_per_second: NonZeroU32,
    /// Events and facts of one API key at once after a silence. Default: 100000.
    pub events_burst: NonZeroU32,
    /// Unknown API keys that one address may show a second; more are answered 429. Default: 10.
    pub wrong_keys_per_second: NonZeroU32,
    /// Unknown API keys that one address may show at once. Default: 100.
    pub wrong_keys_burst: NonZeroU32,
    /// Events of one request that may be on their way to Kafka at once. Default: 2000.
    pub window_records: NonZeroUsize,
    /// Their bytes. Default: 4194304 (4 MiB).
    pub window_bytes: NonZeroUsize,
    /// Seconds in which a request's headers must have come; an idle connection is closed after them.
    /// Default: 10.
    pub header_timeout_seconds: NonZeroU64,
    /// Seconds in which the next bytes of a body must come; else 408. Default: 30.
    pub idle_timeout_seconds: NonZeroU64,
    /// Seconds in which Kafka must acknowledge an event; else 503. Default: 30.
    pub acknowledge_timeout_seconds: NonZeroU64,
    /// Seconds that requests in flight have when the door is told to stop. Default: 10.
    pub shutdown_timeout_seconds: NonZeroU64,
}

impl Default for IngestSettings {
    fn default() -> Self {
        const fn size(bytes: usize) -> NonZeroUsize {
            NonZeroUsize::MIN.saturating_add(bytes - 1)
        }
        const fn number(number: u32) -> NonZeroU32 {
            NonZeroU32::MIN.saturating_add(number - 1)
        }
        const fn seconds(seconds: u64) -> NonZeroU64 {
            NonZeroU64::MIN.saturating_add(seconds - 1)
        }
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            max_body_bytes: size(8 << 20),
            max_line_bytes: size(1 << 20),
            max_array_elements: size(10_000),
            max_requests: size(64),
            max_connections: size(1_024),
            requests_per_second: number(1_000),
            requests_burst: number(2_000),
            events_per_second: number(50_000),
            events_burst: number(100_000),
            wrong_keys_per_second: number(10),
            wrong_keys_burst: number(100),
            window_records: size(2_000),
            window_bytes: size(4 << 20),
            header_timeout_seconds: seconds(10),
            idle_timeout_seconds: seconds(30),
            acknowledge_timeout_seconds: seconds(30),
            shutdown_timeout_seconds: seconds(10),
        }
    }
}

/// Greatest rate and burst: more than any machine takes, so they stand for no limit.
const MAX_RATE: u32 = 10_000_000;

impl IngestSettings {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// The key, its value and what is expected.
    pub fn check(&self) -> Result<(), String> {
        for (key, value) in [
            ("requests_per_second", self.requests_per_second),
            ("requests_burst", self.requests_burst),
            ("events_per_second", self.events_per_second),
            ("events_burst", self.events_burst),
            ("wrong_keys_per_second", self.wrong_keys_per_second),
            ("wrong_keys_burst", self.wrong_keys_burst),
        ] {
            if value.get() > MAX_RATE {
                return Err(format!("ingest.{key} is {value}; 1 to {MAX_RATE} are expected"));
            }
        }
        Ok(())
    }

    /// The limits of rate.
    pub(crate) fn rates(&self) -> Rates {
        let rate = |per_second, burst| Rate { per_second, burst };
        Rates {
            requests: rate(self.requests_per_second, self.requests_burst),
            events: rate(self.events_per_second, self.events_burst),
            wrong_keys: rate(self.wrong_keys_per_second, self.wrong_keys_burst),
        }
    }

    /// The message timeout with which the door's publisher is to be made.
    pub fn acknowledge_timeout(&self) -> Duration {
        Duration::from_secs(self.acknowledge_timeout_seconds.get())
    }

    pub(crate) fn header_timeout(&self) -> Duration {
        Duration::from_secs(self.header_timeout_seconds.get())
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.idle_timeout_seconds.get())
    }

    pub(crate) fn shutdown_timeout(&self) -> Duration {
        Duration::from_secs(self.shutdown_timeout_seconds.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_documented_ones() {
        insta::assert_debug_snapshot!(IngestSettings::default());
    }

    #[test]
    fn an_unknown_key_and_a_limit_of_zero_are_refused() {
        let read =
            |text: &str| serde_json::from_str::<IngestSettings>(text).map_err(|error| error.to_string());
        assert!(read(r#"{"max_lines":1}"#).unwrap_err().contains("max_lines"));
        assert!(read(r#"{"max_line_bytes":0}"#).is_err());
        assert!(read(r#"{"listen":"0.0.0.0:80"}"#).is_ok());
    }
}
