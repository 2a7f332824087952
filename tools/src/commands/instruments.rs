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
pub(crate) struct Instruments {
    pub(crate) meter: Meter,
    pub(crate) health: Health,
}

impl Instruments {
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
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("cannot listen on {address}; set {key} to another address, or stop what listens there")
        })?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// `make docs` writes the tables of the page, below its own words; without that they must be what the code says.
    #[tokio::test]
    async fn the_reference_of_metrics_is_current() {
        let instruments = Instruments::new().unwrap();
        let meter = &instruments.meter;
        redline_producer::door::describe(meter).unwrap();
        let pool = redline_store::pool("postgres://nobody@127.0.0.1/none", "reference", 1).unwrap();
        redline_http::pools::show(&meter.of("ingest"), "ingest", &pool).unwrap();
        redline_consumer::metrics::describe(meter).unwrap();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/metrics.md");
        let written = std::fs::read_to_string(path).unwrap();
        let (words, _) = written.split_once("\n## ").expect("tables below headings");
        let page = format!("{words}{}", meter.reference());
        if std::env::var_os("REDLINE_WRITE_REFERENCE").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap();
        assert!(
            written == page,
            "docs/reference/metrics.md is not current: run `make docs`"
        );
    }
}
