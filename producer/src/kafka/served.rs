//! A client with a thread of its own that serves its callbacks: reports, errors, tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};

use super::{Called, create};

/// A producer that is polled until this is dropped.
///
/// rdkafka's own `ThreadedProducer` does the same, ten times a second, and spins through the last millisecond of each.
pub struct Served<C: ProducerContext + 'static> {
    producer: Arc<BaseProducer<C>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl<C: ProducerContext + Called + 'static> Served<C> {
    /// Makes the client; it connects by itself and does not fail when Kafka is away.
    ///
    /// # Errors
    /// When a property is wrong, or there is no thread to be had.
    pub fn new(config: &ClientConfig, context: C) -> KafkaResult<Self> {
        /// Whatever comes ends the waiting at once.
        const PATIENCE: Duration = Duration::from_secs(1);
        let producer: Arc<BaseProducer<C>> = Arc::new(create(config, context)?);
        let stop = Arc::new(AtomicBool::new(false));
        let (polled, told) = (Arc::clone(&producer), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("Kafka callbacks".to_owned())
            .spawn(move || {
                while !told.load(Ordering::Relaxed) {
                    polled.poll(PATIENCE);
                    polled.context().callbacks().find_brokers(polled.client());
                }
            })
            .map_err(|_| KafkaError::Global(RDKafkaErrorCode::CriticalSystemResource))?;
        Ok(Self {
            producer,
            stop,
            thread: Some(thread),
        })
    }

    /// The client.
    pub fn producer(&self) -> &BaseProducer<C> {
        &self.producer
    }
}

impl<C: ProducerContext + 'static> Drop for Served<C> {
    /// What is still on its way is given up. librdkafka waits for its threads, which may themselves be stuck, so that
    /// nobody may wait for it.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let (producer, thread) = (Arc::clone(&self.producer), self.thread.take());
        let closing = std::thread::Builder::new().name("closing a Kafka client".to_owned());
        let closed = closing.spawn(move || {
            if let Some(thread) = thread {
                let _ = thread.join();
            }
            // The last one to hold the producer is the one who waits for its end.
            while Arc::strong_count(&producer) > 1 {
                std::thread::sleep(Duration::from_millis(1));
            }
            drop(producer);
        });
        if let Err(error) = closed {
            tracing::warn!(%error, "a Kafka client could not be closed in the background");
        }
    }
}
