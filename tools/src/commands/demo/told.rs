//! What the demo tells: what was found of what was planted, some of it in plain words, and where to look.

use std::collections::BTreeMap;
use std::fmt::Write as _;

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
        _ => format!("{found} of {planted}"),
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
        let curl = "curl -sS -H \"Authorization: Bearer $KEY\"";
        let mut lines = String::new();
        let _ = writeln!(lines, "Look further, in another terminal:\n");
        let _ = writeln!(lines, "  The costliest flags over HTTP, with the demo's key:");
        let _ = writeln!(lines, "    KEY={key}");
        let _ = writeln!(
            lines,
            "    {curl} \\\n      '{address}/v1/flags?risk=HIGH&limit=5'"
        );
        if let Some(flag) = flag {
            let (source, row) = (text(flag, "source"), text(flag, "entity_id"));
            let _ = writeln!(
                lines,
                "  The history behind the first flag above, each version and what came of it:"
            );
            let _ = writeln!(
                lines,
                "    {curl} \\\n      {address}/v1/entities/row/{source}/{row}/history"
            );
        }
        let _ = writeln!(lines, "  The flags as others read them, from Kafka:");
        let _ = writeln!(
            lines,
            "    kcat -C -b {bootstrap_servers} -t {flagged} -e -f '%k\\n' | sort | uniq -c"
        );
        if let Some(psql) = psql {
            let _ = writeln!(lines, "  The tables:");
            let _ = writeln!(
                lines,
                "    {psql} \\\n      -c 'select kind, risk, count(*) from redline.flags group by 1, 2 order by 1, 2'"
            );
        }
        let _ = writeln!(
            lines,
            "  What it measures of itself:\n    curl -sS {address}/metrics"
        );
        lines
    }
}

fn wrapped(text: &str, indent: &str) -> String {
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
