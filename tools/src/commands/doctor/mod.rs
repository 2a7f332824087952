//! `redline doctor`: how an installation is, and what to do about it.
//!
//! Everything is asked in the order in which one thing needs the other, and nothing is changed but one key in Redis that
//! lasts a second. Each question has a time to be answered in; one that has no answer does not hold up those that do not
//! need it.

mod kafka;
mod kafka_topics;
mod machine;
mod postgres;
mod quiet;
mod record;
mod redis;
mod registry;
mod report;
mod settings;
mod totals;

use std::path::Path;
use std::time::Duration;

pub(crate) use self::quiet::{quiet, until_quiet};
use self::report::{Outcome, Report};
pub(crate) use self::totals::totals;
use crate::settings::Settings;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Checks everything; answers whether something has to be mended. `file` is what the command line says.
pub(crate) async fn check(
    file: Option<&Path>,
    loaded: anyhow::Result<Settings>,
    json: bool,
) -> anyhow::Result<bool> {
    let mut report = Report::new(json)?;
    settings::check(&mut report, file, &loaded)?;
    let Ok(settings) = loaded else {
        for service in [
            "rules", "kafka", "registry", "postgres", "redis", "record", "machine",
        ] {
            report.say(service, "all", Outcome::skipped("the settings cannot be used"))?;
        }
        return report.end();
    };
    settings::rules(&mut report, &settings)?;
    let brokers = kafka::check(&mut report, &settings).await?;
    registry::check(&mut report, &settings).await?;
    let connection = postgres::check(&mut report, &settings).await?;
    redis::check(&mut report, &settings).await?;
    record::check(&mut report, &settings, connection, brokers).await?;
    machine::check(&mut report, &settings).await?;
    report.end()
}
