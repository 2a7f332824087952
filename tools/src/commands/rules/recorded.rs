//! Rule sets that were ever recorded.

use std::io::Write as _;

use anyhow::bail;
use redline_domain::rules::RuleSet;
use redline_schemas::{ContentHash, Timestamp};
use redline_store::recorded_rules::{self, RecordedRules};

use crate::settings::Settings;

/// The place of a rule set among the others.
fn state(all: &[RecordedRules], place: usize, now: Timestamp) -> &'static str {
    let is_later = |rules: &RecordedRules| rules.stands && rules.fact.effective_at <= now;
    match all.get(place) {
        Some(rules) if !rules.stands => "replaced",
        Some(rules) if rules.fact.effective_at > now => "to come",
        _ if all.iter().skip(place + 1).any(is_later) => "over",
        _ => "in force",
    }
}

/// Lists them, in the order in which they are in force.
pub(super) async fn list(settings: &Settings, json: bool) -> anyhow::Result<()> {
    let pool = redline_store::pool(settings.database.url(), "rules", 1)?;
    let all = recorded_rules::list(&pool).await?;
    let now = Timestamp::now();
    let mut out = std::io::stdout();
    if all.is_empty() && !json {
        writeln!(
            out,
            "No rules are recorded; `redline migrate` records the first ones."
        )?;
    }
    for (place, RecordedRules { fact, .. }) in all.iter().enumerate() {
        let state = state(&all, place, now);
        let sha256 = ContentHash::of(fact.text.as_deref().unwrap_or_default().as_bytes());
        if json {
            let line = serde_json::json!({
                "id": fact.id,
                "version": fact.version,
                "effective_at": fact.effective_at.to_string(),
                "recorded_by": fact.recorded_by,
                "state": state,
                "sha256": sha256.to_string(),
            });
            writeln!(out, "{line}")?;
        } else {
            writeln!(
                out,
                "{state:<8}  from {}  {} version {}, by {}\n          SHA-256 {sha256}",
                fact.effective_at, fact.id, fact.version, fact.recorded_by
            )?;
        }
    }
    Ok(())
}

/// Whether a rule set has a source whose part has this hash, which is what flags carry as `rules_hash`.
fn has_part(rules: &RecordedRules, hash: &str) -> bool {
    let text = rules.fact.text.as_deref().unwrap_or_default();
    RuleSet::parse(text).is_ok_and(|set| set.sources().any(|(_, source)| source.hash == hash))
}

/// Prints the text of one, by its id or by a flag's `rules_hash`.
pub(super) async fn show(
    settings: &Settings,
    id: &str,
    version: Option<i64>,
    json: bool,
) -> anyhow::Result<()> {
    let pool = redline_store::pool(settings.database.url(), "rules", 1)?;
    let all = recorded_rules::list(&pool).await?;
    // Of contents at one version the last is the one that could stand.
    let of_id = all.iter().rev().find(|rules| {
        rules.fact.id == id && version.map_or(rules.stands, |version| rules.fact.version == version)
    });
    let wanted = of_id.or_else(|| {
        all.iter()
            .rev()
            .find(|rules| version.is_none() && has_part(rules, id))
    });
    let Some(RecordedRules { fact, .. }) = wanted else {
        match version {
            Some(version) => {
                bail!("no rules {id} of version {version} are recorded; see `redline rules list`")
            }
            None => bail!("no rules {id} are recorded, nor any with that hash; see `redline rules list`"),
        }
    };
    let text = fact.text.as_deref().unwrap_or_default();
    let mut out = std::io::stdout();
    if json {
        let shown = serde_json::json!({
            "id": fact.id,
            "version": fact.version,
            "effective_at": fact.effective_at.to_string(),
            "recorded_by": fact.recorded_by,
            "text": text,
        });
        writeln!(out, "{shown}")?;
    } else {
        write!(out, "{text}")?;
    }
    Ok(())
}
