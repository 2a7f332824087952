//! Whether the services can be used as they are set, asked at the start of whoever needs them.
//!
//! A role waits for a service that is away. One that answers and refuses, because of a password, a certificate or TLS, would
//! refuse for ever: then the role ends with the sentence that says what to mend, before it takes anything on.

use std::time::Duration;

use redline_producer::kafka::{self, Unreached};
use redline_schemas::registry::RegistryError;
use redline_schemas::topics::subject;

use crate::settings::Settings;

/// How long a service may take; whoever is silent for longer is away.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a role cannot work without.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Kafka,
    Registry,
    Postgres,
}

/// Ends with an error when one of these answers and will not do; of those that are away it tells.
pub(crate) async fn check(settings: &Settings, services: &[Service]) -> anyhow::Result<()> {
    let wanted = |service| services.contains(&service);
    let kafka = async {
        match wanted(Service::Kafka) {
            true => kafka::reach(&settings.kafka, PATIENCE).await,
            false => Ok(()),
        }
    };
    let registry = async {
        if wanted(Service::Registry) {
            let subject = subject(&settings.topics.flagged);
            settings.registry.client()?.reach(&subject).await?;
        }
        anyhow::Ok(())
    };
    let postgres = async {
        match wanted(Service::Postgres) {
            true => redline_store::reach(settings.database.url(), "start").await,
            false => Ok(()),
        }
    };
    let (kafka, registry, postgres) = tokio::join!(kafka, registry, postgres);
    match kafka {
        Err(error @ Unreached::Unusable(_)) => return Err(error.into()),
        Err(error @ Unreached::Away(_)) => tracing::warn!("waiting: {error}"),
        Ok(()) => {}
    }
    if let Err(error) = registry {
        if !matches!(error.downcast_ref(), Some(RegistryError::Unavailable { .. })) {
            return Err(error);
        }
        tracing::warn!("waiting: {error}");
    }
    match postgres {
        Err(error) if error.is_unusable() => return Err(error.into()),
        Err(error) => {
            let place = redline_store::place(settings.database.url())?;
            tracing::warn!(
                "waiting: Postgres at {place} does not answer ({error}); look at it, and at database.url"
            );
        }
        Ok(()) => {}
    }
    Ok(())
}

/// The same for a command that only publishes; Kafka that is away it waits for itself.
pub(crate) async fn kafka(settings: &Settings) -> anyhow::Result<()> {
    match kafka::reach(&settings.kafka, PATIENCE).await {
        Err(error @ Unreached::Unusable(_)) => Err(error.into()),
        Err(Unreached::Away(_)) | Ok(()) => Ok(()),
    }
}
