//! What the demo tells: what was found of what was planted, some of it in plain words, and where to look.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use indicatif::HumanCount;
use redline_schemas::Amount;
use redline_simulator::{Report, Truth};
use serde_json::Value;

/// Columns of the narrowest terminal that is written for.
const WIDTH: usize = 80;
const RISKS: [&str; 3] = ["HIGH", "MEDIUM", "LOW"];

/// What was found of what was planted, by kind and risk, and whether it is the same.
pub(super) fn comparison(truth: &Truth, flags: &[Value], report: &Report) -> String {
    let mut found: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for flag in flags {
        *found.entry((text(flag, "kind"), text(flag, "risk"))).or_default() += 1;
    }
    let mut kinds: Vec<&str> = truth.counts.keys().map(String::as_str).collect();
    kinds.extend(found.keys().map(|(kind, _)| *kind));
    kinds.sort_unstable();
    kinds.dedup();
    let planted = |kind: &str, risk: &str| {
        let of_kind = truth.counts.get(kind);
        of_kind.and_then(|risks| risks.get(risk)).copied().unwrap_or(0)
    };
    let mut lines = String::new();
    let _ = writeln!(
        lines,
        "  {:<24}{:>15}{:>15}{:>15}",
        "", RISKS[0], RISKS[1], RISKS[2]
    );
    let mut totals = [(0, 0); 3];
    for kind in kinds {
        let _ = write!(lines, "  {kind:<24}");
        for (risk, total) in RISKS.into_iter().zip(&mut totals) {
            let counts = (
                found.get(&(kind, risk)).copied().unwrap_or(0),
                planted(kind, risk),
            );
            *total = (total.0 + counts.0, total.1 + counts.1);
            let _ = write!(lines, "{:>15}", cell(counts));
        }
        lines.push('\n');
    }
    let _ = write!(lines, "  {:<24}", "all");
    for total in totals {
        let _ = write!(lines, "{:>15}", cell(total));
    }
    lines.push('\n');
    let verdict = match report.is_clean() {
        true => "  Everything that was planted was found, each with its impact, and nothing else.".to_owned(),
        false => format!("\n  What was found differs from what was planted:\n\n{report}"),
    };
    format!("{lines}\n{verdict}\n")
}

fn cell((found, planted): (usize, usize)) -> String {
    match (found, planted) {
        (0, 0) => "-".to_owned(),
        _ => format!("{} of {}", HumanCount(found as u64), HumanCount(planted as u64)),
    }
}

/// The costliest flag of each of three kinds. Impacts beyond all measure, which are planted too, are passed over.
pub(super) fn examples(flags: &[Value]) -> Vec<&Value> {
    const KINDS: [&str; 3] = [
        "retroactive_change",
        "completed_row_change",
        "unauthorized_editor",
    ];
    const BEYOND_MEASURE: u128 = 1_000_000 * 1_000_000_000;
    let impact = |flag: &Value| {
        let amount = text(flag, "impact").parse::<Amount>();
        amount.map_or(0, |amount| amount.units().unsigned_abs())
    };
    let of_kind = |kind| flags.iter().filter(move |flag| text(flag, "kind") == kind);
    KINDS
        .into_iter()
        .filter_map(|kind| {
            of_kind(kind)
                .filter(|flag| impact(flag) < BEYOND_MEASURE)
                .max_by_key(|flag| impact(flag))
        })
        .collect()
}

/// A flag in plain words.
pub(super) fn in_words(flag: &Value) -> String {
    let editor = flag["editor"]
        .as_str()
        .map_or_else(String::new, |editor| format!(", by {editor}"));
    let (risk, kind) = (text(flag, "risk"), text(flag, "kind"));
    format!(
        "  {risk}: {kind}{editor}\n{}",
        wrapped(text(flag, "reason"), "    ")
    )
}

/// A flag of a live edit, in a line or two.
pub(super) fn live(flag: &Value) -> String {
    let line = format!("{} {}", text(flag, "risk"), text(flag, "reason"));
    wrapped(&line, "    ").replacen("    ", "  ", 1)
}

/// What to do next. The key stands in a variable, so that each line can be copied.
pub(super) struct Next<'a> {
    pub(super) address: String,
    pub(super) key: &'a str,
    pub(super) bootstrap_servers: &'a str,
    pub(super) flagged: &'a str,
    pub(super) psql: Option<&'a str>,
    pub(super) flag: Option<&'a Value>,
}

impl Next<'_> {
    pub(super) fn told(&self) -> String {
        let Self {
            address,
            key,
            bootstrap_servers,
            flagged,
            psql,
            flag,
        } = self;
        let source = redline_simulator::rulebook::SOURCE;
        let curl = "curl -sS -H \"Authorization: Bearer $KEY\"";
        let mut lines = String::new();
        let _ = writeln!(lines, "Look further, in another terminal:\n");
        let _ = writeln!(
            lines,
            "  The newest flags of high risk over HTTP, with the demo's key:"
        );
        let _ = writeln!(lines, "    KEY={key}");
        let _ = writeln!(
            lines,
            "    {curl} \\\n      '{address}/v1/flags?source={source}&risk=HIGH&limit=5'"
        );
        if let Some(flag) = flag {
            let row = text(flag, "entity_id");
            let _ = writeln!(
                lines,
                "  The history behind the first flag above, each version and what came of it:"
            );
            let _ = writeln!(
                lines,
                "    {curl} \\\n      {address}/v1/entities/row/{source}/{row}/history"
            );
        }
        let _ = writeln!(
            lines,
            "  The flags since this start as others read them from Kafka, in Avro, by row:"
        );
        let _ = writeln!(
            lines,
            "    kcat -C -b {bootstrap_servers} -t {flagged} -e -q -f '%k\\n' \\\n      | sort | uniq -c | sort -rn | head -5"
        );
        if let Some(psql) = psql {
            let _ = writeln!(lines, "  The tables:");
            let _ = writeln!(
                lines,
                "    {psql} \\\n      -c \"select kind, risk, count(*) from redline.flags where source = '{source}'\n          and status = 'standing' group by 1, 2 order by 1, 2\""
            );
        }
        let _ = writeln!(
            lines,
            "  What it measures of itself:\n    curl -sS {address}/metrics"
        );
        lines
    }
}

/// Lines for a terminal, each behind an indent.
pub(super) fn wrapped(text: &str, indent: &str) -> String {
    let options = textwrap::Options::new(WIDTH)
        // An id is one word.
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .initial_indent(indent)
        .subsequent_indent(indent);
    textwrap::fill(text, options) + "\n"
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use redline_simulator::{Simulation, SimulationSettings, compare};
    use serde_json::json;

    use super::*;

    fn planted() -> (Truth, Vec<Value>, Vec<Value>) {
        let settings = SimulationSettings {
            rows: 200,
            ..SimulationSettings::default()
        };
        let truth = Simulation::new(settings).truth;
        let values = |list: Value| list.as_array().cloned().unwrap();
        let changes = values(serde_json::to_value(&truth.changes).unwrap());
        let flags = values(serde_json::to_value(&truth.flags).unwrap());
        (truth, changes, flags)
    }

    #[test]
    fn what_was_found_stands_beside_what_was_planted_by_kind_and_risk() {
        let (truth, changes, flags) = planted();
        let report = compare(&truth, &changes, &flags);
        insta::assert_snapshot!(comparison(&truth, &flags, &report));
    }

    #[test]
    fn what_is_missing_or_too_much_is_told_and_named() {
        let (truth, changes, mut flags) = planted();
        let missing = flags.pop().unwrap();
        let report = compare(&truth, &changes, &flags);
        let told = comparison(&truth, &flags, &report);
        assert!(told.contains("differs from what was planted"), "{told}");
        assert!(told.contains(missing["entity_id"].as_str().unwrap()), "{told}");
        assert!(!told.contains("and nothing else"), "{told}");
    }

    #[test]
    fn examples_are_the_costliest_of_their_kinds_within_measure() {
        let flag =
            |kind: &str, id: &str, impact: &str| json!({"kind": kind, "entity_id": id, "impact": impact});
        let flags = [
            flag("retroactive_change", "A", "10"),
            flag("retroactive_change", "B", "-900"),
            flag("retroactive_change", "C", "99000000000000"),
            flag("completed_row_change", "D", "1"),
            flag("reversion", "E", "500"),
        ];
        let ids: Vec<&str> = examples(&flags)
            .into_iter()
            .map(|flag| text(flag, "entity_id"))
            .collect();
        assert_eq!(ids, ["B", "D"]);
    }

    #[test]
    fn nothing_is_wider_than_eighty_columns_but_what_is_to_be_copied() {
        let flag = json!({
            "risk": "HIGH", "kind": "unauthorized_editor", "editor": "ann@example.com", "source": "billing",
            "entity_id": "R-04356", "reason": "word ".repeat(60) + "R-04356",
        });
        let next = Next {
            address: "http://127.0.0.1:8080".to_owned(),
            key: &format!("rl_{}", "0".repeat(77)),
            bootstrap_servers: "127.0.0.1:45678",
            flagged: "redline.flagged",
            psql: Some("psql -h /tmp/redline-demo-0/postgres -U redline redline"),
            flag: Some(&flag),
        };
        insta::assert_snapshot!(next.told());
        let lines = in_words(&flag) + live(&flag).as_str();
        assert!(lines.lines().all(|line| line.chars().count() <= WIDTH), "{lines}");
        assert!(lines.contains("R-04356"), "an id is one word: {lines}");
    }
}
