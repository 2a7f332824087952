//! What was found, against the truth.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::amount::Amount;
use crate::days::written;
use crate::truth::Truth;

/// So many examples of each difference are kept.
const EXAMPLES: usize = 5;

/// The name under which changes stand beside the kinds of flags.
pub const CHANGES: &str = "(changes)";

/// One kind of flag, or the changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct KindReport {
    /// How many of them were planted on purpose.
    pub planted: usize,
    /// How many there have to be.
    pub expected: usize,
    /// How many there are.
    pub found: usize,
    /// How many are not there.
    pub missing: usize,
    /// How many should not be there.
    pub surplus: usize,
    /// How many are there and say something else.
    pub different: usize,
    /// Some of the missing ones.
    pub missing_examples: Vec<String>,
    /// Some of the surplus ones.
    pub surplus_examples: Vec<String>,
    /// Some of the different ones, with the fields that differ.
    pub different_examples: Vec<String>,
}

/// What was found, against the truth, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The kinds of flags, and the changes.
    pub kinds: BTreeMap<String, KindReport>,
}

impl Report {
    /// Whether what was found is the truth.
    pub fn is_clean(&self) -> bool {
        self.kinds
            .values()
            .all(|kind| kind.missing + kind.surplus + kind.different == 0)
    }
}

/// Compares what was found with the truth.
///
/// Found changes and flags are objects with the names of the tables' columns or of a flag's fields; what they hold
/// besides is not looked at. Absent is null, amounts are compared by value, times by instant. Of the flags only standing
/// ones of the simulated source count.
pub fn compare(truth: &Truth, found_changes: &[Value], found_flags: &[Value]) -> Report {
    let mut report = Report::default();
    for planted in &truth.planted {
        for key in &planted.expected {
            report.kinds.entry(key.kind.clone()).or_default().planted += 1;
        }
        report.kinds.entry(CHANGES.to_string()).or_default().planted += planted.authorised.len();
    }
    let changes: Vec<Value> = truth
        .changes
        .iter()
        .filter_map(|change| serde_json::to_value(change).ok())
        .collect();
    let flags: Vec<Value> = truth
        .flags
        .iter()
        .filter_map(|flag| serde_json::to_value(flag).ok())
        .collect();
    let standing = found_flags
        .iter()
        .filter(|flag| text(flag, "status").is_none_or(|status| status == "standing") && of_the_source(flag));
    let found_changes = found_changes.iter().filter(|change| of_the_source(change));
    let change_key = |change: &Value| {
        let parts = ["entity_id", "version", "column_name"];
        parts.map(|part| field(change, part).to_string()).join(" ")
    };
    report.add(&changes, found_changes, |_| CHANGES.to_string(), change_key);
    let kind = |flag: &Value| text(flag, "kind").unwrap_or("(no kind)").to_string();
    report.add(&flags, standing, kind, |flag| field(flag, "flag_id").to_string());
    report
}

impl Report {
    fn add<'a>(
        &mut self,
        expected: &'a [Value],
        found: impl Iterator<Item = &'a Value>,
        kind: impl Fn(&Value) -> String,
        key: impl Fn(&Value) -> String,
    ) {
        let mut open: BTreeMap<String, &Value> = BTreeMap::new();
        for value in expected {
            self.kinds.entry(kind(value)).or_default().expected += 1;
            open.insert(key(value), value);
        }
        for value in found {
            // What is there twice is surplus the second time.
            let meant = open.remove(&key(value));
            let report = self
                .kinds
                .entry(meant.map_or_else(|| kind(value), &kind))
                .or_default();
            report.found += 1;
            let Some(meant) = meant else {
                report.surplus += 1;
                example(&mut report.surplus_examples, || described(value));
                continue;
            };
            let differences = differences(meant, value);
            if !differences.is_empty() {
                report.different += 1;
                let words = || format!("{}: {}", described(meant), differences.join(", "));
                example(&mut report.different_examples, words);
            }
        }
        for value in open.into_values() {
            let report = self.kinds.entry(kind(value)).or_default();
            report.missing += 1;
            example(&mut report.missing_examples, || described(value));
        }
    }
}

fn example(examples: &mut Vec<String>, words: impl FnOnce() -> String) {
    if examples.len() < EXAMPLES {
        examples.push(words());
    }
}

/// Every field of the truth that is found otherwise.
fn differences(meant: &Value, found: &Value) -> Vec<String> {
    let none = Map::new();
    let fields = meant.as_object().unwrap_or(&none);
    fields
        .keys()
        .filter_map(|name| {
            let (meant, found) = (field(meant, name), field(found, name));
            (meant != found).then(|| format!("{name} is {found}, not {meant}"))
        })
        .collect()
}

/// A field in one form, whatever client it came through.
fn field(value: &Value, name: &str) -> Value {
    let raw = value.get(name).unwrap_or(&Value::Null);
    // A flag's status is known to be standing by now.
    if name == "status" && raw.is_null() {
        return Value::from("standing");
    }
    let as_text = match raw {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return raw.clone(),
    };
    match name {
        "impact" => Amount::parse(&as_text).map_or(raw.clone(), |amount| Value::from(amount.to_string())),
        "modified_at" => as_text
            .parse::<Timestamp>()
            .map_or(raw.clone(), |at| Value::from(written(at))),
        "version" => as_text.parse::<u64>().map_or(raw.clone(), Value::from),
        _ => raw.clone(),
    }
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

fn of_the_source(value: &Value) -> bool {
    text(value, "source").is_none_or(|source| source == crate::rulebook::SOURCE)
}

/// A change or flag in a few words.
fn described(value: &Value) -> String {
    let names = [
        "entity_id",
        "version",
        "column",
        "column_name",
        "before",
        "after",
        "impact",
        "currency",
        "risk",
        "editor",
    ];
    let mut words: Vec<String> = Vec::new();
    for name in names.into_iter().chain(["modified_at"]) {
        match value.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => words.push(format!("{name} {text}")),
            Some(other) => words.push(format!("{name} {other}")),
        }
    }
    words.join(", ")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = ["planted", "expected", "found", "missing", "surplus", "different"];
        write!(f, "{:<22}", "kind")?;
        for head in heads {
            write!(f, "{head:>10}")?;
        }
        writeln!(f)?;
        for (kind, report) in &self.kinds {
            write!(f, "{kind:<22}")?;
            let counts = [
                report.planted,
                report.expected,
                report.found,
                report.missing,
                report.surplus,
                report.different,
            ];
            for count in counts {
                write!(f, "{count:>10}")?;
            }
            writeln!(f)?;
        }
        for (kind, report) in &self.kinds {
            let lists = [
                ("missing", &report.missing_examples, report.missing),
                ("surplus", &report.surplus_examples, report.surplus),
                ("different", &report.different_examples, report.different),
            ];
            for (word, examples, count) in lists {
                if count > 0 {
                    writeln!(f, "\n{kind}, {word} ({count}):")?;
                    for example in examples {
                        writeln!(f, "  {example}")?;
                    }
                }
            }
        }
        Ok(())
    }
}
