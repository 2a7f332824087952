//! Limits of rate: how much one key may send, and how often one address may show keys that open nothing.
//!
//! Each limit is a bucket that refills evenly. What is remembered is bounded: of more keys or addresses than are
//! remembered, those that were silent for longest begin again with full buckets.

mod bucket;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use hashlink::LruCache;
use prometheus::IntCounterVec;
use redline_telemetry::metrics::{Error, Meter};

pub use self::bucket::{Bucket, Rate, Wait};
use crate::problem::{Kind, Problem};

/// Keys, and addresses, that are remembered.
const REMEMBERED: usize = 10_000;

/// What the limits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Requests of one key.
    pub requests: Rate,
    /// Events and facts of one key.
    pub events: Rate,
    /// Keys that open nothing, shown by one address.
    pub wrong_keys: Rate,
}

/// What one key may still send.
#[derive(Debug)]
pub struct KeyLimits {
    /// Its requests.
    pub requests: Bucket,
    /// Its events and facts.
    pub events: Bucket,
}

/// The limits of one door.
#[derive(Debug)]
pub struct Limits {
    rates: Rates,
    keys: Mutex<LruCache<String, Arc<KeyLimits>>>,
    addresses: Mutex<LruCache<IpAddr, Arc<Bucket>>>,
    limited: IntCounterVec,
}

/// Why somebody was limited: a label of the metric.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The key sent too many requests: 429.
    Requests,
    /// The key sent too many events in one body: 429.
    Events,
    /// The key's events came faster than they may: read more slowly, once a request.
    Slowed,
    /// The address showed too many wrong keys: 429.
    WrongKeys,
    /// As many requests as the door works on at once: 429.
    Busy,
}

impl Reason {
    const ALL: [Self; 5] = [
        Self::Requests,
        Self::Events,
        Self::Slowed,
        Self::WrongKeys,
        Self::Busy,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Events => "events",
            Self::Slowed => "slowed",
            Self::WrongKeys => "wrong_keys",
            Self::Busy => "busy",
        }
    }
}

impl Limits {
    /// Limits with full buckets, counted.
    ///
    /// # Errors
    /// When the name of their metric is that of another one.
    pub fn new(rates: Rates, meter: &Meter) -> Result<Self, Error> {
        let limited = meter.counters(
            "redline_ingest_limited_total",
            "Requests that a limit answered 429 or, with the reason `slowed`, read more slowly, by reason.",
            &["reason"],
        )?;
        // A rate of something that never happened is 0, not nothing.
        for reason in Reason::ALL {
            limited.with_label_values(&[reason.word()]);
        }
        Ok(Self {
            rates,
            keys: Mutex::new(LruCache::new(REMEMBERED)),
            addresses: Mutex::new(LruCache::new(REMEMBERED)),
            limited,
        })
    }

    /// Counts that somebody was limited.
    pub fn count(&self, reason: Reason) {
        self.limited.with_label_values(&[reason.word()]).inc();
    }

    /// The buckets of the key of this name.
    pub fn of_key(&self, name: &str) -> Arc<KeyLimits> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = keys.get(name) {
            return Arc::clone(known);
        }
        let new = Arc::new(KeyLimits {
            requests: Bucket::new(self.rates.requests),
            events: Bucket::new(self.rates.events),
        });
        keys.insert(name.to_owned(), Arc::clone(&new));
        new
    }

    /// Takes one request of a key.
    ///
    /// # Errors
    /// A problem of the kind limited that says when to come again.
    pub fn request(&self, key: &str) -> Result<(), Box<Problem>> {
        self.of_key(key).requests.take(1).map_err(|wait| {
            self.count(Reason::Requests);
            let detail = format!(
                "the API key may send {} requests a second (ingest.requests_per_second); send again in {wait}",
                self.rates.requests.per_second
            );
            Problem::new(Kind::Limited, detail).with_retry_after(wait.seconds())
        })
    }

    /// Takes all the events of one body, or none of them.
    ///
    /// # Errors
    /// A problem of the kind limited that says when to come again.
    pub fn events(&self, key: &KeyLimits, number: u32) -> Result<(), Box<Problem>> {
        key.events.take(number).map_err(|wait| {
            self.count(Reason::Events);
            let detail = format!(
                "the API key may send {} events a second (ingest.events_per_second); nothing was accepted, send again in \
                 {wait}",
                self.rates.events.per_second
            );
            Problem::new(Kind::Limited, detail).with_retry_after(wait.seconds())
        })
    }

    /// Counts one wrong key of an address, or one question whether a key is there at all.
    ///
    /// # Errors
    /// A problem of the kind limited that says when to come again.
    pub fn wrong_key(&self, address: IpAddr) -> Result<(), Box<Problem>> {
        self.of_address(address).take(1).map_err(|wait| {
            self.count(Reason::WrongKeys);
            let detail = format!(
                "too many API keys that are not known came from this address (ingest.wrong_keys_per_second); send again \
                 in {wait}"
            );
            Problem::new(Kind::Limited, detail).with_retry_after(wait.seconds())
        })
    }

    fn of_address(&self, address: IpAddr) -> Arc<Bucket> {
        let network = network(address);
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = addresses.get(&network) {
            return Arc::clone(known);
        }
        let new = Arc::new(Bucket::new(self.rates.wrong_keys));
        addresses.insert(network, Arc::clone(&new));
        new
    }
}

/// What one sender has of the address space: an IPv4 address, or the 64 bits in front of an IPv6 address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn limits(rate: u32) -> Limits {
        let rate = Rate {
            per_second: NonZeroU32::new(rate).unwrap(),
            burst: NonZeroU32::new(rate).unwrap(),
        };
        let rates = Rates {
            requests: rate,
            events: rate,
            wrong_keys: rate,
        };
        Limits::new(rates, &Meter::new()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn one_key_takes_nothing_from_another() {
        let limits = limits(1);
        assert!(limits.request("a").is_ok());
        assert!(limits.request("a").is_err());
        assert!(limits.request("b").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn more_keys_and_addresses_than_are_remembered_take_no_more_memory() {
        let limits = limits(1);
        for number in 0..20_000_u32 {
            limits.of_key(&number.to_string());
            limits.of_address(IpAddr::V4(number.into()));
        }
        assert_eq!(limits.keys.lock().unwrap().len(), REMEMBERED);
        assert_eq!(limits.addresses.lock().unwrap().len(), REMEMBERED);
    }

    #[test]
    fn the_addresses_of_one_network_are_one_sender() {
        let network_of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network_of("192.0.2.1"), "192.0.2.1");
        assert_eq!(network_of("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(network_of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
