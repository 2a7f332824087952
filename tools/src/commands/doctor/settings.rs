//! Where the settings come from, and the rule file.

use std::path::Path;

use super::report::{Outcome, Report};
use crate::commands::counted;
use crate::commands::rules;
use crate::settings::{Origin, Settings};

const SERVICE: &str = "settings";

pub(super) fn check(
    report: &mut Report,
    file: Option<&Path>,
    loaded: &anyhow::Result<Settings>,
) -> anyhow::Result<()> {
    let origin = Origin::find(file);
    let place = match &origin.file {
        Some(path) => path.display().to_string(),
        None => "no file, the defaults hold".to_owned(),
    };
    let outcome = match loaded {
        Ok(_) => Outcome::ok(place),
        Err(error) => Outcome::failed(
            format!("{place}: {error:#}"),
            "mend the named key; configs/redline.toml and docs/reference/settings.md describe them all",
        ),
    };
    report.say(SERVICE, "file", outcome)?;
    let variables = match origin.variables.as_slice() {
        [] => "none is set".to_owned(),
        some => {
            let named: Vec<String> = some
                .iter()
                .map(|(variable, key)| format!("{variable} sets {key}"))
                .collect();
            named.join(", ")
        }
    };
    let outcome = match origin.unused.as_slice() {
        [] => Outcome::ok(variables),
        unused => Outcome::warning(
            format!("{variables}; {} set, and not read", unused.join(", ")),
            "a key is REDLINE_<SECTION>__<KEY>, with two underscores between",
        ),
    };
    report.say(SERVICE, "variables", outcome)?;
    Ok(())
}

/// The file that `redline migrate` records as the first rules.
pub(super) fn rules(report: &mut Report, settings: &Settings) -> anyhow::Result<()> {
    let file = &settings.migrate.rules;
    let name = file.display();
    let outcome = match rules::read(file) {
        Ok(Ok((_, set))) => {
            let sources = counted(set.sources().count() as u64, "source", "sources");
            Outcome::ok(format!("{name} can be used, for {sources}"))
        }
        Ok(Err(refused)) => Outcome::failed(
            format!("{name}: {refused}"),
            format!("mend it; `redline rules check {name}` tries again"),
        ),
        Err(error) => Outcome::failed(
            format!("{error:#}"),
            "name a file in migrate.rules; `redline migrate` records it as the first rules",
        ),
    };
    report.say("rules", "file", outcome)?;
    Ok(())
}
