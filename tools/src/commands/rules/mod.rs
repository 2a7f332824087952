//! `redline rules`: rule files before they act, putting them in force, and those that ever were.

mod activate;
mod backtest;
mod recorded;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use redline_domain::rules::{RuleSet, SourceRules};

use self::activate::Activate;
use self::backtest::Backtest;
use super::counted;
use crate::settings::Settings;
use crate::{Ending, found};

#[derive(Subcommand)]
pub(crate) enum RulesCommand {
    /// Read a rule file as `activate` would; exit 3 when it is refused, with line, key and what is expected.
    #[command(after_help = "Example: redline rules check configs/rules.toml")]
    Check {
        /// The file; default that of the setting migrate.rules.
        file: Option<PathBuf>,
        /// The result as one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Put a rule file in force, from now on or from another instant.
    #[command(
        after_help = "Example: redline rules activate configs/rules.toml --effective-at 2026-03-01T00:00:00Z\n\n\
        Everything is judged by the rules in force at its own time. So rules that are effective from a past instant \
        judge again what was recorded about the time since then, and flags are revised or withdrawn."
    )]
    Activate(Activate),
    /// Judge recorded rows again under a rule file, in memory, and show which flags would be there more, less or
    /// differently; exit 3 when any would. Nothing is written.
    #[command(
        after_help = "Example: redline rules backtest --rules new-rules.toml --from 2026-01-01T00:00:00Z"
    )]
    Backtest(Backtest),
    /// List all rule sets that were ever recorded.
    #[command(after_help = "Example: redline rules list --json")]
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Print the text of a recorded rule set.
    #[command(after_help = "Example: redline rules show initial > rules.toml")]
    Show {
        /// The id, as `list` shows it, or the `rules_hash` of a flag.
        id: String,
        /// The version; default the one that stands.
        #[arg(long)]
        version: Option<i64>,
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// Obeys.
pub(crate) async fn run(command: RulesCommand, settings: &Settings) -> anyhow::Result<Ending> {
    match command {
        RulesCommand::Check { file, json } => {
            let file = file.as_deref().unwrap_or(&settings.migrate.rules);
            return Ok(found(check(file, json)?));
        }
        RulesCommand::Activate(arguments) => activate::run(settings, &arguments).await?,
        RulesCommand::Backtest(arguments) => return Ok(found(backtest::run(settings, &arguments).await?)),
        RulesCommand::List { json } => recorded::list(settings, json).await?,
        RulesCommand::Show { id, version, json } => recorded::show(settings, &id, version, json).await?,
    }
    Ok(Ending::Done)
}

/// Reads a rule file; answers whether it is refused.
fn check(file: &Path, json: bool) -> anyhow::Result<bool> {
    let name = file.display();
    let text = fs::read_to_string(file).with_context(|| format!("the rule file {name} cannot be read"))?;
    let mut out = std::io::stdout();
    match RuleSet::parse(&text) {
        Err(error) if json => {
            let refused = serde_json::json!({
                "file": name.to_string(), "line": error.line, "key": error.key, "reason": error.reason,
            });
            writeln!(out, "{refused}")?;
            Ok(true)
        }
        Err(error) => {
            let line = error.line.map_or_else(String::new, |line| format!("{line}:"));
            let key = match error.key.as_str() {
                "" => String::new(),
                key => format!("{key} "),
            };
            writeln!(out, "{name}:{line} {key}{}", error.reason)?;
            Ok(true)
        }
        Ok(set) if json => {
            let sources: serde_json::Map<String, serde_json::Value> = set
                .sources()
                .map(|(source, rules)| (source.to_owned(), rules.hash.clone().into()))
                .collect();
            writeln!(
                out,
                "{}",
                serde_json::json!({"file": name.to_string(), "sources": sources})
            )?;
            Ok(false)
        }
        Ok(set) => {
            writeln!(out, "{name} can be used")?;
            for (source, rules) in set.sources() {
                writeln!(out, "  {source}: {}", summary(rules))?;
            }
            Ok(false)
        }
    }
}

fn summary(rules: &SourceRules) -> String {
    let currencies: Vec<&str> = rules.thresholds.keys().map(String::as_str).collect();
    let thresholds = match currencies.as_slice() {
        [] => "no thresholds, so that every impact is HIGH".to_owned(),
        some => format!("thresholds for {}", some.join(", ")),
    };
    format!(
        "{}, {}, {thresholds}",
        counted(rules.tracked.len(), "tracked column", "tracked columns"),
        counted(rules.rules.len(), "rule of its own", "rules of its own"),
    )
}
