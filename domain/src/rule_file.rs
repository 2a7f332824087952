//! Rule files: TOML, read whole or refused with the line, the key and what is expected there.

use std::collections::BTreeMap;
use std::fmt;

use jiff::tz::TimeZone;
use redline_schemas::{Amount, ContentHash};
use serde::Deserialize;
use toml::de::{DeTable, DeValue};

use crate::editors::Editors;
use crate::own_rule::{OwnRuleTable, own_rules};
use crate::risk::{Risk, Thresholds};
use crate::rules::{ColumnType, RuleSet, SourceRules, TrackedColumn};

/// Kinds of flags that may have no impact, and so a risk of their own.
const KINDS_WITH_A_RISK: [&str; 6] = [
    "conflicting_version",
    "late_row",
    "lock_change",
    "row_deleted",
    "row_moved",
    "rule_violation",
];

/// Days between a delete and a first sight within which a row counts as moved.
const DEFAULT_MOVED_WITHIN_DAYS: i32 = 7;

/// Why a rule file is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// The line of the key, from 1, where it is known.
    pub line: Option<usize>,
    /// The key with all that it lies in; empty for what is no TOML.
    pub key: String,
    /// What is wrong, and what is expected.
    pub reason: String,
}

impl std::error::Error for RuleError {}

impl fmt::Display for RuleError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(out, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(out, "{} ", self.key)?;
        }
        out.write_str(&self.reason)
    }
}

/// A key that cannot be used: the names on the way to it, and a reason.
pub(crate) struct Refusal {
    /// From within the source's table; a number is a place in a list.
    pub(crate) path: Vec<String>,
    /// What is wrong, and what is expected.
    pub(crate) reason: String,
}

impl Refusal {
    pub(crate) fn new<const N: usize>(path: [&str; N], reason: impl Into<String>) -> Self {
        Self {
            path: path.iter().map(|name| (*name).to_owned()).collect(),
            reason: reason.into(),
        }
    }

    fn of(self, source: &str, text: &str) -> RuleError {
        let path: Vec<String> = ["sources".to_owned(), source.to_owned()]
            .into_iter()
            .chain(self.path)
            .collect();
        RuleError {
            line: line_of(text, &path),
            key: shown(&path),
            reason: self.reason,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileOfRules {
    #[serde(default)]
    sources: BTreeMap<String, SourceTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceTable {
    #[serde(default)]
    time_zone: Option<String>,
    #[serde(default)]
    grace_days: i32,
    #[serde(default)]
    pub(crate) amount: Option<String>,
    #[serde(default)]
    pub(crate) tracked: BTreeMap<String, TrackedColumn>,
    #[serde(default)]
    thresholds: BTreeMap<String, ThresholdsTable>,
    #[serde(default)]
    editors: Option<Vec<String>>,
    #[serde(default)]
    risks: BTreeMap<String, Risk>,
    #[serde(default)]
    pub(crate) read: Vec<String>,
    #[serde(default)]
    pub(crate) rules: Vec<OwnRuleTable>,
    #[serde(default)]
    calendar: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    natural_key: Vec<String>,
    #[serde(default)]
    moved_within_days: Option<i32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ThresholdsTable {
    medium: String,
    high: String,
}

impl SourceTable {
    /// Whether rules may name a column.
    pub(crate) fn reads(&self, column: &str) -> bool {
        self.tracked.contains_key(column)
            || self.read.iter().any(|read| read == column)
            || self.amount.as_deref() == Some(column)
            || self
                .tracked
                .values()
                .any(|tracked| tracked.unit.as_deref() == Some(column))
    }
}

impl RuleSet {
    /// Reads a rule file.
    ///
    /// # Errors
    /// The key that cannot be used, and what is expected.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let no_toml = |error: toml::de::Error| RuleError {
            line: error.span().map(|span| line_at(text, span.start)),
            key: String::new(),
            reason: error.message().to_owned(),
        };
        let file: FileOfRules = toml::from_str(text).map_err(no_toml)?;
        let whole: toml::Table = toml::from_str(text).map_err(no_toml)?;
        let mut sources = BTreeMap::new();
        for (source, table) in file.sources {
            let hash = hash_of(whole.get("sources").and_then(|sources| sources.get(&source)));
            let rules = source_rules(table, hash).map_err(|refusal| refusal.of(&source, text))?;
            sources.insert(source, rules);
        }
        Ok(Self::new(sources))
    }
}

/// The hash of a source's table, the same whatever the order of its keys.
fn hash_of(table: Option<&toml::Value>) -> String {
    let json = serde_json::json!(table);
    ContentHash::of(json.to_string().as_bytes()).to_string()
}

/// Names with dots between, in quotes where TOML needs them.
fn shown(path: &[String]) -> String {
    let is_bare = |name: &str| {
        !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    let names: Vec<String> = path
        .iter()
        .map(|name| match is_bare(name) {
            true => name.clone(),
            false => format!("{name:?}"),
        })
        .collect();
    names.join(".")
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// The line of the last key of a path, or of the last one on the way to it that the file names.
fn line_of(text: &str, path: &[String]) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let mut list: Option<&toml::de::DeArray<'_>> = None;
    let mut found = None;
    for name in path {
        let value = if let Some(values) = list.take() {
            let value = values.get(name.parse::<usize>().ok()?)?;
            found = Some(value.span().start);
            value
        } else {
            let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == name.as_str()) else {
                break;
            };
            found = Some(key.span().start);
            value
        };
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            DeValue::Array(inner) => list = Some(inner),
            _ => break,
        }
    }
    found.map(|offset| line_at(text, offset))
}

fn source_rules(table: SourceTable, hash: String) -> Result<SourceRules, Refusal> {
    let time_zone = match &table.time_zone {
        None => TimeZone::UTC,
        Some(name) => TimeZone::get(name)
            .map_err(|_| Refusal::new(["time_zone"], "is no IANA time zone such as \"America/New_York\""))?,
    };
    if !(0..=3_660).contains(&table.grace_days) {
        return Err(Refusal::new(
            ["grace_days"],
            "is not a number of days from 0 to 3660",
        ));
    }
    for (name, column) in &table.tracked {
        if column.unit.is_some() && column.column_type == ColumnType::Text {
            return Err(Refusal::new(
                ["tracked", name, "unit"],
                "needs type = \"amount\" beside it",
            ));
        }
    }
    if let Some(kind) = table
        .risks
        .keys()
        .find(|kind| !KINDS_WITH_A_RISK.contains(&kind.as_str()))
    {
        let reason = format!("is none of {}", KINDS_WITH_A_RISK.join(", "));
        return Err(Refusal::new(["risks", kind], reason));
    }
    let rules = own_rules(&table)?;
    let editors = table.editors.map(Editors::new).transpose().map_err(|pattern| {
        let reason = format!("holds {pattern:?}; a pattern is a name in which `*` stands for anything");
        Refusal::new(["editors"], reason)
    })?;
    let thresholds = table
        .thresholds
        .iter()
        .map(|(currency, limits)| Ok((currency.clone(), read_thresholds(currency, limits)?)))
        .collect::<Result<_, Refusal>>()?;
    Ok(SourceRules {
        time_zone,
        grace_days: table.grace_days,
        amount: table.amount,
        tracked: table.tracked,
        thresholds,
        editors,
        read: table.read,
        natural_key: table.natural_key,
        moved_within_days: table.moved_within_days.unwrap_or(DEFAULT_MOVED_WITHIN_DAYS),
        rules,
        risks: table.risks,
        hash,
    })
}

fn read_thresholds(currency: &str, table: &ThresholdsTable) -> Result<Thresholds, Refusal> {
    let read = |key: &str, text: &str| {
        text.parse::<Amount>()
            .map_err(|error| Refusal::new(["thresholds", currency, key], error.to_string()))
    };
    let limits = Thresholds {
        medium: read("medium", &table.medium)?,
        high: read("high", &table.high)?,
    };
    if limits.medium < Amount::ZERO || limits.medium > limits.high {
        return Err(Refusal::new(
            ["thresholds", currency],
            "is not ordered: 0 <= medium <= high is expected",
        ));
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        RuleSet::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn the_shipped_example_is_read() {
        let set = RuleSet::parse(include_str!("../../configs/rules.toml")).unwrap();
        let billing = set.source("billing").unwrap();
        assert_eq!(billing.amount.as_deref(), Some("Redlined Total Price"));
        assert_eq!(billing.tracked["Quantity"].unit.as_deref(), Some("Unit Price"));
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_its_key() {
        for (text, part) in [
            ("[source.a]", "unknown field `source`"),
            ("[sources.a]\ncolour = 1", "line 2: unknown field `colour`"),
            (
                "[sources.a]\ntime_zone = \"Mars\"",
                "sources.a.time_zone is no IANA time zone",
            ),
            (
                "[sources.a]\ngrace_days = -1",
                "line 2: sources.a.grace_days is not a number of days",
            ),
            (
                "[sources.a.tracked]\nq = { type = \"money\" }",
                "unknown variant `money`",
            ),
            (
                "[sources.a.tracked]\nq = { type = \"text\", unit = \"p\" }",
                "needs type = \"amount\"",
            ),
            (
                "[[sources.a.rules]]\nname = \"r\"\nviolated = 'after[\"Q\"] >'",
                "line 3: sources.a.rules.0.violated does not compile",
            ),
            (
                "[[sources.a.rules]]\nname = \"r\"\nviolated = 'after[\"Q\"] > 1'",
                "names the column \"Q\", which the source does not read",
            ),
            (
                "[sources.a]\nread = [\"Q\"]\n[[sources.a.rules]]\nname = \"r\"\nviolated = 'after[\"Q\"] > 1'\nimpact = 'after'",
                "sources.a.rules.0.impact names `after` without a column",
            ),
            (
                "[[sources.a.rules]]\nname = \"r\"\nviolated = '1 > 2'\n[[sources.a.rules]]\nname = \"r\"\nviolated = '1 > 2'",
                "line 5: sources.a.rules.1.name is there twice",
            ),
            ("[sources.a]\neditors = [\"\"]", "sources.a.editors holds \"\""),
            (
                "[sources.a.risks]\nreversion = \"HIGH\"",
                "sources.a.risks.reversion is none of",
            ),
            (
                "[sources.a.thresholds]\nUSD = { medium = \"9\", high = \"1\" }",
                "is not ordered",
            ),
            (
                "[sources.a.thresholds]\nUSD = { medium = \"x\", high = \"1\" }",
                "is not a decimal number",
            ),
        ] {
            assert!(refusal(text).contains(part), "{}", refusal(text));
        }
    }

    #[test]
    fn the_hash_covers_one_source_and_not_the_order_of_keys() {
        let hash = |text: &str| RuleSet::parse(text).unwrap().source("a").unwrap().hash.clone();
        let first = hash("[sources.a]\ngrace_days = 1\namount = \"x\"");
        assert_eq!(
            first,
            hash("[sources.b]\n[sources.a]\namount = \"x\"\ngrace_days = 1")
        );
        assert_ne!(first, hash("[sources.a]\ngrace_days = 2\namount = \"x\""));
    }
}
