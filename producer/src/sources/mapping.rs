//! From a CSV record to the JSON object of a row event, so that one validation serves all ways in.

use redline_schemas::{Amount, FieldError, Timestamp};

use super::settings::{CollectSettings, ColumnType, FIELDS};

/// Which cell of a record fills what. Everything that can be wrong with the settings is found when it is made.
#[derive(Debug)]
pub(crate) struct Mapping {
    /// Members that are the same in every row, as JSON, each followed by a comma.
    constants: String,
    fields: Vec<(&'static str, usize)>,
    columns: Vec<(String, usize, ColumnType)>,
    cells: usize,
}

impl Mapping {
    /// Finds the mapped columns in a header. Refusals name what is wrong and what to do.
    pub(crate) fn new(
        source: &str,
        settings: &CollectSettings,
        header: &[String],
        now: Timestamp,
    ) -> Result<Self, String> {
        check_names(source, settings)?;
        let mut columns = Vec::new();
        for (name, column) in &settings.columns {
            let title = column.column.as_deref().unwrap_or(name);
            let wanted = format!("[collect.{source}.columns] \"{name}\"");
            columns.push((name.clone(), find(header, title, &wanted)?, column.kind));
        }
        let mut fields = Vec::new();
        for field in FIELDS {
            if let Some(title) = settings.fields.get(field) {
                let wanted = format!("[collect.{source}.fields] {field}");
                fields.push((field, find(header, title, &wanted)?));
            }
        }
        Ok(Self {
            constants: constants(source, settings, now),
            fields,
            columns,
            cells: header.len(),
        })
    }

    /// The JSON object of one record. An empty cell is absent.
    pub(crate) fn json(&self, cells: &[&str]) -> Result<String, FieldError> {
        if cells.len() != self.cells {
            let reason = format!(
                "has {} cells where the header has {}; a quote may be missing",
                cells.len(),
                self.cells
            );
            return Err(FieldError::new("", reason));
        }
        let cell = |place: &usize| {
            let cell = cells.get(*place).copied().unwrap_or_default();
            (!cell.is_empty()).then_some(cell)
        };
        let mut json = format!("{{{}", self.constants);
        for (field, place) in &self.fields {
            if let Some(cell) = cell(place) {
                push(&mut json, field, &field_value(field, cell));
            }
        }
        json.push_str("\"columns\":{");
        let before = json.len();
        for (name, place, kind) in &self.columns {
            let value = cell(place).map_or("null".to_owned(), |cell| column_value(*kind, cell));
            push(&mut json, name, &value);
        }
        json.truncate(json.len() - usize::from(json.len() > before));
        json.push_str("}}");
        Ok(json)
    }
}

/// Refuses settings that cannot be meant, whatever the file holds.
fn check_names(source: &str, settings: &CollectSettings) -> Result<(), String> {
    for (section, names) in [("fields", &settings.fields), ("constants", &settings.constants)] {
        if let Some(unknown) = names.keys().find(|name| !FIELDS.contains(&name.as_str())) {
            return Err(format!(
                "[collect.{source}.{section}] {unknown}: a row event has no such field; there are {}",
                FIELDS.join(", ")
            ));
        }
    }
    if let Some(both) = settings
        .fields
        .keys()
        .find(|name| settings.constants.contains_key(*name))
    {
        return Err(format!(
            "[collect.{source}] {both} stands under `fields` and under `constants`; remove one"
        ));
    }
    for needed in ["row_id", "version"] {
        if !settings.fields.contains_key(needed) && !settings.constants.contains_key(needed) {
            return Err(format!(
                "[collect.{source}.fields] {needed} is missing: name the column that holds it, such as \
                 {needed} = \"Header\""
            ));
        }
    }
    if settings.columns.is_empty() {
        return Err(format!(
            "[collect.{source}.columns] names no column: name those to be recorded, such as \"Unit Price\" = \
             {{ type = \"amount\" }}"
        ));
    }
    Ok(())
}

/// The place of a title in the header.
fn find(header: &[String], title: &str, wanted: &str) -> Result<usize, String> {
    let mut places = (0..header.len()).filter(|place| header.get(*place).is_some_and(|found| found == title));
    match (places.next(), places.next()) {
        (Some(place), None) => Ok(place),
        (Some(_), Some(_)) => Err(format!(
            "{wanted} names the column \"{title}\", which the header has twice; rename one in the file"
        )),
        (None, _) => Err(format!(
            "{wanted} names the column \"{title}\", which the header has not; it has {}",
            shown(header)
        )),
    }
}

/// The first titles of a header.
fn shown(header: &[String]) -> String {
    const SHOWN: usize = 50;
    let titles: Vec<String> = header
        .iter()
        .take(SHOWN)
        .map(|title| format!("\"{title}\""))
        .collect();
    let more = if header.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", titles.join(", "))
}

fn constants(source: &str, settings: &CollectSettings, now: Timestamp) -> String {
    let mut json = String::new();
    push(&mut json, "source", &quoted(source));
    for (field, text) in &settings.constants {
        push(&mut json, field, &field_value(field, text));
    }
    let now = now.to_string();
    for (field, default) in [("op", "snapshot"), ("observed_at", now.as_str())] {
        if !settings.fields.contains_key(field) && !settings.constants.contains_key(field) {
            push(&mut json, field, &quoted(default));
        }
    }
    json
}

/// The JSON of an event's field. What does not read as its type stays text, which the event's check then names.
fn field_value(field: &str, cell: &str) -> String {
    match field {
        "version" => match cell.trim().parse::<i64>() {
            Ok(version) => version.to_string(),
            Err(_) => quoted(cell),
        },
        "completed" => boolean(cell).unwrap_or_else(|| quoted(cell)),
        // Ids and names are kept to the letter; around these, blanks mean nothing.
        "op" | "observed_at" | "modified_at" | "period_end" | "currency" | "link" => quoted(cell.trim()),
        _ => quoted(cell),
    }
}

fn column_value(kind: ColumnType, cell: &str) -> String {
    let typed = match kind {
        ColumnType::Text => None,
        ColumnType::Amount => cell.trim().parse().ok().map(|amount: Amount| amount.to_string()),
        ColumnType::Boolean => boolean(cell),
    };
    typed.unwrap_or_else(|| quoted(cell))
}

fn boolean(cell: &str) -> Option<String> {
    match cell.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Some("true".to_owned()),
        "false" | "no" | "0" => Some("false".to_owned()),
        _ => None,
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Adds a member and a comma.
fn push(json: &mut String, name: &str, value: &str) {
    json.push_str(&quoted(name));
    json.push(':');
    json.push_str(value);
    json.push(',');
}

#[cfg(test)]
mod tests {
    use super::*;
    use redline_schemas::{Event, EventKind};

    fn settings(json: &str) -> CollectSettings {
        serde_json::from_str(json).unwrap()
    }

    const SETTINGS: &str = r#"{
        "fields": {"row_id": "Row", "version": "Version", "completed": "Done", "modified_at": "Changed"},
        "constants": {"currency": "USD"},
        "columns": {
            "Quantity": {"type": "amount"},
            "Price": {"column": "Unit Price", "type": "amount"},
            "Urgent": {"type": "boolean"},
            "Foreman": {}
        }
    }"#;
    const HEADER: [&str; 9] = [
        "Row",
        "Version",
        "Done",
        "Changed",
        "Quantity",
        "Unit Price",
        "Urgent",
        "Foreman",
        "Other",
    ];

    fn mapping(settings_json: &str, header: &[&str]) -> Result<Mapping, String> {
        let header: Vec<String> = header.iter().map(|title| (*title).to_owned()).collect();
        let now = Timestamp::parse("2026-03-02T10:00:00Z").unwrap();
        Mapping::new("billing", &settings(settings_json), &header, now)
    }

    #[test]
    fn a_record_becomes_the_json_of_a_row_event() {
        let mapping = mapping(SETTINGS, &HEADER).unwrap();
        let record = [
            "R\"1",
            "7",
            "TRUE",
            " 2026-03-01T09:00:00Z ",
            " 12.50",
            "N/A",
            "no",
            " B. Lee\n",
            "x",
        ];
        let json = mapping.json(&record).unwrap();
        insta::assert_snapshot!(json);
        let event = Event::from_json(EventKind::Row, &json).unwrap();
        assert_eq!(event.entity().kafka_key(), "billing/R\"1");
        let empty = mapping.json(&["R", "0", "", "", "", "", "", "", ""]).unwrap();
        insta::assert_snapshot!("an_empty_cell_is_absent", empty);
        assert!(Event::from_json(EventKind::Row, &empty).is_ok());
    }

    #[test]
    fn cells_that_do_not_read_are_named_by_the_events_own_check() {
        let mapping = mapping(SETTINGS, &HEADER).unwrap();
        for (record, field) in [
            (["", "7", "", "", "", "", "", "", ""], "row_id"),
            (["R", "seven", "", "", "", "", "", "", ""], "version"),
            (["R", "7", "perhaps", "", "", "", "", "", ""], "completed"),
            (["R", "7", "", "yesterday", "", "", "", "", ""], "modified_at"),
        ] {
            let json = mapping.json(&record).unwrap();
            assert_eq!(Event::from_json(EventKind::Row, &json).unwrap_err().field, field);
        }
        assert!(mapping.json(&["R", "7"]).is_err());
    }

    #[test]
    fn a_wrong_mapping_names_what_is_wrong_and_what_to_do() {
        let without = |text: &str| SETTINGS.replace(text, "");
        let doubled = [&HEADER[..], &["Row"]].concat();
        let refusals = [
            mapping(SETTINGS, &HEADER[1..]),
            mapping(SETTINGS, &doubled),
            mapping(&without(r#""version": "Version", "#), &HEADER),
            mapping(&SETTINGS.replace("modified_at", "changed_at"), &HEADER),
            mapping(&SETTINGS.replace("\"currency\"", "\"completed\""), &HEADER),
            mapping(r#"{"fields":{"row_id":"Row","version":"Version"}}"#, &HEADER),
        ];
        let refusals: Vec<String> = refusals.into_iter().map(|mapping| mapping.unwrap_err()).collect();
        insta::assert_snapshot!(refusals.join("\n"));
    }
}
