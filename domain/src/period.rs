//! Periods: when the time to change a row is over.

use jiff::tz::TimeZone;
use redline_schemas::{Date, Timestamp};

/// The local day of an instant.
pub fn local_date(time: Timestamp, zone: &TimeZone) -> Date {
    Date::from_civil(time.to_jiff().to_zoned(zone.clone()).date())
}

/// The earlier of two period ends; one that is absent leaves the other.
pub fn earlier_end(before: Option<Date>, after: Option<Date>) -> Option<Date> {
    match (before, after) {
        (Some(before), Some(after)) => Some(before.min(after)),
        (end, None) | (None, end) => end,
    }
}

/// How many days after its last permitted day a change was made; none when it was made in time.
pub fn days_late(local: Date, end: Date, grace_days: i32) -> Option<i32> {
    let late = local.days().saturating_sub(end.plus_days(grace_days).days());
    (late > 0).then_some(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_ends_at_midnight_of_the_sources_time_zone() {
        let zone = TimeZone::get("America/New_York").unwrap();
        let end = Date::parse("2026-02-22").unwrap();
        let late = |time: &str| days_late(local_date(Timestamp::parse(time).unwrap(), &zone), end, 0);
        assert_eq!(late("2026-02-23T04:59:59Z"), None);
        assert_eq!(late("2026-02-23T05:00:00Z"), Some(1));
    }

    #[test]
    fn grace_moves_the_last_permitted_day() {
        let end = Date::parse("2026-02-22").unwrap();
        assert_eq!(days_late(Date::parse("2026-02-24").unwrap(), end, 2), None);
        assert_eq!(days_late(Date::parse("2026-02-25").unwrap(), end, 2), Some(1));
    }

    #[test]
    fn the_earlier_of_two_ends_counts_and_an_absent_one_leaves_the_other() {
        let (early, late) = (Date::from_days(1), Date::from_days(2));
        assert_eq!(earlier_end(Some(late), Some(early)), Some(early));
        assert_eq!(earlier_end(Some(late), None), Some(late));
        assert_eq!(earlier_end(None, Some(late)), Some(late));
        assert_eq!(earlier_end(None, None), None);
    }
}
