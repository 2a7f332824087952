//! `redline serve`: all roles in one process, on real services.

use tokio_util::sync::CancellationToken;

use super::connecting::{self, Service};
use super::instruments::Instruments;
use super::work;
use crate::roles::Roles;
use crate::settings::Settings;

/// Serves until told to stop.
pub(crate) async fn run(settings: &Settings, stop: CancellationToken) -> anyhow::Result<()> {
    connecting::check(settings, &[Service::Kafka, Service::Registry, Service::Postgres]).await?;
    let instruments = Instruments::new()?;
    let marks = work::redis_marks(settings, &instruments).await?;
    let roles = Roles::start(settings, &instruments, settings.registry.client()?, marks, stop).await?;
    tracing::info!(address = %roles.address, "the door is open");
    roles.ended().await
}
