//! Two rows of one key that are valid at the same time.

use std::collections::BTreeMap;

use redline_schemas::Timestamp;
use redline_schemas::fact::Fact;

use super::{Refusals, Row};

/// When a row is valid, and where it stands.
struct Span<'a> {
    from: Timestamp,
    /// None is open.
    until: Option<Timestamp>,
    place: Place<'a>,
}

enum Place<'a> {
    /// In the file.
    Line(u64),
    /// The id of a recorded fact.
    Recorded(&'a str),
}

/// Refuses rows that overlap with another one of the file, or with a recorded one that the file does not replace.
pub(super) fn refuse<'a>(
    rows: &[&'a Row],
    recorded: impl Iterator<Item = &'a Fact>,
    refusals: &mut Refusals,
) {
    let mut keys: BTreeMap<&str, Vec<Span<'_>>> = BTreeMap::new();
    for row in rows {
        keys.entry(&row.key).or_default().push(Span {
            from: row.valid_from.unwrap_or(Timestamp::FIRST),
            until: row.valid_until,
            place: Place::Line(row.line),
        });
    }
    for fact in recorded {
        // Keys that the file does not name are none of its business.
        if let Some(spans) = fact.key.as_deref().and_then(|key| keys.get_mut(key)) {
            spans.push(Span {
                from: fact.valid_from.unwrap_or(Timestamp::FIRST),
                until: fact.valid_until,
                place: Place::Recorded(&fact.id),
            });
        }
    }
    for spans in keys.values_mut() {
        spans.sort_by_key(|span| span.from);
        refuse_of_one_key(spans, refusals);
    }
}

fn refuse_of_one_key(spans: &[Span<'_>], refusals: &mut Refusals) {
    let mut spans = spans.iter();
    // The span before that lasts longest.
    let Some(mut longest) = spans.next() else { return };
    for span in spans {
        if longest.until.is_none_or(|until| until > span.from) {
            refuse_pair(longest, span, refusals);
        }
        let lasts_longer = match (longest.until, span.until) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(longest), Some(until)) => until > longest,
        };
        if lasts_longer {
            longest = span;
        }
    }
}

fn refuse_pair(earlier: &Span<'_>, later: &Span<'_>, refusals: &mut Refusals) {
    match (&earlier.place, &later.place) {
        (Place::Line(first), Place::Line(second)) => {
            let (line, other) = (first.max(second), first.min(second));
            let reason = format!(
                "overlaps line {other}, which has the same key; end the earlier one with a valid_until of {} or before",
                later.from
            );
            refusals.add(*line, "valid_from", reason);
        }
        (Place::Recorded(id), Place::Line(line)) => {
            let reason = format!(
                "overlaps the recorded row {id} ({}), which is not in the file; add it to the file with a valid_until of \
                 {} or before",
                validity(earlier),
                later.from
            );
            refusals.add(*line, "valid_from", reason);
        }
        (Place::Line(line), Place::Recorded(id)) => {
            let reason = format!(
                "overlaps the recorded row {id} ({}), which is not in the file; set a valid_until of {} or before, or \
                 add that row to the file",
                validity(later),
                later.from
            );
            refusals.add(*line, "valid_until", reason);
        }
        (Place::Recorded(_), Place::Recorded(_)) => {}
    }
}

fn validity(span: &Span<'_>) -> String {
    match span.until {
        Some(until) => format!("valid from {} until {until}", span.from),
        None => format!("valid from {} on", span.from),
    }
}
