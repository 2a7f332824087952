//! `redline ingest`: the HTTP door, and behind it the read API.

use std::sync::Arc;

use redline_http::pools;
use redline_producer::door::{self, BoundDoor, Services};
use redline_producer::encode::Encoder;
use redline_producer::publisher::Publisher;
use redline_schemas::registry::SchemaRegistry;
use tokio_util::sync::CancellationToken;

use super::connecting::{self, Service};
use super::instruments::Instruments;
use crate::settings::Settings;

/// What the door cannot work without.
const SERVICES: [Service; 3] = [Service::Kafka, Service::Registry, Service::Postgres];

/// Serves until told to stop.
pub(crate) async fn run(settings: &Settings, stop: CancellationToken) -> anyhow::Result<()> {
    connecting::check(settings, &SERVICES).await?;
    let instruments = Instruments::new()?;
    let door = bind(settings, settings.registry.client()?, &instruments).await?;
    tracing::info!(address = %door.address(), "the door is open");
    door.serve(stop.cancelled()).await?;
    Ok(())
}

/// A door that has its address.
pub(crate) async fn bind<R: SchemaRegistry + Send + Sync + 'static>(
    settings: &Settings,
    registry: R,
    instruments: &Instruments,
) -> anyhow::Result<BoundDoor> {
    let services = Services {
        publisher: Publisher::new(&settings.kafka, settings.ingest.acknowledge_timeout())?,
        encoder: Arc::new(Encoder::new(registry, settings.topics.clone())),
        pool: redline_store::pool(settings.database.url(), "ingest", 4)?,
    };
    let console = &settings.console;
    let reading = redline_store::read::pool(
        settings.database.url(),
        "console",
        console.connections,
        console.statement_timeout(),
    )?;
    let meter = instruments.meter.of("ingest");
    pools::show(&meter, "ingest", &services.pool)?;
    let waits = pools::show(&meter, "console", &reading)?;
    let read_api = redline_console::router(reading, waits, console);
    Ok(door::bind(settings.ingest.clone(), services, &meter, read_api).await?)
}
