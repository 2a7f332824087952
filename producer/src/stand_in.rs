//! Stand-ins for Kafka and the registry, for tests.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use redline_schemas::avro::split_frame;
use redline_schemas::registry::{RegistryError, SchemaRegistry};
use tokio::sync::oneshot;

use crate::publisher::{Delivered, Delivery, Outgoing, Publish, PublishError};

pub(crate) struct Registry {
    id: Option<u32>,
    away: AtomicBool,
}

impl Registry {
    pub(crate) fn with_id(id: u32) -> Self {
        Self {
            id: Some(id),
            away: AtomicBool::new(false),
        }
    }

    pub(crate) fn empty() -> Self {
        Self {
            id: None,
            away: AtomicBool::new(false),
        }
    }

    pub(crate) fn go_away(&self) {
        self.away.store(true, Ordering::Relaxed);
    }
}

impl SchemaRegistry for Registry {
    async fn schema_text(&self, _: u32) -> Result<Option<String>, RegistryError> {
        Ok(None)
    }

    async fn schema_id(&self, _: &str, _: &str) -> Result<Option<u32>, RegistryError> {
        if self.away.load(Ordering::Relaxed) {
            return Err(RegistryError::Unavailable {
                url: "http://registry.test".to_owned(),
                reason: "connection refused".to_owned(),
            });
        }
        Ok(self.id)
    }

    async fn register(&self, _: &str, _: &str) -> Result<u32, RegistryError> {
        panic!("a producer never registers a schema")
    }
}

/// A Kafka that acknowledges at once, or when a test says so.
#[derive(Default)]
pub(crate) struct Kafka {
    /// Keys and values in the order of their acknowledgement.
    pub(crate) records: Mutex<Vec<(String, Vec<u8>)>>,
    /// Answers for coming deliveries, by their number from 0; others are acknowledged.
    pub(crate) failures: Mutex<Vec<(usize, PublishError)>>,
    /// Nothing can be handed over, and partitions cannot be asked for.
    pub(crate) away: AtomicBool,
    pub(crate) max_bytes: Option<usize>,
    /// Deliveries that are not acknowledged at once.
    pub(crate) held: Mutex<VecDeque<oneshot::Sender<Delivered>>>,
    pub(crate) hold: bool,
    pub(crate) most_held: AtomicUsize,
    pub(crate) sent: AtomicUsize,
}

impl Kafka {
    /// Deliveries number `from..to` fail.
    pub(crate) fn failing(from: usize, to: usize) -> Self {
        let away = || PublishError::Away("Message timed out".to_owned());
        Self {
            failures: Mutex::new((from..to).map(|number| (number, away())).collect()),
            ..Self::default()
        }
    }

    pub(crate) fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        let records = self.records.lock().unwrap();
        records.iter().map(|(key, _)| key.clone()).collect()
    }

    /// Acknowledges the oldest delivery that is held.
    pub(crate) fn acknowledge_one(&self) -> bool {
        match self.held.lock().unwrap().pop_front() {
            Some(sender) => sender.send(Ok((0, 0))).is_ok(),
            None => false,
        }
    }
}

impl Publish for Kafka {
    async fn partitions(&self, _: &str) -> Result<i32, PublishError> {
        match self.away.load(Ordering::Relaxed) {
            true => Err(PublishError::Away("connection refused".to_owned())),
            false => Ok(4),
        }
    }

    fn enqueue(&self, record: Outgoing<'_>, _: i32) -> Result<Delivery, PublishError> {
        let value = record.value.unwrap();
        split_frame(value).expect("a framed value");
        if self.max_bytes.is_some_and(|max| value.len() > max) {
            return Err(PublishError::TooLarge {
                limit: self.max_bytes.unwrap().to_string(),
            });
        }
        let (sender, delivery) = Delivery::pair();
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let failures = self.failures.lock().unwrap();
        if let Some((_, error)) = failures.iter().find(|(failing, _)| *failing == number) {
            let _ = sender.send(Err(error.clone()));
            return Ok(delivery);
        }
        let key = String::from_utf8(record.key.unwrap().to_vec()).unwrap();
        self.records.lock().unwrap().push((key, value.to_vec()));
        if self.hold {
            let mut held = self.held.lock().unwrap();
            held.push_back(sender);
            self.most_held.fetch_max(held.len(), Ordering::Relaxed);
        } else {
            let _ = sender.send(Ok((0, 0)));
        }
        Ok(delivery)
    }
}
