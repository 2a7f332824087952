//! Instants and days: the time zone of the sheet, the weeks, and how instants are written.

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// The last day of the simulated sheet's first week, a Sunday.
pub const FIRST_WEEK_END: Date = jiff::civil::date(2026, 2, 15);

/// An instant as it is written: UTC, `Z`, and no more digits of a second than it needs.
pub fn written(at: Timestamp) -> String {
    let text = at.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let micros = at.subsec_nanosecond() / 1000;
    if micros == 0 {
        return format!("{text}Z");
    }
    let digits = format!("{micros:06}");
    format!("{text}.{}Z", digits.trim_end_matches('0'))
}

/// So many days later.
pub fn days_after(day: Date, days: i64) -> Date {
    day.checked_add(days.days()).unwrap_or(day)
}

/// So many seconds later.
pub fn seconds_after(at: Timestamp, seconds: i64) -> Timestamp {
    at.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(at)
}

/// So many microseconds later.
pub fn micros_after(at: Timestamp, micros: i64) -> Timestamp {
    at.checked_add(SignedDuration::from_micros(micros)).unwrap_or(at)
}

/// An instant of a day by its seconds since midnight in UTC.
pub fn utc(day: Date, seconds: i64) -> Timestamp {
    let midnight = day.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp());
    seconds_after(midnight.unwrap_or(Timestamp::UNIX_EPOCH), seconds)
}

/// Whether a day is a Saturday or a Sunday.
pub fn is_weekend(day: Date) -> bool {
    matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday)
}

/// A time zone, in which days are counted.
#[derive(Debug, Clone)]
pub struct Zone(TimeZone);

impl Zone {
    /// The zone of this name; UTC when nobody knows the name.
    pub fn named(name: &str) -> Self {
        Self(TimeZone::get(name).unwrap_or(TimeZone::UTC))
    }

    /// The day that it is here at this instant.
    pub fn day(&self, at: Timestamp) -> Date {
        at.to_zoned(self.0.clone()).date()
    }

    /// The first instant of a day here.
    pub fn midnight(&self, day: Date) -> Timestamp {
        day.to_zoned(self.0.clone())
            .map_or(Timestamp::UNIX_EPOCH, |zoned| zoned.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn an_instant_has_no_digits_that_it_does_not_need() {
        let at: Timestamp = "2026-03-02T10:00:00.120Z".parse().unwrap();
        assert_eq!(written(at), "2026-03-02T10:00:00.12Z");
        assert_eq!(
            written(seconds_after(utc(date(2026, 3, 2), 0), 36_000)),
            "2026-03-02T10:00:00Z"
        );
    }

    #[test]
    fn a_day_in_new_york_begins_at_four_or_five() {
        let zone = Zone::named("America/New_York");
        assert_eq!(written(zone.midnight(date(2026, 2, 23))), "2026-02-23T05:00:00Z");
        assert_eq!(written(zone.midnight(date(2026, 3, 9))), "2026-03-09T04:00:00Z");
        assert_eq!(
            zone.day("2026-02-23T04:59:59Z".parse().unwrap()),
            date(2026, 2, 22)
        );
    }

    #[test]
    fn the_first_week_ends_on_a_sunday() {
        assert_eq!(FIRST_WEEK_END.weekday(), Weekday::Sunday);
    }
}
