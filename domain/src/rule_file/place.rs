//! Where a key stands in a rule file.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// Names with dots between, in quotes where TOML needs them.
pub(super) fn shown(path: &[String]) -> String {
    let is_bare = |name: &str| {
        !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    let names: Vec<String> = path
        .iter()
        .map(|name| match is_bare(name) {
            true => name.clone(),
            false => format!("{name:?}"),
        })
        .collect();
    names.join(".")
}

/// The line of a place in the text, from 1.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// The line of the last key of a path, or of the last one on the way to it that the file names.
pub(super) fn line_of(text: &str, path: &[String]) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let mut list: Option<&toml::de::DeArray<'_>> = None;
    let mut found = None;
    for name in path {
        let value = if let Some(values) = list.take() {
            let value = values.get(name.parse::<usize>().ok()?)?;
            found = Some(value.span().start);
            value
        } else {
            let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == name.as_str()) else {
                break;
            };
            found = Some(key.span().start);
            value
        };
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            DeValue::Array(inner) => list = Some(inner),
            _ => break,
        }
    }
    found.map(|offset| line_at(text, offset))
}

/// The names on the way to the key or value that stands at a place; none where the text is no TOML.
pub(super) fn path_at(text: &str, place: &Range<usize>) -> Option<Vec<String>> {
    let document = DeTable::parse(text).ok()?;
    let mut best: Option<(usize, Vec<String>)> = None;
    search_table(document.get_ref(), place, &mut Vec::new(), &mut best);
    best.map(|(_, path)| path)
}

/// The innermost of what encloses a place: its length, and the names on the way to it.
type Innermost = Option<(usize, Vec<String>)>;

fn search_table(table: &DeTable<'_>, place: &Range<usize>, path: &mut Vec<String>, best: &mut Innermost) {
    for (key, value) in table {
        path.push(key.get_ref().to_string());
        consider(&key.span(), place, path, best);
        search_value(value.get_ref(), &value.span(), place, path, best);
        path.pop();
    }
}

fn search_value(
    value: &DeValue<'_>,
    span: &Range<usize>,
    place: &Range<usize>,
    path: &mut Vec<String>,
    best: &mut Innermost,
) {
    consider(span, place, path, best);
    match value {
        DeValue::Table(inner) => search_table(inner, place, path, best),
        DeValue::Array(list) => {
            for (number, value) in list.iter().enumerate() {
                path.push(number.to_string());
                search_value(value.get_ref(), &value.span(), place, path, best);
                path.pop();
            }
        }
        _ => {}
    }
}

fn consider(span: &Range<usize>, place: &Range<usize>, path: &[String], best: &mut Innermost) {
    let encloses = span.start <= place.start && place.end <= span.end;
    if encloses && best.as_ref().is_none_or(|(length, _)| span.len() < *length) {
        *best = Some((span.len(), path.to_vec()));
    }
}
