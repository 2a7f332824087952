//! `redline rules backtest`: what other rules would flag of what is recorded.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use redline_consumer::backtest::{Candidate, Compared, Comparison, Example, Group, backtest};
use redline_schemas::Timestamp;
use redline_store::sqlx::PgConnection;
use redline_store::{facts, read_only_connection};
use serde_json::{Value, json};

use super::read;
use crate::Misuse;
use crate::commands::{counted, spinner};
use crate::settings::Settings;

#[derive(Args)]
pub(crate) struct Backtest {
    /// The rule file to try.
    #[arg(long, value_name = "FILE")]
    pub(in crate::commands) rules: PathBuf,
    /// From when on its rules would be in force, RFC 3339; default since when those of today are.
    #[arg(long, value_name = "INSTANT")]
    pub(in crate::commands) from: Option<String>,
    /// Compare no flags from then on, RFC 3339.
    #[arg(long, value_name = "INSTANT")]
    pub(in crate::commands) to: Option<String>,
    /// The result as one JSON object.
    #[arg(long)]
    pub(in crate::commands) json: bool,
}

/// Judges what is recorded under the file's rules and under those in force; answers whether the flags differ.
pub(in crate::commands) async fn run(settings: &Settings, trial: &Backtest) -> anyhow::Result<bool> {
    let mut connection = read_only_connection(settings.database.url(), "backtest").await?;
    let candidate = trial.candidate(&mut connection).await?;
    let bar = spinner()?;
    let comparison = backtest(&mut connection, &candidate, |rows| {
        bar.set_message(format!("{rows} rows judged"));
        bar.tick();
    })
    .await;
    bar.finish_and_clear();
    trial.tell(&comparison?, &candidate)
}

impl Backtest {
    /// What is tried.
    pub(in crate::commands) async fn candidate(
        &self,
        connection: &mut PgConnection,
    ) -> anyhow::Result<Candidate> {
        let name = self.rules.display();
        let (rules, _) =
            read(&self.rules)?.with_context(|| format!("{name} is refused, and nothing was judged"))?;
        let instant = |option: &str, text: &str| {
            Timestamp::parse(text).map_err(|reason| Misuse(format!("--{option} {text} {reason}")))
        };
        let from = self
            .from
            .as_deref()
            .map(|text| instant("from", text))
            .transpose()?;
        let to = self.to.as_deref().map(|text| instant("to", text)).transpose()?;
        let from = match from {
            Some(from) => from,
            None => facts::rules_in_force_since(connection)
                .await?
                .unwrap_or(Timestamp::FIRST),
        };
        if let Some(to) = to.filter(|to| *to <= from) {
            return Err(Misuse(format!(
                "--to {to} is not after {from}, from when on flags are compared"
            ))
            .into());
        }
        Ok(Candidate { rules, from, to })
    }

    /// Prints the comparison; answers whether the flags differ.
    pub(in crate::commands) fn tell(
        &self,
        comparison: &Comparison,
        candidate: &Candidate,
    ) -> anyhow::Result<bool> {
        let mut out = std::io::stdout();
        match self.json {
            true => writeln!(out, "{}", to_json(comparison, candidate))?,
            false => tell(comparison, candidate, &self.rules.display().to_string(), &mut out)?,
        }
        Ok(comparison.differs())
    }
}

fn tell(
    comparison: &Comparison,
    candidate: &Candidate,
    name: &str,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let rows = counted(comparison.rows, "row was", "rows were");
    let to = candidate.to.map_or_else(String::new, |to| format!(" to {to}"));
    writeln!(
        out,
        "{rows} judged under the rules in force and under {name}; flags from {}{to}, nothing was written",
        candidate.from
    )?;
    if comparison.rows_with_horizon > 0 {
        writeln!(
            out,
            "{} judged only from a horizon on;\n  what was before, retention removed",
            counted(comparison.rows_with_horizon, "of them was", "of them were")
        )?;
    }
    if !comparison.by_kind.is_empty() {
        let width = comparison
            .by_kind
            .keys()
            .map(|(kind, _)| kind.len())
            .max()
            .unwrap_or(4)
            .max(4);
        writeln!(
            out,
            "\n{:width$}  RISK    {:>9} {:>9} {:>7} {:>7} {:>11}",
            "KIND", "IN FORCE", "THE FILE", "MORE", "LESS", "DIFFERENTLY"
        )?;
        for ((kind, risk), compared) in &comparison.by_kind {
            writeln!(
                out,
                "{kind:width$}  {risk:6}  {:>9} {:>9} {:>7} {:>7} {:>11}",
                compared.now,
                compared.then,
                compared.more.count,
                compared.less.count,
                compared.different.count
            )?;
        }
    }
    for (title, group_of) in GROUPS {
        let examples: Vec<_> = comparison
            .by_kind
            .values()
            .flat_map(|compared| &group_of(compared).examples)
            .collect();
        if !examples.is_empty() {
            writeln!(out, "\nFlagged {title}, for example:")?;
        }
        for Example { flag, was } in examples {
            let was = was.as_ref().map_or_else(String::new, |was| format!("{was} -> "));
            writeln!(out, "  {was}{} {}: {}", flag.risk, flag.kind, flag.reason)?;
        }
    }
    match comparison.differs() {
        true => writeln!(out, "\nThe flags differ."),
        false => writeln!(out, "\nNo difference."),
    }
}

type GroupOf = fn(&Compared) -> &Group;

/// The groups of a comparison with their titles.
const GROUPS: [(&str, GroupOf); 3] = [
    ("more", |compared| &compared.more),
    ("less", |compared| &compared.less),
    ("differently", |compared| &compared.different),
];

fn to_json(comparison: &Comparison, candidate: &Candidate) -> Value {
    let group = |group: &Group| {
        let examples: Vec<Value> = group
            .examples
            .iter()
            .filter_map(|Example { flag, was }| {
                let mut flag: Value = serde_json::from_str(&flag.to_json()).ok()?;
                flag["was"] = json!(was);
                // What was never recorded has no place.
                if flag["position"]["topic"] == "" {
                    flag.as_object_mut()?.remove("position");
                }
                Some(flag)
            })
            .collect();
        json!({"count": group.count, "examples": examples})
    };
    let kinds: Vec<Value> = comparison
        .by_kind
        .iter()
        .map(|((kind, risk), compared)| {
            json!({
                "kind": kind, "risk": risk, "in_force": compared.now, "candidate": compared.then,
                "more": group(&compared.more), "less": group(&compared.less),
                "differently": group(&compared.different),
            })
        })
        .collect();
    json!({
        "rows": comparison.rows, "rows_with_horizon": comparison.rows_with_horizon, "from": candidate.from.to_string(),
        "to": candidate.to.map(|to| to.to_string()), "differs": comparison.differs(), "flags": kinds,
    })
}
