//! The schema registry: whether it is there, and has our schemas at the level that the contract names.

use redline_schemas::registry::{COMPATIBILITY, ConfluentRegistry, RegistryError, SchemaRegistry as _};
use redline_schemas::topics::subject;

use super::report::{Outcome, Report, Result as Checked};
use crate::settings::Settings;
use crate::topics;

const SERVICE: &str = "registry";
const LOOK: &str = "start the registry, or mend registry.url or its login; docs/guides/connections.md";

/// Checks the registry.
pub(super) async fn check(report: &mut Report, settings: &Settings) -> anyhow::Result<()> {
    let registry = settings.registry.client()?;
    let reached = async {
        match registry.reach(&subject(&settings.topics.flagged)).await {
            Ok(()) => Outcome::ok("it answers, and takes our login"),
            Err(error) => Outcome::failed(error.to_string(), LOOK),
        }
    };
    let reached = report.ask(SERVICE, "server", LOOK, reached).await?;
    for (topic, schema) in topics::with_schemas(&settings.topics) {
        let subject = subject(topic);
        if reached != Checked::Ok {
            report.say(SERVICE, &subject, Outcome::skipped("the registry cannot be used"))?;
            continue;
        }
        let asked = async {
            let outcome = asked(&registry, &subject, schema).await;
            outcome.unwrap_or_else(|error| Outcome::failed(error.to_string(), LOOK))
        };
        report.ask(SERVICE, &subject, LOOK, asked).await?;
    }
    Ok(())
}

async fn asked(registry: &ConfluentRegistry, subject: &str, schema: &str) -> Result<Outcome, RegistryError> {
    let migrate = "`redline migrate` registers it, and sets its level";
    let Some(id) = registry.schema_id(subject, schema).await? else {
        return Ok(Outcome::failed("our schema is not registered", migrate));
    };
    Ok(match registry.compatibility(subject).await? {
        Some(level) if level == COMPATIBILITY => Outcome::ok(format!("schema {id}, {level}")),
        Some(level) => Outcome::failed(
            format!("schema {id}, but the level is {level}; one that breaks readers could be registered"),
            format!("{migrate} ({COMPATIBILITY})"),
        ),
        None => Outcome::failed(
            format!("schema {id}, but it has no level of its own"),
            format!("{migrate} ({COMPATIBILITY})"),
        ),
    })
}
