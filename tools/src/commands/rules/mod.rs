//! `redline rules`: rule files before they act, putting them in force, and those that ever were.

mod activate;
pub(super) mod backtest;
mod recorded;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use redline_domain::rule_file::RuleError;
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
        after_help = "Example:\n  redline rules activate configs/rules.toml \\\n    --effective-at 2026-03-01T00:00:00Z\n\n\
        Everything is judged by the rules in force at its own time. So rules that are effective from a past instant \
        judge again what was recorded about the time since then, and flags are revised or withdrawn."
    )]
    Activate(Activate),
    /// Judge recorded rows again under a rule file, in memory, and show which flags would be there more, less or
    /// differently; exit 3 when any would. Nothing is written.
    #[command(
        after_help = "Example:\n  redline rules backtest --rules new-rules.toml \\\n    --from 2026-01-01T00:00:00Z"
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

/// The text of a rule file and what it says, or why it is refused.
pub(crate) fn read(file: &Path) -> anyhow::Result<Result<(String, RuleSet), RuleError>> {
    let bytes = fs::read(file).with_context(|| format!("the rule file {} cannot be read", file.display()))?;
    Ok(text_of(bytes).and_then(|text| RuleSet::parse(&text).map(|set| (text, set))))
}

/// The bytes as UTF-8 without a byte order mark, which no rule would ever show.
fn text_of(bytes: Vec<u8>) -> Result<String, RuleError> {
    let refused = |line, reason| RuleError {
        line: Some(line),
        key: String::new(),
        reason,
    };
    if bytes.starts_with(b"\xef\xbb\xbf") {
        let reason = "begins with a byte order mark (EF BB BF); save the file as UTF-8 without it";
        return Err(refused(1, reason.to_owned()));
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        let reason = "is UTF-16; save the file as UTF-8 without a byte order mark";
        return Err(refused(1, reason.to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let (valid, rest) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        let valid = String::from_utf8_lossy(valid);
        let column = valid.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let byte = rest.first().copied().unwrap_or_default();
        let reason =
            format!("has in column {column} the byte {byte:02X}, which is no UTF-8; save the file as UTF-8");
        refused(valid.matches('\n').count() + 1, reason)
    })
}

/// A refusal as one JSON object.
fn refusal(file: &Path, error: &RuleError) -> serde_json::Value {
    serde_json::json!({
        "file": file.display().to_string(), "line": error.line, "key": error.key, "reason": error.reason,
    })
}

/// Reads a rule file; answers whether it is refused.
fn check(file: &Path, json: bool) -> anyhow::Result<bool> {
    let name = file.display();
    let mut out = std::io::stdout();
    match read(file)? {
        Err(error) if json => {
            writeln!(out, "{}", refusal(file, &error))?;
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
        Ok((_, set)) if json => {
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
        Ok((_, set)) => {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_utf_8_are_named_with_line_and_column() {
        let refused = [
            &b"\xef\xbb\xbf[sources.billing]"[..],
            b"\xff\xfe[\0",
            b"[sources.billing]\n# caf\xe9\n",
        ];
        let told = refused.map(|bytes| text_of(bytes.to_vec()).unwrap_err().to_string());
        insta::assert_snapshot!(told.join("\n"));
        assert_eq!(text_of("# café".into()).unwrap(), "# café");
    }
}
