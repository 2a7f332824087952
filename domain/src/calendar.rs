//! Calendars: on which days the periods of a source end.

use jiff::civil::Weekday;
use redline_schemas::Date;

/// On which days the periods of a source end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Calendar {
    /// Weeks that end on one day of the week.
    WeeksEnding(Weekday),
    /// Months.
    Months,
}

/// The days of the week, as rule files write them.
pub(crate) const WEEKDAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

/// The name of the rule that comes with months.
const MONTHS_RULE: &str = "month_ends_on_its_last_day";
/// The beginning of the names of the rules that come with weeks.
const WEEKS_RULE: &str = "week_ends_on_";

impl Calendar {
    /// Whether a period may end on a day.
    pub fn ends_on(self, day: Date) -> bool {
        let Some(civil) = day.civil() else {
            return false;
        };
        match self {
            Self::WeeksEnding(weekday) => civil.weekday() == weekday,
            Self::Months => civil == civil.last_of_month(),
        }
    }

    /// The name of the rule that the calendar brings: `week_ends_on_sunday`, `month_ends_on_its_last_day`.
    pub fn rule_name(self) -> String {
        match self {
            Self::WeeksEnding(weekday) => format!("{WEEKS_RULE}{}", word(weekday)),
            Self::Months => MONTHS_RULE.to_owned(),
        }
    }

    /// What the calendar's periods are called.
    pub fn noun(self) -> &'static str {
        match self {
            Self::WeeksEnding(_) => "week",
            Self::Months => "month",
        }
    }

    /// On which days its periods end, in words.
    pub(crate) fn ends(self) -> String {
        match self {
            Self::WeeksEnding(weekday) => format!("weeks end on {}", capital(word(weekday))),
            Self::Months => "months end on their last day".to_owned(),
        }
    }
}

/// Whether a name is that of a rule which some calendar brings.
pub(crate) fn brings_rule(name: &str) -> bool {
    let weekday = name.strip_prefix(WEEKS_RULE);
    name == MONTHS_RULE || weekday.is_some_and(|day| WEEKDAYS.iter().any(|(word, _)| *word == day))
}

fn word(weekday: Weekday) -> &'static str {
    let found = WEEKDAYS.iter().find(|(_, other)| *other == weekday);
    found.map_or("", |(word, _)| word)
}

fn capital(word: &str) -> String {
    let (first, rest) = word.split_at(word.len().min(1));
    first.to_ascii_uppercase() + rest
}
