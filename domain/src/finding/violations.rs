//! `rule_violation`: rules of one's own, and those that a calendar or a table of contract prices brings.

use std::borrow::Cow;
use std::collections::BTreeMap;

use redline_schemas::ColumnValue;
use redline_schemas::flag::Flag;
use redline_schemas::row::RowEvent;

use super::Subject;
use super::words::money;
use crate::calendar::Calendar;
use crate::change::time_of;
use crate::contract_price::{self, ContractPrice, Excess};
use crate::facts::Knowledge;
use crate::own_rule::{OwnRule, Verdict};
use crate::risk::{Risk, of_impact};
use crate::rules::SourceRules;

/// One rule that versions may violate.
#[derive(Clone, Copy)]
enum Rule<'a> {
    Own(&'a OwnRule),
    Calendar(Calendar),
    Price(&'a ContractPrice),
}

impl<'a> Rule<'a> {
    /// Every rule of a source, its own ones first.
    fn every(rules: &'a SourceRules) -> impl Iterator<Item = Self> {
        let own = rules.rules.iter().map(Self::Own);
        own.chain(rules.calendar.map(Self::Calendar))
            .chain(rules.contract_price.as_ref().map(Self::Price))
    }

    fn name(self) -> Cow<'a, str> {
        match self {
            Self::Own(rule) => Cow::Borrowed(&rule.name),
            Self::Calendar(calendar) => Cow::Owned(calendar.rule_name()),
            Self::Price(_) => Cow::Borrowed(contract_price::RULE),
        }
    }

    /// Whether it is flagged wherever it is violated, since it looks at the version before by itself.
    fn names_before(self) -> bool {
        matches!(self, Self::Own(rule) if rule.violated.names_before())
    }

    /// Whether a version violates it by itself; a rule that names the version before it is then kept.
    fn is_violated_by(self, row: &RowEvent, rules: &SourceRules, knowledge: &Knowledge) -> bool {
        match self {
            Self::Own(rule) => rule.judge(None, row) != Verdict::Kept,
            Self::Calendar(calendar) => row.period_end.is_some_and(|end| !calendar.ends_on(end)),
            Self::Price(price) => price.excess(row, rules, knowledge, time_of(row).0).is_some(),
        }
    }
}

impl Subject<'_> {
    /// `rule_violation`: rules that the version violates and the version before did not; one that names the version before
    /// speaks for itself.
    pub(crate) fn rule_violations(&self) -> Vec<Flag> {
        let violations = Rule::every(self.rules).filter_map(|rule| {
            let flag = self.violation(rule)?;
            (rule.names_before() || !self.was_violated(rule)).then_some(flag)
        });
        violations.collect()
    }

    /// Whether the version before violated the rule of the same name that was in force at that version's own time.
    fn was_violated(&self, rule: Rule<'_>) -> bool {
        let Some(before) = self.before else {
            return false;
        };
        let in_force = self.knowledge.rules().of(&before.source, time_of(before).0);
        in_force.is_some_and(|rules| {
            Rule::every(rules)
                .find(|other| other.name() == rule.name())
                .is_some_and(|other| other.is_violated_by(before, rules, self.knowledge))
        })
    }

    /// The flag of a rule, when the version violates it.
    fn violation(&self, rule: Rule<'_>) -> Option<Flag> {
        match rule {
            Rule::Own(own) => match own.judge(self.before, self.after) {
                Verdict::Kept => None,
                verdict => Some(self.own_violation(own, verdict)),
            },
            Rule::Calendar(calendar) => {
                let is_violated = rule.is_violated_by(self.after, self.rules, self.knowledge);
                is_violated.then(|| self.calendar_violation(calendar))
            }
            Rule::Price(price) => {
                let excess = price.excess(self.after, self.rules, self.knowledge, self.time().0)?;
                Some(self.price_violation(price, excess))
            }
        }
    }

    fn own_violation(&self, rule: &OwnRule, verdict: Verdict) -> Flag {
        let mut flag = self.version_flag("rule_violation", Some(&rule.name));
        if let Some(risk) = rule.risk {
            flag.risk = risk.to_string();
        }
        let values = |row: &RowEvent| {
            let named = rule.violated.values(row).into_iter();
            let values: BTreeMap<String, Option<String>> =
                named.map(|(column, value)| (column, value.to_text())).collect();
            serde_json::json!(values).to_string()
        };
        flag.details
            .insert("violated".to_owned(), rule.violated.text().to_owned());
        flag.details.insert("after".to_owned(), values(self.after));
        if let Some(before) = self.before.filter(|_| rule.violated.names_before()) {
            flag.details.insert("before".to_owned(), values(before));
        }
        let why = if let Verdict::Unreadable(reason) = verdict {
            flag.risk = Risk::High.to_string();
            let why = format!("cannot be judged, because {reason}");
            flag.details.insert("unreadable".to_owned(), reason);
            why
        } else {
            flag.impact = rule.impact(self.before, self.after);
            if let Some(impact) = flag.impact {
                let risk = of_impact(impact, flag.currency.as_deref(), &self.rules.thresholds);
                flag.risk = risk.to_string();
            }
            format!("is violated: {}", rule.violated.text())
        };
        flag.reason = format!(
            "The rule {} {why}, for version {} of {}{}",
            rule.name,
            self.after.version,
            self.after.row_id,
            money(flag.impact, flag.currency.as_deref()),
        );
        flag
    }

    fn calendar_violation(&self, calendar: Calendar) -> Flag {
        let mut flag = self.version_flag("rule_violation", Some(&calendar.rule_name()));
        let end = flag.period.clone().unwrap_or_default();
        flag.reason = format!(
            "Version {} of {} has a period that ends on {end}, but {}",
            self.after.version,
            self.after.row_id,
            calendar.ends(),
        );
        flag.details.insert("period_end".to_owned(), end);
        flag
    }

    fn price_violation(&self, price: &ContractPrice, excess: Excess) -> Flag {
        let mut flag = self.version_flag("rule_violation", Some(contract_price::RULE));
        flag.impact = excess.impact;
        let risk = excess.impact.map_or(Risk::High, |impact| {
            of_impact(impact, flag.currency.as_deref(), &self.rules.thresholds)
        });
        flag.risk = risk.to_string();
        let shown = |value: &ColumnValue| value.to_text().unwrap_or_else(|| "nothing".to_owned());
        let (charged, agreed) = (shown(&excess.price), shown(&excess.agreed));
        let compared = if excess.is_unreadable {
            "which cannot be compared with"
        } else {
            "above"
        };
        flag.reason = format!(
            "{} of {} is {charged}, {compared} the agreed price {agreed}{}",
            price.price,
            self.after.row_id,
            money(flag.impact, flag.currency.as_deref()),
        );
        let details = [
            ("reference", Some(excess.reference)),
            ("reference_key", Some(excess.key)),
            ("reference_table", Some(price.table.clone())),
            ("agreed_price", excess.agreed.to_text()),
            ("price", excess.price.to_text()),
            ("quantity", excess.quantity.to_text()),
        ];
        let present = details
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        flag.details.extend(present);
        flag
    }
}
