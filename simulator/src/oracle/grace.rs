//! Grace: the last day on which a change is in time.

use jiff::Timestamp;
use jiff::civil::Date;

use super::known::Known;
use crate::days::{days_after, is_weekend};
use crate::rulebook::HOLIDAYS_TABLE;
use crate::settings::Grace;

/// The period's end plus grace. "The last permitted day is the second business day after the period's end. Saturdays and
/// Sundays are no business days, nor are the days of the reference table named by holidays. Zero business days is the end
/// itself." Holidays are those known at the judged time.
pub(super) fn last_permitted(grace: Grace, end: Date, known: &Known<'_>, at: Timestamp) -> Date {
    match grace {
        Grace::CalendarDays(days) => days_after(end, i64::from(days)),
        Grace::BusinessDays(days) => {
            let mut left = days;
            let mut day = end;
            while left > 0 {
                day = days_after(day, 1);
                let holiday = known.reference(HOLIDAYS_TABLE, &day.to_string(), at).is_some();
                if !is_weekend(day) && !holiday {
                    left -= 1;
                }
            }
            day
        }
    }
}
