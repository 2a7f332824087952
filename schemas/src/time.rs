//! Instants, days and months as the contract has them: UTC, microseconds, years 1900 to 2200.

use std::fmt;

use jiff::civil;
use serde::{Deserialize, Serialize};

const MICROS_PER_SECOND: i64 = 1_000_000;
/// 1900-01-01T00:00:00Z in microseconds since 1970.
const FIRST_MICROS: i64 = -2_208_988_800 * MICROS_PER_SECOND;
/// 2201-01-01T00:00:00Z in microseconds since 1970: the first instant that is too late.
const END_MICROS: i64 = 7_289_654_400 * MICROS_PER_SECOND;
const YEARS: std::ops::RangeInclusive<i16> = 1900..=2200;

/// An instant in microseconds since 1970-01-01T00:00:00Z.
///
/// A value from the wire may lie outside the contract's years until [`Timestamp::is_in_range`] was asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The first instant that the contract knows, 1900-01-01T00:00:00Z.
    pub const FIRST: Self = Self(FIRST_MICROS);

    /// An instant from microseconds since 1970.
    pub fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// An instant from milliseconds since 1970, as Kafka counts; none outside the years 1900 to 2200.
    pub fn from_millis(millis: i64) -> Option<Self> {
        millis
            .checked_mul(1_000)
            .map(Self)
            .filter(|time| time.is_in_range())
    }

    /// The present instant of this machine's clock.
    pub fn now() -> Self {
        Self(jiff::Timestamp::now().as_microsecond())
    }

    /// Microseconds since 1970.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// Whether it lies in the years 1900 to 2200.
    pub fn is_in_range(self) -> bool {
        (FIRST_MICROS..END_MICROS).contains(&self.0)
    }

    /// Reads RFC 3339 with at most six digits of a second; any offset is converted to UTC.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !has_rfc3339_shape(text.as_bytes()) {
            return Err("is not a time such as 2026-03-02T09:58:11Z (RFC 3339)".to_owned());
        }
        let fraction = text
            .get(19..)
            .and_then(|rest| rest.strip_prefix('.'))
            .unwrap_or("");
        if fraction.bytes().take_while(u8::is_ascii_digit).count() > 6 {
            return Err("has more than six digits of a second; times are kept to the microsecond".to_owned());
        }
        let time: jiff::Timestamp = text
            .parse()
            .map_err(|_| "is no existing time (RFC 3339)".to_owned())?;
        let time = Self(time.as_microsecond());
        if !time.is_in_range() {
            return Err("lies outside the years 1900 to 2200".to_owned());
        }
        Ok(time)
    }

    /// The instant for calendar computations; out of the contract's range it is the nearest one inside.
    pub fn to_jiff(self) -> jiff::Timestamp {
        let micros = self.0.clamp(FIRST_MICROS, END_MICROS - 1);
        jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
}

/// `YYYY-MM-DDTHH:MM:SS[.digits](Z|±HH:MM)`, seconds up to 59.
fn has_rfc3339_shape(text: &[u8]) -> bool {
    const SHAPE: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    if text.len() < SHAPE.len() + 1 || text.len() > 64 {
        return false;
    }
    let matches = |pattern: &[u8], part: &[u8]| {
        pattern.len() == part.len()
            && pattern
                .iter()
                .zip(part)
                .all(|(p, b)| if *p == b'd' { b.is_ascii_digit() } else { p == b })
    };
    let (head, mut rest) = text.split_at(SHAPE.len());
    if !matches(SHAPE, head) || head[17] >= b'6' {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return false;
        }
        rest = &fraction[digits..];
    }
    let is_offset = matches(b"+dd:dd", rest) || matches(b"-dd:dd", rest);
    rest == b"Z" || (is_offset && &rest[1..3] <= b"23".as_slice() && &rest[4..6] <= b"59".as_slice())
}

impl fmt::Display for Timestamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_jiff().fmt(out)
    }
}

/// A calendar day, counted from 1970-01-01.
///
/// A value from the wire may lie outside the contract's years until [`Date::is_in_range`] was asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Date(i32);

impl Date {
    const EPOCH: civil::Date = civil::date(1970, 1, 1);

    /// A day from the number of days since 1970-01-01.
    pub fn from_days(days: i32) -> Self {
        Self(days)
    }

    /// Days since 1970-01-01.
    pub fn days(self) -> i32 {
        self.0
    }

    /// Reads `YYYY-MM-DD`.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let shape = text.len() == 10
            && text.bytes().enumerate().all(|(i, b)| {
                if i == 4 || i == 7 {
                    b == b'-'
                } else {
                    b.is_ascii_digit()
                }
            });
        if !shape {
            return Err("is not a day such as 2026-02-22 (YYYY-MM-DD)".to_owned());
        }
        let day: civil::Date = text.parse().map_err(|_| "is no existing day".to_owned())?;
        if !YEARS.contains(&day.year()) {
            return Err("lies outside the years 1900 to 2200".to_owned());
        }
        Ok(Self::from_civil(day))
    }

    /// Whether it lies in the years 1900 to 2200.
    pub fn is_in_range(self) -> bool {
        self.civil().is_some_and(|day| YEARS.contains(&day.year()))
    }

    /// The calendar day; none when it lies outside the years that the calendar knows.
    pub fn civil(self) -> Option<civil::Date> {
        Self::EPOCH
            .checked_add(jiff::Span::new().try_days(self.0).ok()?)
            .ok()
    }

    /// The day of a calendar day.
    pub fn from_civil(day: civil::Date) -> Self {
        Self(
            day.duration_since(Self::EPOCH)
                .as_hours()
                .div_euclid(24)
                .try_into()
                .unwrap_or(i32::MAX),
        )
    }

    /// The day so many days later.
    pub fn plus_days(self, days: i32) -> Self {
        Self(self.0.saturating_add(days))
    }
}

impl fmt::Display for Date {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.civil() {
            Some(day) => day.fmt(out),
            None => write!(out, "day {}", self.0),
        }
    }
}

/// Checks a month `YYYY-MM` in the years 1900 to 2200.
///
/// # Errors
/// A sentence that says what is expected.
pub fn check_month(text: &str) -> Result<(), String> {
    if text.len() == 7 && Date::parse(&format!("{text}-01")).is_ok() {
        return Ok(());
    }
    Err("is not a month such as 2025-01 (YYYY-MM, years 1900 to 2200)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_kept_to_the_microsecond_in_utc() {
        for (text, written) in [
            ("2026-03-02T10:00:00Z", "2026-03-02T10:00:00Z"),
            ("2026-03-02T10:00:00.123456+02:00", "2026-03-02T08:00:00.123456Z"),
            ("1900-01-01T00:00:00Z", "1900-01-01T00:00:00Z"),
            ("2200-12-31T23:59:59.999999Z", "2200-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(
                Timestamp::parse(text).map(|time| time.to_string()),
                Ok(written.to_owned())
            );
        }
    }

    #[test]
    fn a_time_outside_the_contract_is_refused() {
        for text in [
            "",
            "2026-03-02",
            "2026-03-02T10:00:00",
            "2026-03-02 10:00:00Z",
            "2026-02-30T10:00:00Z",
            "2026-03-02T10:00:60Z",
            "2026-03-02T10:00:00.1234567Z",
            "0000-01-01T00:00:00Z",
            "1899-12-31T23:59:59Z",
            "2201-01-01T00:00:00Z",
            "+10000-01-01T00:00:00Z",
            "2026-03-02T10:00:00.Z",
            "2026-03-02T10:00:00+24:00",
            "2026-03-02T10:00:00+01:60",
        ] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_day_is_a_calendar_day() {
        assert_eq!(
            Date::parse("2026-02-22").map(|day| (day.days(), day.to_string())),
            Ok((20506, "2026-02-22".into()))
        );
        assert_eq!(
            Date::parse("1900-01-01").map(|day| day.to_string()),
            Ok("1900-01-01".into())
        );
        for text in [
            "2026-2-22",
            "2026-02-30",
            "0000-01-01",
            "2201-01-01",
            "10000-01-01",
        ] {
            assert!(Date::parse(text).is_err(), "{text}");
        }
        assert!(!Date::from_days(i32::MAX).is_in_range());
    }

    #[test]
    fn a_month_is_checked() {
        assert!(check_month("2025-01").is_ok());
        for text in ["2025-13", "2025-1", "2025-01-01", "25-01", "0000-01"] {
            assert!(check_month(text).is_err(), "{text}");
        }
    }
}
