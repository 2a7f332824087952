//! `redline ingest`: the HTTP door, and behind it the read API.

use std::sync::Arc;

use redline_http::pools;
use redline_producer::door::{self, Services};
use redline_producer::encode::Encoder;
use redline_producer::publisher::Publisher;
use tokio_util::sync::CancellationToken;

use super::telemetry::Telemetry;
use crate::settings::Settings;

/// Serves until told to stop.
pub(crate) async fn run(settings: &Settings, stop: CancellationToken) -> anyhow::Result<()> {
    let telemetry = Telemetry::new()?;
    let services = Services {
        publisher: Publisher::new(&settings.kafka, settings.ingest.acknowledge_timeout())?,
        encoder: Arc::new(Encoder::new(settings.registry.client()?, settings.topics.clone())),
        pool: redline_store::pool(settings.database.url(), "ingest", 4)?,
    };
    let console = &settings.console;
    let reading = redline_store::read::pool(
        settings.database.url(),
        "console",
        console.connections,
        console.statement_timeout(),
    )?;
    let meter = telemetry.meter.of("ingest");
    pools::show(&meter, "ingest", &services.pool)?;
    let waits = pools::show(&meter, "console", &reading)?;
    let read_api = redline_console::router(reading, waits, console);
    door::serve(settings.ingest.clone(), services, &meter, read_api, async move {
        stop.cancelled().await
    })
    .await?;
    Ok(())
}
