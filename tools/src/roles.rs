//! All roles in one process: the door with the read API behind it, a worker, and the relay.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use redline_consumer::deduplicate::Marks;
use redline_schemas::registry::SchemaRegistry;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::commands::instruments::Instruments;
use crate::commands::{ingest, relay, work};
use crate::settings::Settings;

/// Roles that run. They end together: when told to stop, or with the first that ends by itself.
pub(crate) struct Roles {
    /// Where the door listens.
    pub(crate) address: SocketAddr,
    running: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
}

impl Roles {
    /// Starts them all. They share one meter, which the door shows.
    ///
    /// # Errors
    /// When the door's address is taken, or a setting cannot be used.
    pub(crate) async fn start<R, M>(
        settings: &Settings,
        instruments: &Instruments,
        registry: R,
        marks: M,
        stop: CancellationToken,
    ) -> anyhow::Result<Self>
    where
        R: SchemaRegistry + Send + Sync + 'static,
        M: Marks + Sync + 'static,
    {
        let registry = Arc::new(registry);
        let door = ingest::bind(settings, Arc::clone(&registry), instruments).await?;
        let address = door.address();
        let mut running = JoinSet::new();
        let told = stop.clone();
        running.spawn(async move { door.serve(told.cancelled()).await.context("ingest ended") });
        instruments.survey(settings, &stop)?;
        let worker = work::worker(settings, registry, marks, instruments);
        let told = stop.clone();
        running.spawn(async move { worker.run(told).await.context("work ended") });
        let metrics = relay::metrics(settings, instruments)?;
        let (own, told) = (settings.clone(), stop.clone());
        running.spawn(async move { relay::relay(&own, metrics, told).await.context("relay ended") });
        Ok(Self {
            address,
            running,
            stop,
        })
    }

    /// Waits until all have ended.
    ///
    /// # Errors
    /// Why the first of them ended that was not told to.
    pub(crate) async fn ended(mut self) -> anyhow::Result<()> {
        let mut first = Ok(());
        while let Some(ended) = self.running.join_next().await {
            self.stop.cancel();
            let ended = ended.context("a role broke down").and_then(|ended| ended);
            first = first.and(ended);
        }
        first
    }
}
