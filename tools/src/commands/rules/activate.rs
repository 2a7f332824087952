//! `redline rules activate`: a rule file becomes a fact, which is in force from its instant on.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use redline_domain::facts::{self, Knowledge};
use redline_domain::rules::RuleSet;
use redline_schemas::fact::Fact;
use redline_schemas::{ContentHash, Timestamp};
use redline_store::recorded_rules::{self, RecordedRules};

use crate::Misuse;
use crate::commands::saying::{said_by, send, until_recorded};
use crate::settings::Settings;

#[derive(Args)]
pub(crate) struct Activate {
    /// The file; default that of the setting migrate.rules.
    file: Option<PathBuf>,
    /// From when on it is in force, such as 2026-03-01T00:00:00Z; default now.
    #[arg(long, value_name = "RFC3339", value_parser = instant)]
    effective_at: Option<Timestamp>,
    /// What the rule set is called; default its instant. A known id replaces the rules of this id.
    #[arg(long)]
    id: Option<String>,
    /// Who says it; default the user of this system.
    #[arg(long, value_name = "NAME")]
    recorded_by: Option<String>,
    /// The result as one JSON object.
    #[arg(long)]
    json: bool,
}

fn instant(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text)
}

/// What a rule file comes to among those that are recorded.
#[derive(Debug)]
enum Decision {
    /// The same text is in force already, under this id.
    Same(String),
    /// It is to be published.
    Publish(Box<Plan>),
}

/// A rule set that is to be published, and what it does.
#[derive(Debug)]
struct Plan {
    fact: Fact,
    /// When other rules take over, and their id.
    until: Option<(Timestamp, String)>,
    /// Each source that is judged by other rules, with the first instant.
    sources: BTreeMap<String, Timestamp>,
}

/// Reads the file, publishes it where it changes anything, and says what happens.
pub(super) async fn run(settings: &Settings, arguments: &Activate) -> anyhow::Result<()> {
    let file = arguments.file.as_ref().unwrap_or(&settings.migrate.rules);
    let name = file.display();
    let (text, set) = match super::read(file)? {
        Ok(read) => read,
        Err(error) => {
            if arguments.json {
                writeln!(std::io::stdout(), "{}", super::refusal(file, &error))?;
            }
            return Err(error).with_context(|| format!("{name} is refused, and nothing was activated"));
        }
    };
    let now = Timestamp::now();
    let effective_at = arguments.effective_at.unwrap_or(now);
    let by = said_by(arguments.recorded_by.as_deref(), "rules activate");
    let pool = redline_store::pool(settings.database.url(), "rules", 1)?;
    until_recorded(settings, &pool).await?;
    let recorded = recorded_rules::list(&pool).await?;
    let mut out = std::io::stdout();
    let plan = match decide(&recorded, &text, effective_at, arguments.id.as_deref(), &by)? {
        Decision::Publish(plan) => plan,
        Decision::Same(id) if arguments.json => {
            writeln!(out, "{}", serde_json::json!({"sent": false, "id": id}))?;
            return Ok(());
        }
        Decision::Same(id) => {
            writeln!(
                out,
                "{name} is in force at {effective_at} already, as {id}; nothing was sent"
            )?;
            return Ok(());
        }
    };
    let tally = send(settings, vec![(1, plan.fact.clone())]).await?;
    if let Some(refused) = tally.errors.first() {
        bail!("{name}: {}", refused.reason);
    }
    if arguments.json {
        writeln!(out, "{}", plan.json(now))?;
    } else {
        write!(out, "{}", plan.told(&name.to_string(), &set, now))?;
    }
    Ok(())
}

/// Finds out what a rule file comes to.
fn decide(
    recorded: &[RecordedRules],
    text: &str,
    effective_at: Timestamp,
    id: Option<&str>,
    by: &str,
) -> anyhow::Result<Decision> {
    let standing = || {
        recorded
            .iter()
            .filter(|rules| rules.stands)
            .map(|rules| &rules.fact)
    };
    let known = |id: &str| standing().find(|fact| fact.id == id);
    let same = match id {
        Some(id) => known(id).filter(|fact| fact.effective_at == effective_at),
        None => standing().rfind(|fact| fact.effective_at <= effective_at),
    };
    if let Some(same) = same.filter(|fact| fact.text.as_deref() == Some(text)) {
        return Ok(Decision::Same(same.id.clone()));
    }
    let id = id.map_or_else(|| effective_at.to_string(), str::to_owned);
    let version = known(&id).map_or(0, |fact| fact.version + 1);
    let fact = Fact::rules(&id, version, effective_at, by, text);
    facts::check(&fact).map_err(|error| Misuse(error.to_string()))?;
    let others = || standing().filter(|fact| fact.id != id);
    if let Some(greater) = others().find(|fact| fact.effective_at == effective_at && fact.id > id) {
        bail!(
            "the rules {greater} are effective from the same instant, {effective_at}, and of two the one with the greater \
             id counts; replace them with --id {greater}, or choose another instant",
            greater = greater.id
        );
    }
    // Of several at one instant the greatest id counts.
    let until = others()
        .filter(|fact| fact.effective_at > effective_at)
        .map(|fact| (fact.effective_at, fact.id.clone()))
        .reduce(|next, other| {
            if other.0 > next.0 || other.1 < next.1 {
                next
            } else {
                other
            }
        });
    let mut knowledge = Knowledge::default();
    for rules in recorded {
        let taken = knowledge.take(&rules.fact, rules.hash);
        taken.with_context(|| format!("the recorded rules {} cannot be read", rules.fact.id))?;
    }
    let hash = ContentHash::of(fact.canonical().as_bytes());
    let sources = knowledge.take(&fact, hash)?;
    Ok(Decision::Publish(Box::new(Plan { fact, until, sources })))
}

impl Plan {
    /// The first instant at which anything is judged otherwise, when it is past.
    fn past(&self, now: Timestamp) -> Option<Timestamp> {
        self.sources.values().copied().min().filter(|from| *from < now)
    }

    fn told(&self, name: &str, set: &RuleSet, now: Timestamp) -> String {
        let Fact {
            id,
            version,
            effective_at,
            ..
        } = &self.fact;
        let until = match &self.until {
            Some((time, id)) => format!(" until {time}, when {id} takes over"),
            None => String::new(),
        };
        let mut lines = vec![format!(
            "{name} is published as rules {id}, version {version}, in force from {effective_at}{until}"
        )];
        if self.sources.is_empty() {
            lines.push("  every source is judged as before".to_owned());
        }
        for (source, from) in &self.sources {
            let what = match set.source(source) {
                Some(_) => "judged otherwise",
                None => "named by no rules any more, and not judged,",
            };
            lines.push(format!("  {source}: {what} from {from} on"));
        }
        if let Some(from) = self.past(now) {
            lines.push(format!(
                "warning: {from} is past; what was recorded about the time since then is judged again"
            ));
        }
        lines.push("Workers act on it when they have recorded it.\n".to_owned());
        lines.join("\n")
    }

    fn json(&self, now: Timestamp) -> serde_json::Value {
        let sources: BTreeMap<&str, String> = self
            .sources
            .iter()
            .map(|(source, from)| (source.as_str(), from.to_string()))
            .collect();
        serde_json::json!({
            "sent": true,
            "id": self.fact.id,
            "version": self.fact.version,
            "effective_at": self.fact.effective_at.to_string(),
            "until": self.until.as_ref().map(|(time, _)| time.to_string()),
            "sources": sources,
            "judged_again_from": self.past(now).map(|time| time.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "[sources.billing]\n[sources.outages]";
    const OTHER: &str = "[sources.billing]\ngrace_days = 3\n[sources.outages]";

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn recorded(sets: &[(&str, i64, &str, &str)]) -> Vec<RecordedRules> {
        let mut all: Vec<RecordedRules> = sets
            .iter()
            .map(|(id, version, from, text)| {
                let fact = Fact::rules(id, *version, at(from), "eve", text);
                RecordedRules {
                    hash: ContentHash::of(fact.canonical().as_bytes()),
                    stands: !sets
                        .iter()
                        .any(|(other, higher, ..)| other == id && higher > version),
                    fact,
                }
            })
            .collect();
        all.sort_by(|a, b| (a.fact.effective_at, &a.fact.id).cmp(&(b.fact.effective_at, &b.fact.id)));
        all
    }

    fn initial() -> Vec<RecordedRules> {
        recorded(&[("initial", 0, "1900-01-01T00:00:00Z", FIRST)])
    }

    fn plan(recorded: &[RecordedRules], text: &str, from: &str, id: Option<&str>) -> Box<Plan> {
        match decide(recorded, text, at(from), id, "eve").unwrap() {
            Decision::Publish(plan) => plan,
            Decision::Same(id) => panic!("nothing would be sent, because of {id}"),
        }
    }

    #[test]
    fn what_changes_is_said_with_its_instant() {
        let plan = plan(&initial(), OTHER, "2026-03-01T00:00:00Z", None);
        let set = RuleSet::parse(OTHER).unwrap();
        insta::assert_snapshot!(plan.told("rules.toml", &set, at("2026-03-01T00:00:00Z")));
        insta::assert_snapshot!(plan.told("rules.toml", &set, at("2026-03-01T00:00:00.000001Z")));
        insta::assert_snapshot!(plan.json(at("2026-04-01T00:00:00Z")));
    }

    #[test]
    fn a_source_that_is_named_no_more_and_later_rules_are_said() {
        let later = recorded(&[
            ("initial", 0, "1900-01-01T00:00:00Z", FIRST),
            ("later", 0, "2026-06-01T00:00:00Z", FIRST),
        ]);
        let text = "[sources.billing]";
        let plan = plan(&later, text, "2026-03-01T00:00:00Z", Some("spring"));
        let set = RuleSet::parse(text).unwrap();
        insta::assert_snapshot!(plan.told("rules.toml", &set, at("2026-02-01T00:00:00Z")));
    }

    #[test]
    fn of_several_at_one_instant_the_greatest_id_takes_over() {
        let later = recorded(&[
            ("initial", 0, "1900-01-01T00:00:00Z", FIRST),
            ("a", 0, "2026-06-01T00:00:00Z", FIRST),
            ("b", 0, "2026-06-01T00:00:00Z", OTHER),
            ("z", 0, "2026-07-01T00:00:00Z", FIRST),
        ]);
        let plan = plan(&later, OTHER, "2026-03-01T00:00:00Z", None);
        assert_eq!(plan.until, Some((at("2026-06-01T00:00:00Z"), "b".to_owned())));
    }

    #[test]
    fn the_text_that_is_in_force_already_is_not_sent_again() {
        let decide = |text, from, id| decide(&initial(), text, at(from), id, "eve").unwrap();
        let same = |decision| matches!(decision, Decision::Same(id) if id == "initial");
        assert!(same(decide(FIRST, "2026-03-01T00:00:00Z", None)));
        assert!(same(decide(FIRST, "1900-01-01T00:00:00Z", Some("initial"))));
        assert!(!same(decide(FIRST, "2026-03-01T00:00:00Z", Some("spring"))));
        assert!(!same(decide(OTHER, "2026-03-01T00:00:00Z", None)));
    }

    #[test]
    fn another_text_under_a_known_id_is_its_next_version() {
        let known = recorded(&[
            ("initial", 0, "1900-01-01T00:00:00Z", FIRST),
            ("spring", 0, "2026-02-01T00:00:00Z", FIRST),
            ("spring", 1, "2026-03-01T00:00:00Z", OTHER),
        ]);
        let plan = plan(&known, FIRST, "2026-04-01T00:00:00Z", Some("spring"));
        assert_eq!(plan.fact.version, 2);
        assert_eq!(
            plan.sources,
            [("billing".to_owned(), at("2026-03-01T00:00:00Z"))].into(),
            "what spring said of March is gone too"
        );
    }

    #[test]
    fn rules_that_would_never_count_are_refused_with_the_id_to_replace() {
        let error = decide(&initial(), OTHER, at("1900-01-01T00:00:00Z"), None, "eve").unwrap_err();
        assert!(error.to_string().contains("--id initial"), "{error}");
        let replaced = plan(&initial(), OTHER, "1900-01-01T00:00:00Z", Some("initial"));
        assert_eq!((replaced.fact.version, replaced.sources.len()), (1, 1));
    }

    #[test]
    fn an_id_or_name_that_cannot_be_is_wrong_use() {
        let id = "x".repeat(201);
        let now = at("2026-03-01T00:00:00Z");
        for error in [
            decide(&initial(), OTHER, now, Some(&id), "eve").unwrap_err(),
            decide(&initial(), OTHER, now, None, "").unwrap_err(),
        ] {
            assert!(error.downcast_ref::<Misuse>().is_some(), "{error}");
        }
    }
}
