//! An Avro datum as JSON for a person, under any schema. Nothing is checked: it shows what is there, right or wrong.

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use serde_json::{Map, Number, Value as Json, json};

use crate::amount::Amount;
use crate::avro;
use crate::time::{Date, Timestamp};

/// Digits after the point of our amounts.
const SCALE: usize = 9;

/// Reads a datum under its writer's schema.
///
/// # Errors
/// A sentence that says why it cannot be read.
pub fn view(schema: &str, datum: &[u8]) -> Result<Json, String> {
    // Limits what the decoder may allocate.
    std::sync::LazyLock::force(&avro::SCHEMAS);
    let schema = Schema::parse_str(schema).map_err(|error| error.to_string())?;
    let reader = GenericDatumReader::builder(&schema)
        .build()
        .map_err(|error| error.to_string())?;
    let mut rest = datum;
    let value = reader
        .read_value(&mut rest)
        .map_err(|error| avro::plain_words(&error))?;
    match rest.len() {
        0 => Ok(json_of(&value, Some(&schema))),
        left => Err(format!("{left} bytes are left over")),
    }
}

/// A value; its schema says how many digits of a decimal are behind the point.
fn json_of(value: &Value, schema: Option<&Schema>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(is) => json!(is),
        Value::Int(number) | Value::TimeMillis(number) => json!(number),
        Value::Long(number) | Value::TimeMicros(number) => json!(number),
        Value::Float(number) => real(f64::from(*number)),
        Value::Double(number) => real(*number),
        Value::Bytes(bytes) | Value::Fixed(_, bytes) => json!(hex(bytes)),
        Value::String(text) | Value::Enum(_, text) => json!(text),
        Value::Union(place, inner) => {
            let member = match schema {
                Some(Schema::Union(union)) => union.variants().get(*place as usize),
                _ => None,
            };
            json_of(inner, member)
        }
        Value::Array(items) => {
            let of = match schema {
                Some(Schema::Array(array)) => Some(&*array.items),
                _ => None,
            };
            items.iter().map(|item| json_of(item, of)).collect()
        }
        Value::Map(entries) => {
            let of = match schema {
                Some(Schema::Map(map)) => Some(&*map.types),
                _ => None,
            };
            let entries = entries
                .iter()
                .map(|(name, value)| (name.clone(), json_of(value, of)));
            Json::Object(entries.collect::<Map<_, _>>())
        }
        Value::Record(fields) => {
            let of = |name: &str| match schema {
                Some(Schema::Record(record)) => {
                    let place = record.lookup.get(name)?;
                    record.fields.get(*place).map(|field| &field.schema)
                }
                _ => None,
            };
            let fields = fields
                .iter()
                .map(|(name, value)| (name.clone(), json_of(value, of(name))));
            Json::Object(fields.collect::<Map<_, _>>())
        }
        Value::Date(days) => day(*days),
        Value::TimestampMicros(micros) => instant(*micros),
        Value::TimestampMillis(millis) => match Timestamp::from_millis(*millis) {
            Some(time) => instant(time.micros()),
            None => json!(millis),
        },
        Value::Decimal(decimal) => {
            let bytes = Vec::<u8>::try_from(decimal).unwrap_or_default();
            match schema {
                Some(Schema::Decimal(of)) if of.scale == SCALE => amount(&bytes),
                _ => json!(hex(&bytes)),
            }
        }
        other => json!(format!("{other:?}")),
    }
}

fn real(number: f64) -> Json {
    Number::from_f64(number).map_or_else(|| json!(number.to_string()), Json::Number)
}

/// Beyond our years it stays the number that it is.
fn instant(micros: i64) -> Json {
    let time = Timestamp::from_micros(micros);
    match time.is_in_range() {
        true => json!(time.to_string()),
        false => json!(micros),
    }
}

fn day(days: i32) -> Json {
    let day = Date::from_days(days);
    match day.is_in_range() {
        true => json!(day.to_string()),
        false => json!(days),
    }
}

/// Beyond our digits it stays the bytes that it is.
fn amount(bytes: &[u8]) -> Json {
    match Amount::from_avro_bytes(bytes) {
        Ok(amount) => json!(amount.to_string()),
        Err(_) => json!(hex(bytes)),
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    format!("0x{}", digits.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::avro::{FRAME_BYTES, ROW_SCHEMA, encode_event};
    use crate::event::{Event, EventKind};

    const ROW: &str = r#"{"source":"billing","row_id":"R-1","version":7,"op":"update","observed_at":"2026-03-02T10:00:00Z","period_end":"2026-02-22","currency":"USD","columns":{"Quantity":12.5,"Foreman":"B. Lee"}}"#;

    fn datum() -> Vec<u8> {
        let event = Event::from_json(EventKind::Row, ROW).unwrap();
        encode_event(1, &event).unwrap().split_off(FRAME_BYTES)
    }

    #[test]
    fn a_row_is_shown_with_its_amounts_and_times_as_people_write_them() {
        let shown = view(ROW_SCHEMA, &datum()).unwrap();
        assert_eq!(shown["columns"]["Quantity"], "12.5");
        assert_eq!(shown["columns"]["Foreman"], "B. Lee");
        assert_eq!(shown["observed_at"], "2026-03-02T10:00:00Z");
        assert_eq!(shown["period_end"], "2026-02-22");
        assert_eq!(shown["modified_by"], Json::Null);
        assert_eq!(shown["version"], 7);
    }

    #[test]
    fn what_cannot_be_read_is_said_in_plain_words() {
        let mut cut_off = datum();
        cut_off.truncate(9);
        assert_eq!(view(ROW_SCHEMA, &cut_off).unwrap_err(), "it ends too early");
        let mut too_long = datum();
        too_long.push(0);
        assert_eq!(view(ROW_SCHEMA, &too_long).unwrap_err(), "1 bytes are left over");
        assert!(view("{}", b"").is_err());
    }

    #[test]
    fn numbers_beyond_our_years_and_digits_are_shown_as_they_are() {
        assert_eq!(instant(i64::MAX), i64::MAX);
        assert_eq!(day(i32::MIN), i32::MIN);
        assert_eq!(amount(&[0x7f; 20]), format!("0x{}", "7f".repeat(20)));
        assert_eq!(amount(&[]), "0x");
        assert_eq!(real(f64::NAN), "NaN");
    }
}
