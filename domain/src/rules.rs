//! Rule files: what detection may vary, by source, and which rule set is in force when.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use redline_schemas::{Amount, ContentHash, Timestamp};
use serde::Deserialize;

use crate::editors::Editors;
use crate::own_rule::{OwnRule, OwnRuleTable, own_rules};
use crate::risk::{Risk, Thresholds};

/// Keys of a source that the contract knows and this version does not judge yet. They are accepted so that one
/// rule file serves every version, and named by [`RuleSet::not_judged`] so that nobody relies on them.
const NOT_JUDGED: [&str; 2] = ["calendar", "natural_key"];
/// Kinds of flags that may have no impact, and so a risk of their own.
const KINDS_WITH_A_RISK: [&str; 5] = [
    "conflicting_version",
    "late_row",
    "lock_change",
    "row_deleted",
    "rule_violation",
];

/// One rule file.
#[derive(Debug, Default)]
pub struct RuleSet {
    sources: BTreeMap<String, SourceRules>,
    not_judged: Vec<String>,
}

/// The rules of one source.
#[derive(Debug)]
pub struct SourceRules {
    /// In which days are counted.
    pub time_zone: TimeZone,
    /// Days after a period's end on which changes are still in time.
    pub grace_days: i32,
    /// The column that says what a row is worth.
    pub amount: Option<String>,
    /// Columns whose changes are recorded.
    pub tracked: BTreeMap<String, TrackedColumn>,
    /// Risk by impact, per currency.
    pub thresholds: BTreeMap<String, Thresholds>,
    /// Who may edit; none when everybody may.
    pub editors: Option<Editors>,
    /// Columns that are recorded beside the tracked ones.
    pub read: Vec<String>,
    /// Rules of one's own, in the order of the file.
    pub rules: Vec<OwnRule>,
    /// Risk of flags without an impact, by kind.
    pub risks: BTreeMap<String, Risk>,
    /// SHA-256, hexadecimal, of this source's part of the file.
    pub hash: String,
}

impl SourceRules {
    /// The risk of a flag of this kind that has no impact.
    pub fn risk_of(&self, kind: &str) -> Risk {
        self.risks.get(kind).copied().unwrap_or_default()
    }
}

/// How a tracked column is read and judged.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrackedColumn {
    /// How text in the column is read.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    /// The column that holds the price of one, by which a difference becomes money.
    #[serde(default)]
    pub unit: Option<String>,
    /// The risk of a change that has no impact in money.
    #[serde(default)]
    pub risk: Risk,
}

/// How text in a column is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    /// Decimal text is an amount.
    Amount,
    /// To the letter.
    Text,
}

/// Why a rule file is refused: the key, and what to write there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rules: {0}")]
pub struct RuleError(pub String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileOfRules {
    #[serde(default)]
    sources: BTreeMap<String, toml::Table>,
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
    read: Vec<String>,
    #[serde(default)]
    pub(crate) rules: Vec<OwnRuleTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ThresholdsTable {
    medium: String,
    high: String,
}

impl RuleSet {
    /// Reads a rule file.
    ///
    /// # Errors
    /// The key that cannot be used, and what is expected.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let file: FileOfRules = toml::from_str(text).map_err(|error| RuleError(error.to_string()))?;
        let mut set = Self::default();
        for (source, mut table) in file.sources {
            let hash = hash_of(&table)?;
            for key in NOT_JUDGED {
                if table.remove(key).is_some() {
                    set.not_judged.push(format!("sources.{source}.{key}"));
                }
            }
            let rules = source_rules(&source, table, hash)?;
            set.sources.insert(source, rules);
        }
        Ok(set)
    }

    /// The rules of a source; none when the file does not name it.
    pub fn source(&self, source: &str) -> Option<&SourceRules> {
        self.sources.get(source)
    }

    /// Keys that were accepted and that this version does not judge yet.
    pub fn not_judged(&self) -> &[String] {
        &self.not_judged
    }
}

/// The hash of a source's table, the same whatever the order of its keys.
fn hash_of(table: &toml::Table) -> Result<String, RuleError> {
    let json = serde_json::to_value(table).map_err(|error| RuleError(error.to_string()))?;
    Ok(ContentHash::of(json.to_string().as_bytes()).to_string())
}

fn source_rules(source: &str, table: toml::Table, hash: String) -> Result<SourceRules, RuleError> {
    let refuse = |key: &str, reason: &str| RuleError(format!("sources.{source}.{key} {reason}"));
    let table: SourceTable = table
        .try_into()
        .map_err(|error: toml::de::Error| RuleError(format!("sources.{source}: {}", error.message())))?;
    let time_zone = match &table.time_zone {
        None => TimeZone::UTC,
        Some(name) => TimeZone::get(name)
            .map_err(|_| refuse("time_zone", "is no IANA time zone such as \"America/New_York\""))?,
    };
    if !(0..=3_660).contains(&table.grace_days) {
        return Err(refuse("grace_days", "is not a number of days from 0 to 3660"));
    }
    for (name, column) in &table.tracked {
        if column.unit.is_some() && column.column_type == ColumnType::Text {
            return Err(refuse(
                &format!("tracked.\"{name}\".unit"),
                "needs type = \"amount\" beside it",
            ));
        }
    }
    if let Some(kind) = table
        .risks
        .keys()
        .find(|kind| !KINDS_WITH_A_RISK.contains(&kind.as_str()))
    {
        return Err(refuse(
            &format!("risks.{kind}"),
            &format!("is none of {}", KINDS_WITH_A_RISK.join(", ")),
        ));
    }
    let known = |column: &str| {
        table.tracked.contains_key(column)
            || table.read.iter().any(|read| read == column)
            || table.amount.as_deref() == Some(column)
            || table
                .tracked
                .values()
                .any(|tracked| tracked.unit.as_deref() == Some(column))
    };
    let rules = own_rules(&table, known).map_err(|(key, reason)| refuse(&key, &reason))?;
    let editors = match table.editors {
        None => None,
        Some(patterns) => Some(Editors::new(patterns).map_err(|pattern| {
            refuse(
                "editors",
                &format!("holds {pattern:?}; a pattern is a name in which `*` stands for anything"),
            )
        })?),
    };
    let thresholds = table
        .thresholds
        .iter()
        .map(|(currency, limits)| Ok((currency.clone(), read_thresholds(source, currency, limits)?)))
        .collect::<Result<_, RuleError>>()?;
    Ok(SourceRules {
        time_zone,
        grace_days: table.grace_days,
        amount: table.amount,
        tracked: table.tracked,
        thresholds,
        editors,
        read: table.read,
        rules,
        risks: table.risks,
        hash,
    })
}

fn read_thresholds(source: &str, currency: &str, table: &ThresholdsTable) -> Result<Thresholds, RuleError> {
    let read = |key: &str, text: &str| {
        text.parse::<Amount>()
            .map_err(|error| RuleError(format!("sources.{source}.thresholds.{currency}.{key} {error}")))
    };
    let limits = Thresholds {
        medium: read("medium", &table.medium)?,
        high: read("high", &table.high)?,
    };
    if limits.medium < Amount::ZERO || limits.medium > limits.high {
        let key = format!("sources.{source}.thresholds.{currency}");
        return Err(RuleError(format!(
            "{key} is not ordered: 0 <= medium <= high is expected"
        )));
    }
    Ok(limits)
}

/// All rule sets that were ever put in force.
#[derive(Clone, Debug, Default)]
pub struct RuleBook {
    /// Ordered by (effective_at, id): the last one that is not after an instant is in force at it.
    sets: Vec<(Timestamp, String, Arc<RuleSet>)>,
}

impl RuleBook {
    /// A book of rule sets, each with the instant from which it is in force and the id of its fact.
    pub fn new(mut sets: Vec<(Timestamp, String, Arc<RuleSet>)>) -> Self {
        sets.sort_by(|(a, a_id, _), (b, b_id, _)| (a, a_id).cmp(&(b, b_id)));
        Self { sets }
    }

    /// Whether no rules were ever recorded.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// The rules of a source in force at an instant.
    pub fn of(&self, source: &str, time: Timestamp) -> Option<&SourceRules> {
        let after = self
            .sets
            .partition_point(|(effective_at, _, _)| *effective_at <= time);
        self.sets[..after]
            .last()
            .and_then(|(_, _, set)| set.source(source))
    }
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
            ("[sources.a]\ncolour = 1", "sources.a: unknown field `colour`"),
            (
                "[sources.a]\ntime_zone = \"Mars\"",
                "sources.a.time_zone is no IANA time zone",
            ),
            (
                "[sources.a]\ngrace_days = -1",
                "sources.a.grace_days is not a number of days",
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
                "sources.a.rules.\"r\".violated does not compile",
            ),
            (
                "[[sources.a.rules]]\nname = \"r\"\nviolated = 'after[\"Q\"] > 1'",
                "names the column \"Q\", which the source does not read",
            ),
            (
                "[sources.a]\nread = [\"Q\"]\n[[sources.a.rules]]\nname = \"r\"\nviolated = 'after[\"Q\"] > 1'\nimpact = 'after'",
                "sources.a.rules.\"r\".impact names `after` without a column",
            ),
            (
                "[[sources.a.rules]]\nname = \"r\"\nviolated = '1 > 2'\n[[sources.a.rules]]\nname = \"r\"\nviolated = '1 > 2'",
                "sources.a.rules.\"r\" is there twice",
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

    #[test]
    fn the_last_rule_set_that_is_effective_counts_and_ties_go_to_the_greatest_id() {
        let set = |days: i32| Arc::new(RuleSet::parse(&format!("[sources.a]\ngrace_days = {days}")).unwrap());
        let at = Timestamp::from_micros;
        let book = RuleBook::new(vec![
            (at(20), "b".into(), set(3)),
            (at(10), "z".into(), set(1)),
            (at(20), "a".into(), set(2)),
        ]);
        let grace = |time| book.of("a", at(time)).map(|rules| rules.grace_days);
        assert_eq!(
            [grace(9), grace(10), grace(19), grace(20)],
            [None, Some(1), Some(1), Some(3)]
        );
    }
}
