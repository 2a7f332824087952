//! Risk: how urgent a flag is.

use std::collections::BTreeMap;
use std::fmt;

use redline_schemas::Amount;
use serde::Deserialize;

/// How urgent a flag is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Risk {
    /// Routine review.
    #[default]
    Low,
    /// Routine review, sooner.
    Medium,
    /// Immediate investigation.
    High,
}

impl fmt::Display for Risk {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Low => "LOW",
            Self::Medium => "MEDIUM",
            Self::High => "HIGH",
        })
    }
}

/// From which absolute impact on a flag is of medium and of high risk, in one currency.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Thresholds {
    /// At or above: medium.
    pub medium: Amount,
    /// At or above: high.
    pub high: Amount,
}

/// The risk of an impact; a currency that is absent or has no thresholds is high.
pub fn of_impact(impact: Amount, currency: Option<&str>, thresholds: &BTreeMap<String, Thresholds>) -> Risk {
    let Some(limits) = currency.and_then(|currency| thresholds.get(currency)) else {
        return Risk::High;
    };
    match impact.abs() {
        size if size >= limits.high => Risk::High,
        size if size >= limits.medium => Risk::Medium,
        _ => Risk::Low,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Amount {
        text.parse().unwrap()
    }

    #[test]
    fn risk_rises_at_the_thresholds_of_the_currency() {
        let limits = Thresholds {
            medium: amount("100"),
            high: amount("1000"),
        };
        let thresholds = BTreeMap::from([("USD".to_owned(), limits)]);
        for (impact, risk) in [
            ("99.999999999", Risk::Low),
            ("100", Risk::Medium),
            ("-999.99", Risk::Medium),
            ("-1000", Risk::High),
        ] {
            assert_eq!(
                of_impact(amount(impact), Some("USD"), &thresholds),
                risk,
                "{impact}"
            );
        }
        assert_eq!(of_impact(amount("1"), Some("EUR"), &thresholds), Risk::High);
        assert_eq!(of_impact(amount("1"), None, &thresholds), Risk::High);
    }
}
