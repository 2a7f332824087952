//! What a process says about itself, the same for every role.

use std::net::SocketAddr;

use anyhow::Context as _;
use redline_consumer::survey::Survey;
use redline_telemetry::health::Health;
use redline_telemetry::metrics::Meter;
use redline_telemetry::metrics::build::Build;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::settings::Settings;

/// What was built.
const BUILD: Build = Build {
    version: env!("CARGO_PKG_VERSION"),
    revision: env!("REDLINE_REVISION"),
    rustc: env!("REDLINE_RUSTC"),
};

/// One a process: whatever roles run in it measure here and say here how they are.
pub(crate) struct Telemetry {
    pub(crate) meter: Meter,
    pub(crate) health: Health,
}

impl Telemetry {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let meter = Meter::new();
        meter.show_process(BUILD)?;
        let health = Health::default();
        Ok(Self { meter, health })
    }

    /// Answers `GET /metrics`, `/healthz` and `/readyz` at an address, if there is one, until told to stop. Then it is of use
    /// to know how the whole installation is.
    pub(crate) async fn listen(
        &self,
        address: Option<SocketAddr>,
        key: &str,
        settings: &Settings,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let Some(address) = address else {
            return Ok(());
        };
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address} ({key})"))?;
        let address = listener.local_addr()?;
        self.survey(settings, stop)?;
        tracing::info!(%address, "GET /metrics is answered");
        let (meter, health) = (self.meter.clone(), self.health.clone());
        tokio::spawn(redline_http::metrics::serve(
            listener,
            meter,
            health,
            stop.clone(),
        ));
        Ok(())
    }

    /// Begins to look at the whole installation; once a process.
    pub(crate) fn survey(&self, settings: &Settings, stop: &CancellationToken) -> anyhow::Result<()> {
        let survey = Survey::new(
            &settings.kafka,
            &settings.topics,
            &settings.work.group,
            settings.database.url(),
            &self.meter,
            &self.health,
        )?;
        tokio::spawn(survey.run(stop.clone()));
        Ok(())
    }
}
