//! `redline quarantine show`: all that is known of one record, its bytes as they are and as they would be read.

use std::fmt::Write as _;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use redline_schemas::avro::split_frame;
use redline_schemas::registry::SchemaRegistry;
use redline_schemas::view::view;
use redline_store::quarantine::Kept;
use serde_json::{Value, json};

use super::list::to_json;
use crate::commands::counted;
use crate::settings::Settings;

/// Columns of every terminal.
const WIDTH: usize = 80;
/// Where what is told begins.
const INDENT: usize = 12;
/// Bytes that are shown of a value.
const SHOWN: usize = 1_024;
/// Bytes in a line of them.
const LINE: usize = 16;

/// What a record is shown as.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Text,
    Json,
    Raw,
}

impl Form {
    pub(super) fn new(json: bool, raw: bool) -> Self {
        match (json, raw) {
            (_, true) => Self::Raw,
            (true, _) => Self::Json,
            _ => Self::Text,
        }
    }
}

/// A value as it would be read.
enum Decoded {
    As(u32, Value),
    Not(String),
}

/// Shows it.
pub(super) async fn show(settings: &Settings, record: &Kept, form: Form) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    if let Form::Raw = form {
        out.write_all(record.value.as_deref().unwrap_or_default())?;
        return Ok(out.flush()?);
    }
    let decoded = decode(&settings.registry.client()?, record.value.as_deref()).await;
    match form {
        Form::Json => writeln!(out, "{}", whole(record, &decoded))?,
        _ => write!(out, "{}", told(record, &decoded))?,
    }
    Ok(())
}

/// Reads a value under the schema that it names, whatever is wrong with it otherwise.
async fn decode(registry: &impl SchemaRegistry, value: Option<&[u8]>) -> Decoded {
    let Some(value) = value else {
        return Decoded::Not("there is no value".to_owned());
    };
    let (schema_id, datum) = match split_frame(value) {
        Ok(parts) => parts,
        Err(error) => return Decoded::Not(error.to_string()),
    };
    match registry.schema_text(schema_id).await {
        Ok(Some(schema)) => match view(&schema, datum) {
            Ok(value) => Decoded::As(schema_id, value),
            Err(reason) => Decoded::Not(format!("under the schema {schema_id} that it names: {reason}")),
        },
        Ok(None) => Decoded::Not(format!("the registry does not know the schema id {schema_id}")),
        Err(error) => Decoded::Not(error.to_string()),
    }
}

fn whole(record: &Kept, decoded: &Decoded) -> Value {
    let base64 = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| STANDARD.encode(bytes));
    let headers = record.headers.iter();
    let headers: Vec<Value> = headers
        .map(|(name, value)| json!({"name": name, "value": base64(value)}))
        .collect();
    let mut json = to_json(&record.listed);
    json["key"] = json!(base64(&record.key));
    json["value"] = json!(base64(&record.value));
    json["headers"] = json!(headers);
    match decoded {
        Decoded::As(schema_id, value) => {
            json["schema_id"] = json!(schema_id);
            json["decoded"] = value.clone();
        }
        Decoded::Not(why) => json["not_decoded"] = json!(why),
    }
    json
}

fn told(record: &Kept, decoded: &Decoded) -> String {
    let listed = &record.listed;
    let mut text = format!("Record {}\n\n", listed.quarantine_id);
    let mut tell = |name: &str, words: &str| {
        let _ = writeln!(text, "{}", labelled(name, words));
    };
    let since =
        |time: Option<redline_schemas::Timestamp>| time.map_or_else(String::new, |time| time.to_string());
    tell(
        "status",
        &format!("quarantined since {}", since(listed.quarantined_at)),
    );
    if listed.status != "quarantined" {
        let by = listed.status_changed_by.as_deref().unwrap_or("somebody");
        let how = listed.status_detail.as_deref().unwrap_or_default();
        let when = since(listed.status_changed_at);
        tell("", &format!("{} at {when}, by {by}: {how}", listed.status));
    }
    tell(
        "place",
        &format!(
            "{}, partition {}, offset {}",
            listed.topic, listed.partition, listed.offset
        ),
    );
    tell("", &format!("of the topic's incarnation {}", listed.incarnation));
    if let Some(time) = listed.kafka_timestamp {
        tell("timestamp", &format!("{time}, Kafka's"));
    }
    tell("reason", &format!("{}: {}", listed.reason, listed.detail));
    if let Some(remedy) = redline_consumer::remedy(&listed.reason) {
        tell("remedy", remedy);
    }
    tell(
        "key",
        &record.key.as_deref().map_or_else(|| "none".to_owned(), readable),
    );
    for (place, (name, value)) in record.headers.iter().enumerate() {
        let value = value.as_deref().map_or_else(|| "none".to_owned(), readable);
        let label = if place == 0 { "headers" } else { "" };
        tell(label, &format!("{}: {value}", name.escape_debug()));
    }
    let value = record.value.as_deref().unwrap_or_default();
    match decoded {
        Decoded::As(schema_id, decoded) => {
            tell(
                "value",
                &format!("{}, under the schema {schema_id}:", bytes(value.len())),
            );
            let _ = write!(text, "\n{}", indented(&format!("{decoded:#}")));
        }
        Decoded::Not(why) => tell("value", &format!("{}, not decoded: {why}", bytes(value.len()))),
    }
    if !value.is_empty() {
        let _ = write!(text, "\n{}", hex(&value[..value.len().min(SHOWN)]));
    }
    if value.len() > SHOWN {
        let more = bytes(value.len() - SHOWN);
        let _ = writeln!(text, "\n  {more} more; --raw writes all of them");
    }
    text
}

fn bytes(count: usize) -> String {
    counted(count as u64, "byte", "bytes")
}

fn labelled(name: &str, words: &str) -> String {
    let first = format!("  {name:<9} ");
    let rest = " ".repeat(INDENT);
    let options = textwrap::Options::new(WIDTH)
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .break_words(false)
        .initial_indent(&first)
        .subsequent_indent(&rest);
    textwrap::fill(words, options)
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// Text as it is, without what a terminal would obey; other bytes in hex.
fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => format!("\"{}\"", text.escape_debug()),
        Err(_) => {
            let shown = bytes.iter().take(SHOWN).map(|byte| format!("{byte:02x}"));
            format!("{} in hex", shown.collect::<Vec<_>>().join(" "))
        }
    }
}

/// Offset, bytes, and the characters that they are, in eighty columns.
fn hex(value: &[u8]) -> String {
    let mut text = String::new();
    for (number, line) in value.chunks(LINE).enumerate() {
        let digits: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let characters = line.iter().map(|byte| match byte {
            0x20..=0x7e => char::from(*byte),
            _ => '.',
        });
        let characters: String = characters.collect();
        let _ = writeln!(
            text,
            "  {:08x}  {:<47}  |{characters}|",
            number * LINE,
            digits.join(" ")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use redline_schemas::avro::{ROW_SCHEMA, encode_event};
    use redline_schemas::compiled::CompiledSchemas;
    use redline_schemas::{Event, EventKind, Timestamp};
    use redline_store::quarantine::Listed;

    use super::*;

    const ROW: &str = r#"{"source":"billing","row_id":"R-1","version":7,"op":"update","observed_at":"2026-03-02T10:00:00Z","period_end":"2026-02-22","currency":"USD","columns":{"Quantity":12.5,"Foreman":"B. Lee"}}"#;

    async fn row() -> Vec<u8> {
        let id = CompiledSchemas.schema_id("redline.rows-value", ROW_SCHEMA).await;
        let event = Event::from_json(EventKind::Row, ROW).unwrap();
        encode_event(id.unwrap().unwrap(), &event).unwrap()
    }

    fn record(value: Option<Vec<u8>>) -> Kept {
        let time = |text| Some(Timestamp::parse(text).unwrap());
        Kept {
            listed: Listed {
                quarantine_id: 17,
                topic: "redline.rows".to_owned(),
                incarnation: "AAAAAAAAAAAAAAAAAAAAAQ".to_owned(),
                partition: 3,
                offset: 4711,
                reason: "key_mismatch".to_owned(),
                detail: "the key is \"billing/R-2\" and the value is about \"billing/R-1\"; the key must be {source}/{row_id}"
                    .to_owned(),
                quarantined_at: time("2026-03-02T10:00:03.25Z"),
                kafka_timestamp: time("2026-03-02T10:00:00Z"),
                value_bytes: 0,
                status: "discarded".to_owned(),
                status_changed_at: time("2026-03-03T08:00:00Z"),
                status_changed_by: Some("ann@example.com".to_owned()),
                status_detail: Some("sent again by the producer".to_owned()),
            },
            key: Some(b"billing/R-2\x1b[31m".to_vec()),
            value,
            headers: vec![
                ("traceparent".to_owned(), Some(b"00-1-2-01".to_vec())),
                ("binary".to_owned(), Some(vec![0xff, 0])),
                ("empty".to_owned(), None),
            ],
        }
    }

    async fn shown(value: Option<Vec<u8>>) -> String {
        let decoded = decode(&CompiledSchemas, value.as_deref()).await;
        told(&record(value), &decoded)
    }

    #[tokio::test]
    async fn a_record_is_shown_with_its_reason_its_remedy_and_its_bytes_on_eighty_columns() {
        let text = shown(Some(row().await)).await;
        let too_long = |line: &&str| line.chars().count() > WIDTH;
        assert_eq!(text.lines().filter(too_long).count(), 0, "{text}");
        assert!(
            !text.contains('\x1b'),
            "a key must not colour the terminal: {text}"
        );
        insta::assert_snapshot!(text);
    }

    #[tokio::test]
    async fn a_value_that_cannot_be_decoded_is_shown_with_why() {
        let mut cut_off = row().await;
        cut_off.truncate(12);
        let cut_off = decode(&CompiledSchemas, Some(&cut_off)).await;
        assert!(
            matches!(cut_off, Decoded::Not(why) if why == "under the schema 1 that it names: it ends too early")
        );
        assert!(shown(None).await.contains("there is no value"));
        let unknown = decode(&CompiledSchemas, Some(&[0, 0xff, 0xff, 0xff, 0xff, 1])).await;
        let Decoded::Not(why) = unknown else {
            panic!("there is no such schema");
        };
        assert_eq!(why, "the registry does not know the schema id 4294967295");
        let long = shown(Some(vec![7; 5_000])).await;
        assert!(
            long.contains("not in Confluent framing") && long.contains("3976 bytes more"),
            "{long}"
        );
    }

    #[tokio::test]
    async fn programs_get_every_byte() {
        let value = row().await;
        let decoded = decode(&CompiledSchemas, Some(&value)).await;
        let json = whole(&record(Some(value.clone())), &decoded);
        assert_eq!(json["value"], STANDARD.encode(value));
        assert_eq!(json["decoded"]["columns"]["Quantity"], "12.5");
        assert_eq!(json["headers"][2], json!({"name": "empty", "value": null}));
        assert_eq!(json["status_changed_by"], "ann@example.com");
    }

    #[test]
    fn a_reason_or_a_name_is_one_line_that_is_not_empty() {
        let said = super::super::said;
        assert_eq!(said(" sent again "), Ok("sent again".to_owned()));
        for wrong in ["", "  ", "a\nb", "a\u{1b}[31m"] {
            assert!(said(wrong).is_err(), "{wrong:?}");
        }
        assert!(said(&"x".repeat(501)).is_err());
    }
}
