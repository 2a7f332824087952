//! Whether an expression can give what is expected of it, told from samples before any row is judged.

use redline_schemas::{Amount, ColumnValue};

use super::{Columns, Computed, Expression};
use crate::rules::ColumnType;

/// Columns of which all kinds of values are tried together, at most.
const MOST_VARIED: u32 = 4;

/// What an expression has to give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Expected {
    /// True or false.
    Boolean,
    /// An amount.
    Amount,
}

impl Expression {
    /// Refuses an expression that gives something else than what is expected, or that can never be computed.
    pub(crate) fn check(&self, expected: Expected) -> Result<(), String> {
        let one = || amount(1);
        let text = || ColumnValue::Text("text".to_owned());
        let plain = [
            self.sample(|_, _| one()),
            self.sample(|_, _| ColumnValue::Null),
            self.sample(|_, column_type| match column_type {
                ColumnType::Amount => one(),
                ColumnType::Text => text(),
            }),
        ];
        for computed in plain.iter().flatten() {
            match (expected, computed) {
                (Expected::Boolean, Computed::Amount(amount)) => {
                    return Err(format!("gives {amount} where true or false is expected"));
                }
                (Expected::Amount, Computed::Boolean(boolean)) => {
                    return Err(format!("gives {boolean} where an amount is expected"));
                }
                _ => {}
            }
        }
        let [Err(reason), Err(_), Err(_)] = plain else {
            return Ok(());
        };
        if self.can_be_computed() {
            return Ok(());
        }
        Err(format!("can never be computed: {reason}"))
    }

    /// Whether it can be computed for any kinds of values in the columns that are read as they were sent: some may hold text
    /// where others hold true or false. Too many such columns count as computable.
    fn can_be_computed(&self) -> bool {
        let free: Vec<&String> = self
            .columns
            .iter()
            .filter(|(_, column_type)| **column_type == ColumnType::Text)
            .map(|(name, _)| name)
            .collect();
        let kinds = [
            amount(1),
            ColumnValue::Null,
            ColumnValue::Text("text".to_owned()),
            ColumnValue::Boolean(true),
        ];
        let count = u32::try_from(free.len()).unwrap_or(u32::MAX);
        if count > MOST_VARIED {
            return true;
        }
        (0..kinds.len().pow(count)).any(|number| {
            let sample = self.sample(|name, _| {
                let place = free.iter().zip(0..).find(|(other, _)| other.as_str() == name);
                place.map_or(amount(1), |(_, place)| {
                    kinds[number / kinds.len().pow(place) % kinds.len()].clone()
                })
            });
            sample.is_ok()
        })
    }

    /// Computes it for two versions of the same values.
    fn sample(&self, value: impl Fn(&str, ColumnType) -> ColumnValue) -> Result<Computed, String> {
        let values = self.columns.iter();
        let columns =
            Columns::new(values.map(|(name, column_type)| (name.clone(), value(name, *column_type))));
        self.compute_with(Some(columns.clone()), columns)
    }
}

fn amount(whole: i64) -> ColumnValue {
    Amount::from_units(i128::from(whole) * 1_000_000_000).map_or(ColumnValue::Null, ColumnValue::Amount)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Expected) -> Result<(), String> {
        let type_of = |column: &str| match column {
            "Q" | "T" => ColumnType::Amount,
            _ => ColumnType::Text,
        };
        Expression::compile(text, type_of)?.check(expected)
    }

    #[test]
    fn what_gives_something_else_or_can_never_be_computed_is_refused() {
        for (text, expected, reason) in [
            (
                r#"after["Q"]"#,
                Expected::Boolean,
                "gives 1 where true or false is expected",
            ),
            (
                r#"after["Q"] - 1"#,
                Expected::Boolean,
                "gives 0 where true or false is expected",
            ),
            (
                r#"1 < after["Q"] < 3"#,
                Expected::Boolean,
                "can never be computed: true or false is no amount",
            ),
            (
                r#"after["Foreman"] > "x""#,
                Expected::Boolean,
                "can never be computed: \"x\" is no amount",
            ),
            (
                r#"after["Q"] > 1"#,
                Expected::Amount,
                "gives false where an amount is expected",
            ),
            (
                r#"(after["Q"] > 1) * after["T"]"#,
                Expected::Amount,
                "can never be computed: true or false is no amount",
            ),
        ] {
            assert_eq!(check(text, expected), Err(reason.to_owned()), "{text}");
        }
        assert!(check(r#"after["Q"] && after["T"] > 1"#, Expected::Boolean).is_err());
        assert!(check(r#"|| after["Q"] > 1"#, Expected::Boolean).is_err());
    }

    #[test]
    fn what_can_be_computed_for_some_kinds_of_values_is_not_refused() {
        for text in [
            r#"after["Foreman"] == "x" && after["Q"] > 1"#,
            r#"after["Foreman"] != before["Foreman"]"#,
            r#"after["Done"] == true"#,
            r#"!after["Done"] && after["Q"] > 1"#,
            r#"after["Foreman"] == "x" || after["Done"] == true"#,
            r#"after["Done"] && after["Sent"] * 2 > 4 || after["Foreman"] == "x""#,
        ] {
            assert_eq!(check(text, Expected::Boolean), Ok(()), "{text}");
        }
        for text in [
            r#"after["Sent"]"#,
            r#"after["Q"] * before["Sent"] - amount("1.5")"#,
        ] {
            assert_eq!(check(text, Expected::Amount), Ok(()), "{text}");
        }
    }
}
