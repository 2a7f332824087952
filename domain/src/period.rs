//! Periods: when the time to change a row is over.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use redline_schemas::{Date, Timestamp};

/// How long after a period's end changes are still in time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Grace {
    /// So many days.
    Days(i32),
    /// So many days that are neither Saturdays nor Sundays, nor keys of a reference table of holidays.
    Business {
        /// The number of days.
        days: i32,
        /// The reference table, whose keys are days such as `2026-07-03`.
        holidays: Option<String>,
    },
}

impl Grace {
    /// No grace: the period's end itself is the last permitted day.
    pub const NONE: Self = Self::Days(0);

    /// The number of days.
    pub fn days(&self) -> i32 {
        match self {
            Self::Days(days) | Self::Business { days, .. } => *days,
        }
    }
}

/// How late something came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Late {
    /// Days after the last permitted one.
    pub days: i32,
    /// Holidays on working days that moved the last permitted day.
    pub holidays: Vec<Date>,
}

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

/// How late a day is after the last permitted one; none when it is in time.
pub fn late(local: Date, end: Date, grace: &Grace, is_holiday: impl Fn(Date) -> bool) -> Option<Late> {
    let mut holidays = Vec::new();
    let last = match grace {
        Grace::Days(days) => end.plus_days(*days),
        Grace::Business { days, .. } => {
            let (mut last, mut left) = (end, *days);
            while left > 0 {
                // Grace that has not run out on the day itself leaves it in time.
                if last >= local {
                    return None;
                }
                last = last.plus_days(1);
                if is_weekend(last) {
                    continue;
                }
                if is_holiday(last) {
                    holidays.push(last);
                } else {
                    left -= 1;
                }
            }
            last
        }
    };
    let days = local.days().saturating_sub(last.days());
    (days > 0).then_some(Late { days, holidays })
}

fn is_weekend(day: Date) -> bool {
    let weekday = day.civil().map(|civil| civil.weekday());
    matches!(weekday, Some(Weekday::Saturday | Weekday::Sunday))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Date {
        Date::parse(text).unwrap()
    }

    #[test]
    fn the_day_ends_at_midnight_of_the_sources_time_zone() {
        let zone = TimeZone::get("America/New_York").unwrap();
        let days = |time: &str| {
            let local = local_date(Timestamp::parse(time).unwrap(), &zone);
            late(local, day("2026-02-22"), &Grace::NONE, |_| false).map(|late| late.days)
        };
        assert_eq!(days("2026-02-23T04:59:59Z"), None);
        assert_eq!(days("2026-02-23T05:00:00Z"), Some(1));
    }

    #[test]
    fn grace_moves_the_last_permitted_day() {
        let days =
            |local| late(day(local), day("2026-02-22"), &Grace::Days(2), |_| true).map(|late| late.days);
        assert_eq!(days("2026-02-24"), None);
        assert_eq!(days("2026-02-25"), Some(1));
    }

    #[test]
    fn business_days_pass_over_weekends_and_holidays() {
        // 2026-07-03 is a Friday, the day on which Independence Day is observed.
        let grace = |days| Grace::Business { days, holidays: None };
        let days = |local: &str, end: &str, grace: Grace| {
            late(day(local), day(end), &grace, |date| date == day("2026-07-03")).map(|late| late.days)
        };
        // Tuesday; the first business day is Wednesday, the second Thursday, the third Monday.
        assert_eq!(days("2026-07-02", "2026-06-30", grace(2)), None);
        assert_eq!(days("2026-07-03", "2026-06-30", grace(2)), Some(1));
        assert_eq!(days("2026-07-06", "2026-06-30", grace(3)), None);
        assert_eq!(days("2026-07-07", "2026-06-30", grace(3)), Some(1));
        // From a Saturday on, the first business day is Monday.
        assert_eq!(days("2026-07-13", "2026-07-11", grace(1)), None);
        assert_eq!(days("2026-07-14", "2026-07-11", grace(1)), Some(1));
        // None is the end itself, on a weekend too.
        assert_eq!(days("2026-07-11", "2026-07-11", grace(0)), None);
        assert_eq!(days("2026-07-12", "2026-07-11", grace(0)), Some(1));
        let found = late(day("2026-07-20"), day("2026-07-02"), &grace(1), |date| {
            date == day("2026-07-03")
        });
        assert_eq!(found.map(|late| late.holidays), Some(vec![day("2026-07-03")]));
    }

    #[test]
    fn a_table_that_calls_every_day_a_holiday_ends_with_the_day_that_is_judged() {
        let grace = Grace::Business {
            days: 1,
            holidays: None,
        };
        assert_eq!(late(day("2200-12-31"), day("1900-01-01"), &grace, |_| true), None);
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
