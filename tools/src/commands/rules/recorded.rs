//! Rule sets that were ever recorded.

use std::io::Write as _;

use anyhow::bail;
use redline_domain::rules::RuleSet;
use redline_schemas::{ContentHash, Timestamp};
use redline_store::recorded_rules::{self, RecordedRules};

use crate::settings::Settings;

/// The place of a rule set among the others.
fn state(all: &[RecordedRules], place: usize, now: Timestamp) -> &'static str {
    let later = || all.iter().skip(place + 1).filter(|rules| rules.stands);
    match all.get(place) {
        Some(rules) if !rules.stands => "replaced",
        // Of two at one instant the greater id counts, and it comes later in the list.
        Some(rules) if later().any(|other| other.fact.effective_at == rules.fact.effective_at) => "shadowed",
        Some(rules) if rules.fact.effective_at > now => "to come",
        _ if later().any(|other| other.fact.effective_at <= now) => "over",
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

#[cfg(test)]
mod tests {
    use redline_schemas::fact::Fact;

    use super::*;

    #[test]
    fn of_two_at_one_instant_the_lesser_id_is_shadowed_now_and_later() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let rules = |id: &str, from: &str, stands| {
            let fact = Fact::rules(id, 0, at(from), "eve", "");
            let hash = ContentHash::of(fact.canonical().as_bytes());
            RecordedRules { fact, hash, stands }
        };
        let all = [
            rules("initial", "1900-01-01T00:00:00Z", true),
            rules("a", "2026-02-01T00:00:00Z", true),
            rules("b", "2026-02-01T00:00:00Z", true),
            rules("c", "2026-02-01T00:00:00Z", false),
            rules("d", "2026-04-01T00:00:00Z", true),
            rules("e", "2026-04-01T00:00:00Z", true),
        ];
        let now = at("2026-03-01T00:00:00Z");
        let states: Vec<&str> = (0..all.len()).map(|place| state(&all, place, now)).collect();
        assert_eq!(
            states,
            ["over", "shadowed", "in force", "replaced", "shadowed", "to come"]
        );
    }
}
