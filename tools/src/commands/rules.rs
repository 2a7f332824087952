//! `redline rules`: rule files, before they act.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use redline_domain::rules::{RuleSet, SourceRules};

use super::counted;

/// Reads a rule file; answers whether it is refused.
pub(crate) fn check(file: &Path, json: bool) -> anyhow::Result<bool> {
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
