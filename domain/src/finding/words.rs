//! The words of sentences for a person.

use redline_schemas::{Amount, Date};

use crate::change::Change;

pub(super) fn went(change: &Change, row_id: &str) -> String {
    let shown = |value: Option<String>| value.unwrap_or_else(|| "nothing".to_owned());
    let (before, after) = (shown(change.before.to_text()), shown(change.after.to_text()));
    format!("{} of {row_id} went from {before} to {after}", change.column)
}

pub(super) fn money_of(change: &Change) -> String {
    money(change.impact, change.currency.as_deref())
}

/// "; 190.00 USD", exact, with at least two digits after the point; nothing when the impact is unknown.
pub(super) fn money(impact: Option<Amount>, currency: Option<&str>) -> String {
    let Some(impact) = impact else {
        return String::new();
    };
    let text = impact.to_string();
    let digits = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let padding = match digits {
        0 => ".00",
        1 => "0",
        _ => "",
    };
    format!("; {text}{padding} {}", currency.unwrap_or("without a currency"))
}

pub(crate) fn long_date(date: Date) -> String {
    date.civil()
        .map_or_else(|| date.to_string(), |day| day.strftime("%-d %B %Y").to_string())
}

pub(super) fn days(count: i32) -> String {
    const WORDS: [&str; 13] = [
        "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
        "twelve",
    ];
    let word = usize::try_from(count).ok().and_then(|index| WORDS.get(index));
    let number = word.map_or_else(|| count.to_string(), |word| (*word).to_owned());
    format!("{number} day{}", if count == 1 { "" } else { "s" })
}

/// Texts as a JSON list.
pub(super) fn json_list(texts: &[String]) -> String {
    serde_json::Value::from(texts).to_string()
}
