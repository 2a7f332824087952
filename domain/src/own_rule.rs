//! Rules of one's own, as a rule file has them: a name, when it is violated, and what that costs.

use std::collections::BTreeSet;

use redline_schemas::Amount;
use redline_schemas::row::RowEvent;

use crate::calendar;
use crate::contract_price;
use crate::expression::{Computed, Expected, Expression};
use crate::risk::Risk;
use crate::rule_file::{OwnRuleTable, Refusal};
use crate::rules::SourceRules;

/// The rule whose impact is known without being said: the total minus the product.
const TOTAL_IS_QUANTITY_TIMES_PRICE: &str = "total_is_quantity_times_price";
/// Rules of one source, at most.
const MOST_RULES: usize = 100;

/// A rule of one's own.
#[derive(Clone, Debug)]
pub struct OwnRule {
    /// Its name, unique within the source.
    pub name: String,
    /// When it is violated.
    pub violated: Expression,
    /// What a violation costs.
    pub impact: Option<Expression>,
    /// The risk of a violation without an impact; that of the kind where it is not set.
    pub risk: Option<Risk>,
}

/// Whether a rule is violated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Kept,
    Violated,
    /// It cannot be computed, which counts as violated: nothing may pass because it is unreadable.
    Unreadable(String),
}

impl OwnRule {
    /// Judges a version; a rule that names the version before is silent at first sight.
    pub(crate) fn judge(&self, before: Option<&RowEvent>, after: &RowEvent) -> Verdict {
        if self.violated.names_before() && before.is_none() {
            return Verdict::Kept;
        }
        match self.violated.compute(before, after) {
            Ok(Computed::Boolean(true)) => Verdict::Violated,
            Ok(Computed::Boolean(false) | Computed::Null) => Verdict::Kept,
            Ok(Computed::Amount(amount)) => {
                Verdict::Unreadable(format!("it gives {amount} where true or false is expected"))
            }
            Err(reason) => Verdict::Unreadable(reason),
        }
    }

    /// What a violation costs; none where that is not said or cannot be computed.
    pub(crate) fn impact(&self, before: Option<&RowEvent>, after: &RowEvent) -> Option<Amount> {
        let impact = self.impact.as_ref()?;
        if impact.names_before() && before.is_none() {
            return None;
        }
        match impact.compute(before, after) {
            Ok(Computed::Amount(amount)) => Some(amount),
            Ok(Computed::Null) => Some(Amount::ZERO),
            Ok(Computed::Boolean(_)) | Err(_) => None,
        }
    }
}

/// Compiles the rules of a source.
///
/// # Errors
/// The key that cannot be used, and why.
pub(crate) fn own_rules(source: &SourceRules, tables: &[OwnRuleTable]) -> Result<Vec<OwnRule>, Refusal> {
    if tables.len() > MOST_RULES {
        return Err(Refusal::new(["rules"], format!("are more than {MOST_RULES}")));
    }
    let mut names = BTreeSet::new();
    let read = source.read_columns();
    let mut rules = Vec::with_capacity(tables.len());
    for (number, table) in tables.iter().enumerate() {
        let OwnRuleTable {
            name,
            violated,
            impact,
            risk,
        } = table;
        let refuse = |part: &str, reason: String| Refusal::new(["rules", &number.to_string(), part], reason);
        if !(1..=200).contains(&name.chars().count()) || name.chars().any(char::is_control) {
            let reason = "needs 1 to 200 characters and no control characters";
            return Err(refuse("name", reason.to_owned()));
        }
        if !names.insert(name) {
            let reason = format!("is there twice: {name:?}; each rule needs a name of its own");
            return Err(refuse("name", reason));
        }
        if is_reserved(name) {
            let reason = format!("is {name:?}, the name of a built-in rule: choose another one");
            return Err(refuse("name", reason));
        }
        let compile = |part: &str, text: &str, expected: Expected| {
            let expression = Expression::compile(text, |column| source.column_type(column))
                .map_err(|reason| refuse(part, reason))?;
            if let Some(column) = expression.columns().find(|column| !read.contains(column)) {
                let reason = format!(
                    "names the column {column:?}, which the source does not read: add it to `read` or `tracked`"
                );
                return Err(refuse(part, reason));
            }
            expression
                .check(expected)
                .map_err(|reason| refuse(part, reason))?;
            Ok(expression)
        };
        let violated = compile("violated", violated, Expected::Boolean)?;
        let impact = impact.clone().or_else(|| known_impact(source, name, &violated));
        rules.push(OwnRule {
            name: name.clone(),
            violated,
            impact: impact
                .map(|text| compile("impact", &text, Expected::Amount))
                .transpose()?,
            risk: *risk,
        });
    }
    Ok(rules)
}

/// Whether a built-in rule may come with the name.
fn is_reserved(name: &str) -> bool {
    name == contract_price::RULE || calendar::brings_rule(name)
}

/// The total minus the product, where the rule names the total and exactly one quantity beside its price. Columns that an
/// expression names hold neither quotes nor backslashes, and can be written into another one as they are.
fn known_impact(source: &SourceRules, name: &str, violated: &Expression) -> Option<String> {
    let is_named = |column: &str| violated.columns().any(|named| named == column);
    let total = source
        .amount
        .as_deref()
        .filter(|total| name == TOTAL_IS_QUANTITY_TIMES_PRICE && is_named(total))?;
    let mut pairs = source.tracked.iter().filter_map(|(column, tracked)| {
        let unit = tracked.unit.as_deref()?;
        (is_named(column) && is_named(unit)).then_some((column, unit))
    });
    let (Some((quantity, price)), None) = (pairs.next(), pairs.next()) else {
        return None;
    };
    Some(format!(
        "after[\"{total}\"] - after[\"{quantity}\"] * after[\"{price}\"]"
    ))
}

#[cfg(test)]
mod tests {
    use crate::rules::RuleSet;

    /// A source whose next line is the tenth.
    const SOURCE: &str = r#"[sources.a]
amount = "Total"
read = ["Note"]

[sources.a.tracked]
"Hours" = { type = "amount", unit = "Rate" }
"Quantity" = { type = "amount", unit = "Price" }
[[sources.a.rules]]
name = "total_is_quantity_times_price"
"#;

    fn implied(violated: &str) -> Option<String> {
        let set = RuleSet::parse(&format!("{SOURCE}violated = '{violated}'")).unwrap();
        let rule = &set.source("a").unwrap().rules[0];
        rule.impact.as_ref().map(|impact| impact.text().to_owned())
    }

    #[test]
    fn the_implied_impact_is_that_of_the_only_pair_that_the_rule_names() {
        assert_eq!(
            implied(r#"after["Total"] != after["Quantity"] * after["Price"]"#).as_deref(),
            Some(r#"after["Total"] - after["Quantity"] * after["Price"]"#)
        );
        assert_eq!(
            implied(r#"after["Rate"] * after["Hours"] != after["Total"]"#).as_deref(),
            Some(r#"after["Total"] - after["Hours"] * after["Rate"]"#)
        );
        for unknown in [
            r#"after["Total"] != after["Quantity"] * after["Price"] + after["Hours"] * after["Rate"]"#,
            r#"after["Total"] != after["Quantity"] * after["Rate"]"#,
            r#"after["Hours"] != after["Quantity"] * after["Price"]"#,
        ] {
            assert_eq!(implied(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn an_expression_that_cannot_be_a_rule_is_refused_with_line_and_key() {
        for (lines, expected) in [
            (
                r#"violated = 'Total > 1'"#,
                "line 10: sources.a.rules.0.violated names `Total`, which a rule does not know",
            ),
            (
                r#"violated = '1 > 2'"#,
                "line 10: sources.a.rules.0.violated names no column",
            ),
            (
                r#"violated = 'after["Total"]'"#,
                "line 10: sources.a.rules.0.violated gives 1 where true or false is expected",
            ),
            (
                r#"violated = '1 < after["Total"] < 3'"#,
                "line 10: sources.a.rules.0.violated can never be computed: true or false is no amount",
            ),
            (
                "violated = 'after[\"Total\"] > 2'\nimpact = 'after[\"Total\"] > 2'",
                "line 11: sources.a.rules.0.impact gives false where an amount is expected",
            ),
        ] {
            let refusal = RuleSet::parse(&format!("{SOURCE}{lines}"))
                .unwrap_err()
                .to_string();
            assert!(refusal.starts_with(expected), "{refusal}");
        }
    }
}
