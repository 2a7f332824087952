//! The demo's Kafka: librdkafka's mock cluster, a listener on 127.0.0.1 that speaks Kafka's protocol and keeps everything
//! in memory.
//!
//! Unlike Kafka it drops the oldest records of a partition silently beyond 5 MiB, and it takes transactions at their word:
//! what is published in one is there at once. So the demo paces itself, and promises nothing that only a broker can keep.

use std::sync::mpsc;
use std::thread::JoinHandle;

use anyhow::{Context as _, anyhow};
use rdkafka::mocking::MockCluster;
use redline_schemas::topics::Topics;

use crate::topics;

/// Partitions of each topic.
pub(super) const PARTITIONS: i32 = 12;

/// A running mock cluster; it ends when this is dropped.
pub(super) struct Broker {
    /// Where it listens.
    pub(super) bootstrap_servers: String,
    /// Closing it tells the thread to end.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Broker {
    /// Starts one with all topics. The cluster's own thread keeps it: librdkafka's handle cannot change threads.
    pub(super) fn start(topics: &Topics) -> anyhow::Result<Self> {
        let names: Vec<String> = topics::all(topics).map(ToOwned::to_owned).into();
        let (started, is_started) = mpsc::channel();
        let (stop, is_stopped) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("demo broker".to_owned())
            .spawn(move || {
                let cluster = MockCluster::new(1).and_then(|cluster| {
                    for name in &names {
                        cluster.create_topic(name, PARTITIONS, 1)?;
                    }
                    Ok(cluster)
                });
                match cluster {
                    Ok(cluster) => {
                        let _ = started.send(Ok(cluster.bootstrap_servers()));
                        // Ends with an error once the sender is gone.
                        let _ = is_stopped.recv();
                    }
                    Err(error) => drop(started.send(Err(error))),
                }
            })?;
        let bootstrap_servers = is_started
            .recv()
            .map_err(|_| anyhow!("the thread of the demo's Kafka ended"))?
            .context("the demo's Kafka (librdkafka's mock cluster) cannot start")?;
        Ok(Self {
            bootstrap_servers,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
