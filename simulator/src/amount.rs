//! Amounts: whole numbers of billionths, with arithmetic of our own.

use std::fmt;

const ONE: i128 = 1_000_000_000;
/// Thirty-eight nines: 29 digits before and 9 after the point.
const GREATEST: i128 = 99_999_999_999_999_999_999_999_999_999_999_999_999;

/// An amount of money or of things, exact to nine digits after the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Amount(i128);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// A whole number.
    pub fn whole(number: i64) -> Self {
        Self(i128::from(number) * ONE)
    }

    /// A number of hundredths.
    pub fn cents(number: i64) -> Self {
        Self(i128::from(number) * (ONE / 100))
    }

    /// Decimal text such as `1140.00` or `-0.5`; none when it is anything else, or has too many digits.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (before, after) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if before.is_empty() || !all_digits(before) || !all_digits(after) {
            return None;
        }
        if digits.contains('.') && after.is_empty() {
            return None;
        }
        let after = after.trim_end_matches('0');
        let before = before.trim_start_matches('0');
        if before.len() > 29 || after.len() > 9 {
            return None;
        }
        let units: i128 = format!("{before}{after:0<9}").parse().ok()?;
        Some(Self(if negative { -units } else { units }))
    }

    /// The sum, when it is in range.
    pub fn plus(self, other: Self) -> Option<Self> {
        Self::in_range(self.0.checked_add(other.0)?)
    }

    /// The difference, when it is in range.
    pub fn minus(self, other: Self) -> Option<Self> {
        Self::in_range(self.0.checked_sub(other.0)?)
    }

    /// The product, rounded half-even to nine digits, when it is in range.
    ///
    /// Both factors are split into whole and broken parts, so that no step needs more than 128 bits:
    /// `a * b = whole(a) * b + broken(a) * whole(b) + broken(a) * broken(b)`, of which only the last is rounded.
    pub fn times(self, other: Self) -> Option<Self> {
        let (a, b) = (self.0.abs(), other.0.abs());
        let exact = (a / ONE).checked_mul(b)?.checked_add((a % ONE) * (b / ONE))?;
        let tail = (a % ONE) * (b % ONE);
        let (quotient, rest) = (tail / ONE, tail % ONE);
        let below = exact.checked_add(quotient)?;
        let up = rest * 2 > ONE || (rest * 2 == ONE && below % 2 == 1);
        let size = below.checked_add(i128::from(up))?;
        Self::in_range(if (self.0 < 0) == (other.0 < 0) {
            size
        } else {
            -size
        })
    }

    /// The amount with the other sign.
    pub fn negated(self) -> Self {
        Self(-self.0)
    }

    /// The amount without its sign.
    pub fn absolute(self) -> Self {
        Self(self.0.abs())
    }

    fn in_range(units: i128) -> Option<Self> {
        (units.abs() <= GREATEST).then_some(Self(units))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.0.unsigned_abs();
        let one = ONE.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}", size / one)?;
        let broken = format!("{:09}", size % one);
        let broken = broken.trim_end_matches('0');
        if broken.is_empty() {
            Ok(())
        } else {
            write!(f, ".{broken}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Amount {
        Amount::parse(text).unwrap()
    }

    #[test]
    fn text_is_read_by_value_and_written_without_trailing_zeros() {
        assert_eq!(amount("1140.00"), Amount::whole(1140));
        assert_eq!(amount("1140.00").to_string(), "1140");
        assert_eq!(amount("-0.50").to_string(), "-0.5");
        assert_eq!(amount("-0").to_string(), "0");
        assert_eq!(Amount::cents(-7).to_string(), "-0.07");
    }

    #[test]
    fn what_is_no_decimal_text_is_no_amount() {
        for text in [
            "",
            "N/A",
            "1e3",
            "+1",
            "1,140",
            ".5",
            "5.",
            "-",
            "1.0000000001",
            "1 ",
        ] {
            assert_eq!(Amount::parse(text), None, "{text}");
        }
    }

    #[test]
    fn products_are_rounded_half_even() {
        assert_eq!(amount("12").times(amount("95")), Some(amount("1140")));
        assert_eq!(amount("0.000000001").times(amount("0.5")), Some(amount("0")));
        assert_eq!(
            amount("0.000000003").times(amount("0.5")),
            Some(amount("0.000000002"))
        );
        assert_eq!(
            amount("-0.000000003").times(amount("0.5")),
            Some(amount("-0.000000002"))
        );
        assert_eq!(
            amount("0.000000001").times(amount("0.51")),
            Some(amount("0.000000001"))
        );
    }

    #[test]
    fn a_product_out_of_range_is_none() {
        let large = amount("100000000000000000000");
        assert_eq!(large.times(large), None);
        assert_eq!(
            large.times(amount("100000000")),
            Some(amount("10000000000000000000000000000"))
        );
    }
}
