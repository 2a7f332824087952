//! Exact money: one amount type, an `i128` at scale 9, from Avro `decimal(38,9)` to Postgres `numeric`.
//! Floating point never touches it.

use std::fmt;
use std::str::FromStr;

use ethnum::I256;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Digits after the point.
pub const SCALE: u32 = 9;
/// Units (10^-9) in one.
const ONE: i128 = 1_000_000_000;
/// Greatest absolute number of units: 38 nines.
const MAX_UNITS: i128 = 10_i128.pow(38) - 1;
/// Longest text worth reading as an amount: sign, digits and generous leading or trailing zeros.
const MAX_TEXT: usize = 400;

/// An amount of money or a quantity: at most 29 digits before and 9 after the point.
///
/// Its text has no exponent, plus sign, trailing zeros or `-0`: `1140`, `0.5`, `-3.25`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Amount(i128);

/// Why a text is no amount.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AmountError {
    /// Not digits with an optional minus sign and point.
    #[error("is not a decimal number such as 1140 or -0.5")]
    Malformed,
    /// More than 29 digits before or 9 after the point.
    #[error("has more than 29 digits before or 9 digits after the point")]
    OutOfRange,
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// An amount from units of 10^-9; none when it has more than 38 digits.
    pub fn from_units(units: i128) -> Option<Self> {
        (units.unsigned_abs() <= MAX_UNITS.unsigned_abs()).then_some(Self(units))
    }

    /// Units of 10^-9.
    pub fn units(self) -> i128 {
        self.0
    }

    /// Sum; none when out of range.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).and_then(Self::from_units)
    }

    /// Difference; none when out of range.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).and_then(Self::from_units)
    }

    /// Product, computed in 256 bits and rounded half-even to scale 9; none when out of range.
    pub fn checked_mul(self, other: Self) -> Option<Self> {
        let product = I256::from(self.0) * I256::from(other.0);
        let one = I256::from(ONE);
        let (quotient, remainder) = (product / one, product % one);
        let twice = remainder.abs() * I256::from(2);
        let away = twice > one || (twice == one && quotient % I256::from(2) != I256::ZERO);
        let step = if away { remainder.signum() } else { I256::ZERO };
        i128::try_from(quotient + step).ok().and_then(Self::from_units)
    }

    /// Absolute value.
    pub fn abs(self) -> Self {
        Self(self.0.abs())
    }

    /// The opposite amount.
    pub fn negated(self) -> Self {
        Self(-self.0)
    }

    /// Reads a JSON number, which may have an exponent (`1e3` is 1000), exactly.
    ///
    /// # Errors
    /// When it is no number or does not fit.
    pub fn from_json_number(text: &str) -> Result<Self, AmountError> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => {
                let exponent: i32 = exponent.parse().map_err(|_| AmountError::OutOfRange)?;
                (mantissa, exponent)
            }
            None => (text, 0),
        };
        parse(mantissa, exponent)
    }

    /// The amount as big-endian two's complement of its units, as short as possible (Avro `decimal`).
    pub fn to_avro_bytes(self) -> Vec<u8> {
        let bytes = self.0.to_be_bytes();
        let fill = if self.0 < 0 { 0xff } else { 0x00 };
        let mut start = 0;
        while start < 15 && bytes[start] == fill && (bytes[start + 1] & 0x80 == fill & 0x80) {
            start += 1;
        }
        bytes[start..].to_vec()
    }

    /// Reads big-endian two's complement of any length.
    ///
    /// # Errors
    /// When it is empty or has more than 38 digits.
    pub fn from_avro_bytes(bytes: &[u8]) -> Result<Self, AmountError> {
        let first = *bytes.first().ok_or(AmountError::Malformed)?;
        let fill = if first & 0x80 == 0 { 0x00 } else { 0xff };
        let skip = bytes.len().saturating_sub(16);
        if bytes[..skip].iter().any(|byte| *byte != fill) {
            return Err(AmountError::OutOfRange);
        }
        let tail = &bytes[skip..];
        if tail[0] & 0x80 != fill & 0x80 {
            return Err(AmountError::OutOfRange);
        }
        let mut wide = [fill; 16];
        wide[16 - tail.len()..].copy_from_slice(tail);
        Self::from_units(i128::from_be_bytes(wide)).ok_or(AmountError::OutOfRange)
    }
}

/// Reads `-?digits[.digits]` times a power of ten.
fn parse(text: &str, exponent: i32) -> Result<Amount, AmountError> {
    if text.len() > MAX_TEXT {
        return Err(AmountError::OutOfRange);
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return Err(AmountError::Malformed),
        None => (digits, ""),
    };
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        return Err(AmountError::Malformed);
    }
    // The value is 0.d1d2d3… times 10^point; only non-zero digits between 29 before and 9 after it may stand.
    let all = format!("{whole}{fraction}");
    let significant = all.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Ok(Amount::ZERO);
    }
    let leading = all.len() - all.trim_start_matches('0').len();
    let point = i64::try_from(whole.len()).map_err(|_| AmountError::OutOfRange)? + i64::from(exponent)
        - i64::try_from(leading).map_err(|_| AmountError::OutOfRange)?;
    let length = i64::try_from(significant.len()).map_err(|_| AmountError::OutOfRange)?;
    let zeros = i64::from(SCALE) + point - length;
    if point > 29 || zeros < 0 {
        return Err(AmountError::OutOfRange);
    }
    let units: i128 = significant.parse().map_err(|_| AmountError::OutOfRange)?;
    let zeros = u32::try_from(zeros).map_err(|_| AmountError::OutOfRange)?;
    let units = 10_i128
        .checked_pow(zeros)
        .and_then(|power| units.checked_mul(power))
        .ok_or(AmountError::OutOfRange)?;
    Amount::from_units(if negative { -units } else { units }).ok_or(AmountError::OutOfRange)
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        parse(text, 0)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let one = ONE.unsigned_abs();
        if self.0 < 0 {
            out.write_str("-")?;
        }
        write!(out, "{}", magnitude / one)?;
        let fraction = magnitude % one;
        if fraction != 0 {
            let digits = format!("{fraction:09}");
            write!(out, ".{}", digits.trim_end_matches('0'))?;
        }
        Ok(())
    }
}

/// On the wire an amount is an Avro `decimal`: bytes.
impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.to_avro_bytes())
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl de::Visitor<'_> for Bytes {
            type Value = Amount;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("the bytes of a decimal(38,9)")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Amount, E> {
                Amount::from_avro_bytes(bytes).map_err(|error| E::custom(format_args!("an amount {error}")))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn amount(text: &str) -> Amount {
        text.parse().expect(text)
    }

    #[test]
    fn an_amount_is_written_without_exponent_trailing_zeros_or_negative_zero() {
        for (text, written) in [
            ("1140.00", "1140"),
            ("-0", "0"),
            ("-0.000", "0"),
            ("0.500", "0.5"),
            ("007", "7"),
            ("-3.25", "-3.25"),
        ] {
            assert_eq!(amount(text).to_string(), written);
        }
    }

    #[test]
    fn twenty_nine_digits_before_and_nine_after_the_point_fit_and_one_more_does_not() {
        let widest = format!("{}.{}", "9".repeat(29), "9".repeat(9));
        assert_eq!(amount(&widest).to_string(), widest);
        assert_eq!("1".repeat(30).parse::<Amount>(), Err(AmountError::OutOfRange));
        assert_eq!("0.0000000001".parse::<Amount>(), Err(AmountError::OutOfRange));
        assert_eq!("9".repeat(60).parse::<Amount>(), Err(AmountError::OutOfRange));
    }

    #[test]
    fn what_is_no_decimal_number_is_refused() {
        for text in [
            "", "-", ".5", "5.", "+5", "1e3", "NaN", "1,000", " 1", "0x10", "٣", "--1",
        ] {
            assert_eq!(text.parse::<Amount>(), Err(AmountError::Malformed), "{text}");
        }
    }

    #[test]
    fn a_json_number_with_an_exponent_is_read_exactly() {
        for (text, written) in [
            ("1.14e3", "1140"),
            ("5E-9", "0.000000005"),
            ("1e28", "10000000000000000000000000000"),
            ("0e999999", "0"),
        ] {
            assert_eq!(
                Amount::from_json_number(text).map(|amount| amount.to_string()),
                Ok(written.into())
            );
        }
        assert_eq!(
            Amount::from_json_number("1e99999999999"),
            Err(AmountError::OutOfRange)
        );
        assert_eq!(Amount::from_json_number("1e29"), Err(AmountError::OutOfRange));
    }

    #[test]
    fn a_product_is_rounded_half_to_even() {
        let tiny = amount("0.000000001");
        assert_eq!(tiny.checked_mul(amount("0.5")), Some(Amount::ZERO));
        assert_eq!(
            amount("0.000000003").checked_mul(amount("0.5")),
            Some(amount("0.000000002"))
        );
        assert_eq!(
            amount("-0.000000003").checked_mul(amount("0.5")),
            Some(amount("-0.000000002"))
        );
        assert_eq!(amount("2").checked_mul(amount("95")), Some(amount("190")));
        assert_eq!(amount(&"9".repeat(29)).checked_mul(amount("10")), None);
    }

    proptest! {
        #[test]
        fn every_amount_survives_text_and_avro(units in -MAX_UNITS..=MAX_UNITS) {
            let amount = Amount(units);
            prop_assert_eq!(amount.to_string().parse::<Amount>(), Ok(amount));
            prop_assert_eq!(Amount::from_avro_bytes(&amount.to_avro_bytes()), Ok(amount));
        }

        #[test]
        fn any_avro_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Amount::from_avro_bytes(&bytes);
        }
    }

    #[test]
    fn padded_avro_bytes_of_foreign_writers_are_read() {
        let mut padded = vec![0xff; 20];
        padded.extend(amount("-5").to_avro_bytes());
        assert_eq!(Amount::from_avro_bytes(&padded), Ok(amount("-5")));
    }
}
