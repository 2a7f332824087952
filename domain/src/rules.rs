//! What detection may vary, by source, and which rule set is in force when. [`crate::rule_file`] reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::tz::TimeZone;
use redline_schemas::Timestamp;
use serde::Deserialize;

use crate::calendar::Calendar;
use crate::contract_price::ContractPrice;
use crate::editors::Editors;
use crate::own_rule::OwnRule;
use crate::period::Grace;
use crate::risk::{Risk, Thresholds};

/// One rule file.
#[derive(Debug, Default)]
pub struct RuleSet {
    sources: BTreeMap<String, SourceRules>,
}

/// The rules of one source.
#[derive(Debug)]
pub struct SourceRules {
    /// In which days are counted.
    pub time_zone: TimeZone,
    /// On which days periods end; none where that is not checked.
    pub calendar: Option<Calendar>,
    /// How long after a period's end changes are still in time.
    pub grace: Grace,
    /// The column that says what a row is worth.
    pub amount: Option<String>,
    /// Columns whose changes are recorded.
    pub tracked: BTreeMap<String, TrackedColumn>,
    /// Risk by impact, per currency.
    pub thresholds: BTreeMap<String, Thresholds>,
    /// Who may edit; everybody where neither these nor a table of editors is set.
    pub editors: Option<Editors>,
    /// The reference table whose keys are patterns of those who may edit too.
    pub editors_table: Option<String>,
    /// Columns that are recorded beside the tracked ones.
    pub read: Vec<String>,
    /// The columns by which a row is known although it has another id; empty where there are none.
    pub natural_key: Vec<String>,
    /// How many days after a delete a row with the same natural key counts as moved.
    pub moved_within_days: i32,
    /// Where agreed prices are found; none where prices are not checked.
    pub contract_price: Option<ContractPrice>,
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

    /// Every column that detection reads, and that collectors have to bring.
    pub fn read_columns(&self) -> BTreeSet<&str> {
        let tracked = self
            .tracked
            .iter()
            .flat_map(|(name, column)| [Some(name.as_str()), column.unit.as_deref()])
            .flatten();
        let listed = self.read.iter().chain(&self.natural_key).chain(&self.amount);
        let price = self.contract_price.iter().flat_map(ContractPrice::columns);
        tracked.chain(listed.map(String::as_str)).chain(price).collect()
    }

    /// How a column is read: a tracked one by its type, one that detection computes with as an amount, another one as it was
    /// sent, which is what [`ColumnType::Text`] means.
    pub(crate) fn column_type(&self, name: &str) -> ColumnType {
        if let Some(tracked) = self.tracked.get(name) {
            return tracked.column_type;
        }
        let units = self.tracked.values().filter_map(|column| column.unit.as_deref());
        let price = self.contract_price.iter();
        let mut amounts = units
            .chain(self.amount.as_deref())
            .chain(price.flat_map(|price| [price.price.as_str(), price.quantity.as_str()]));
        if amounts.any(|amount| amount == name) {
            ColumnType::Amount
        } else {
            ColumnType::Text
        }
    }

    /// The reference tables that detection looks into.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &str> {
        let holidays = match &self.grace {
            Grace::Business { holidays, .. } => holidays.as_deref(),
            Grace::Days(_) => None,
        };
        let price = self.contract_price.as_ref().map(|price| price.table.as_str());
        [holidays, price, self.editors_table.as_deref()]
            .into_iter()
            .flatten()
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

impl RuleSet {
    pub(crate) fn new(sources: BTreeMap<String, SourceRules>) -> Self {
        Self { sources }
    }

    /// The rules of a source; none when the file does not name it.
    pub fn source(&self, source: &str) -> Option<&SourceRules> {
        self.sources.get(source)
    }

    /// All sources that the file names, with their rules.
    pub fn sources(&self) -> impl Iterator<Item = (&str, &SourceRules)> {
        self.sources.iter().map(|(name, rules)| (name.as_str(), rules))
    }
}

/// All rule sets that were ever put in force.
#[derive(Clone, Debug, Default)]
pub struct RuleBook {
    /// Ordered by (effective_at, id): the last one that is not after an instant is in force at it.
    sets: Arc<Vec<(Timestamp, String, Arc<RuleSet>)>>,
}

impl RuleBook {
    /// A book of rule sets, each with the instant from which it is in force and the id of its fact.
    pub fn new(mut sets: Vec<(Timestamp, String, Arc<RuleSet>)>) -> Self {
        sets.sort_by(|(a, a_id, _), (b, b_id, _)| (a, a_id).cmp(&(b, b_id)));
        Self { sets: Arc::new(sets) }
    }

    /// Whether no rules were ever recorded.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// The instants from which a rule set is in force.
    pub fn instants(&self) -> impl Iterator<Item = Timestamp> {
        self.sets.iter().map(|(effective_at, _, _)| *effective_at)
    }

    /// The sources that any rule set names, each as often as it is named, with their rules.
    pub fn sources(&self) -> impl Iterator<Item = (&str, &SourceRules)> {
        self.sets.iter().flat_map(|(_, _, set)| set.sources())
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

    #[test]
    fn the_last_rule_set_that_is_effective_counts_and_ties_go_to_the_greatest_id() {
        let set = |days: i32| Arc::new(RuleSet::parse(&format!("[sources.a]\ngrace_days = {days}")).unwrap());
        let at = Timestamp::from_micros;
        let book = RuleBook::new(vec![
            (at(20), "b".into(), set(3)),
            (at(10), "z".into(), set(1)),
            (at(20), "a".into(), set(2)),
        ]);
        let grace = |time| book.of("a", at(time)).map(|rules| rules.grace.days());
        assert_eq!(
            [grace(9), grace(10), grace(19), grace(20)],
            [None, Some(1), Some(1), Some(3)]
        );
    }
}
