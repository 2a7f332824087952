//! What goes over the wire: example payloads, their canonical forms and hashes, and hostile bytes.

#![allow(clippy::expect_used, reason = "a test says what it expects")]

use proptest::prelude::*;
use redline_schemas::avro::{self, SCHEMAS, WriterSchema};
use redline_schemas::fact::Fact;
use redline_schemas::flag::{Flag, Position, flag_id};
use redline_schemas::{ColumnValue, ContentHash, Event, EventKind, Timestamp};

const ROW: &str = r#"{"source":"billing","row_id":"R-1001","version":7,"op":"update","observed_at":"2026-03-02T10:00:00Z","modified_at":"2026-03-02T09:58:11Z","modified_by":"ann@example.com","period_end":"2026-02-22","completed":true,"currency":"USD","link":"https://sheets.example.com/r/1001","columns":{"Quantity":12,"Unit Price":95,"Redlined Total Price":"1140.00","Foreman":"B. Lee","Note":null,"Checked":false},"column_edits":{"Quantity":{"modified_by":"bob@example.com","modified_at":"2026-03-02T09:58:10.5Z"}}}"#;
const PAYOUT: &str = r#"{"system":"youtube","payout_id":"p-1","period":"2025-01","amount":"12.340","currency":"EUR","reported_at":"2025-02-10T00:00:00Z","channel_id":"c","asset_id":"a|b","document":{"name":"jan.csv","sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","line":3}}"#;
const ORDER: &str = r#"{"order_id":"o-1","customer_id":"c-1","amount":99.9,"currency":"USD","status":"paid","created_at":"2026-01-01T00:00:00Z","version":1}"#;

fn schema_text(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Row => avro::ROW_SCHEMA,
        EventKind::Payout => avro::PAYOUT_SCHEMA,
        EventKind::Order => avro::ORDER_SCHEMA,
        EventKind::Fact => avro::FACT_SCHEMA,
    }
}

fn read(kind: EventKind, json: &str) -> Event {
    Event::from_json(kind, json).expect(json)
}

fn decode(kind: EventKind, value: &[u8]) -> Result<Event, avro::DecodeError> {
    let (schema_id, datum) = avro::split_frame(value)?;
    WriterSchema::new(schema_id, kind, schema_text(kind))?.decode(datum)
}

#[test]
fn every_example_payload_has_one_canonical_form_and_hash() {
    for (kind, json) in [
        (EventKind::Row, ROW),
        (EventKind::Payout, PAYOUT),
        (EventKind::Order, ORDER),
    ] {
        let canonical = read(kind, json).canonical();
        let hash = ContentHash::of(canonical.as_bytes());
        insta::assert_snapshot!(kind.entity_type(), format!("{canonical}\n{hash}"));
    }
}

#[test]
fn an_event_is_the_same_from_json_and_from_avro() {
    for (kind, json) in [
        (EventKind::Row, ROW),
        (EventKind::Payout, PAYOUT),
        (EventKind::Order, ORDER),
    ] {
        let event = read(kind, json);
        let value = avro::encode_event(7, &event).expect("it encodes");
        assert_eq!(decode(kind, &value), Ok(event.clone()));
        assert_eq!(
            Event::from_canonical(kind, &event.canonical(), event.observed_at()),
            Ok(event)
        );
    }
}

#[test]
fn observed_at_is_no_content_and_everything_else_is() {
    let event = read(EventKind::Row, ROW).canonical();
    let later = ROW.replace(
        "\"observed_at\":\"2026-03-02T10:00:00Z\"",
        "\"observed_at\":\"2026-03-03T10:00:00Z\"",
    );
    assert_eq!(read(EventKind::Row, &later).canonical(), event);
    for (from, to) in [
        ("\"version\":7", "\"version\":8"),
        ("B. Lee", "B. Li"),
        ("true", "false"),
        ("Quantity\":12", "Quantity\":\"12\""),
    ] {
        assert_ne!(
            read(EventKind::Row, &ROW.replace(from, to)).canonical(),
            event,
            "{from}"
        );
    }
}

#[test]
fn each_field_that_is_not_as_the_contract_says_is_named() {
    let cases = [
        ("\"source\":\"billing\",", "", "`source` is missing"),
        (
            "\"billing\"",
            "\"bill/ing\"",
            "`source` contains `/`, which divides the parts of a key",
        ),
        (
            "R-1001\",\"version",
            "R\\u0001\",\"version",
            "`row_id` contains a control character",
        ),
        (
            "\"version\":7",
            "\"version\":-1",
            "`version` is not a whole number from 0 to 9007199254740991",
        ),
        (
            "\"version\":7",
            "\"version\":7.5",
            "`version` is not a whole number within 64 bits",
        ),
        (
            "\"update\"",
            "\"upsert\"",
            "`op` is not one of snapshot, create, update, delete",
        ),
        (
            "2026-03-02T10:00:00Z",
            "0000-03-02T10:00:00Z",
            "`observed_at` lies outside the years 1900 to 2200",
        ),
        (
            "2026-03-02T10:00:00Z",
            "10000-03-02T10:00:00Z",
            "`observed_at` is not a time such as 2026-03-02T09:58:11Z (RFC 3339)",
        ),
        (
            "\"USD\"",
            "\"usd\"",
            "`currency` is not a currency code such as USD (ISO 4217, three capital letters)",
        ),
        ("https://", "ftp://", "`link` is not an http or https address"),
        (
            "\"Quantity\":12",
            "\"Quantity\":1e60",
            "`columns.Quantity` has more than 29 digits before or 9 digits after the point",
        ),
        (
            "\"Quantity\":12",
            "\"Quantity\":[1]",
            "`columns.Quantity` is neither null, true, false, a number nor text",
        ),
        (
            "\"Quantity\":12",
            "\"Quantity\":1,\"Quantity\":2",
            "`columns.Quantity` is named twice",
        ),
        (
            "B. Lee",
            "B\\u0000Lee",
            "`columns.Foreman` contains the character U+0000",
        ),
        (
            "B. Lee",
            "B\\ud800Lee",
            "`columns.Foreman` holds half of a surrogate pair, which is no character; send both halves",
        ),
        (
            "\"op\"",
            "\"colour\":1,\"op\"",
            "`colour` is no field of this event",
        ),
        (
            "\"modified_by\":\"bob@example.com\"",
            "\"by\":1",
            "`column_edits.Quantity.by` is no field of this event",
        ),
    ];
    for (from, to, message) in cases {
        assert!(ROW.contains(from), "{from}");
        let error = Event::from_json(EventKind::Row, &ROW.replacen(from, to, 1)).expect_err(message);
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn json_that_is_no_object_is_called_so() {
    for json in ["null", " 1 ", "\"text\"", "[{}]", "true"] {
        let error = Event::from_json(EventKind::Row, json).expect_err(json);
        assert_eq!(error.reason, "is not a JSON object", "{json}");
    }
}

#[test]
fn bytes_that_do_not_follow_their_schema_are_refused_in_plain_words() {
    let writer = WriterSchema::new(9, EventKind::Order, avro::ORDER_SCHEMA).expect("it parses");
    let refusal = |datum: &[u8]| writer.decode(datum).expect_err("it is broken").to_string();
    for (datum, words) in [
        (&[][..], "it ends too early"),
        (&[200, 1, b'x'], "it ends too early"),
        (&[1], "a length in it is negative or too great"),
        (
            &[0xfe, 0xff, 0xff, 0xff, 0x0f],
            "a length in it is negative or too great",
        ),
        (&[4, 0xff, 0xfe], "a text in it is not UTF-8"),
    ] {
        let refusal = refusal(datum);
        assert!(refusal.ends_with(&format!(": {words}")), "{datum:?}: {refusal}");
    }
}

#[test]
fn nesting_a_thousand_deep_is_refused() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for json in [
        deep.clone(),
        format!("{{\"columns\":{{\"a\":{deep}}}}}"),
        ROW.replace("12", &deep),
    ] {
        assert!(Event::from_json(EventKind::Row, &json).is_err());
    }
}

#[test]
fn five_hundred_columns_pass_and_one_more_is_refused() {
    let with_columns = |count: usize| {
        let columns: Vec<String> = (0..count).map(|number| format!("\"c{number}\":1")).collect();
        let start = ROW.find("\"columns\"").expect("it has columns");
        format!("{}\"columns\":{{{}}}}}", &ROW[..start], columns.join(","))
    };
    assert!(Event::from_json(EventKind::Row, &with_columns(500)).is_ok());
    assert!(Event::from_json(EventKind::Row, &with_columns(501)).is_err());
}

#[test]
fn a_field_of_a_newer_writer_is_ignored_while_it_is_null_and_refused_with_a_value() {
    let newer = avro::ORDER_SCHEMA.replacen(
        "\"fields\": [",
        "\"fields\": [ {\"name\":\"gift\",\"type\":[\"null\",\"string\"],\"default\":null},",
        1,
    );
    let writer = WriterSchema::new(9, EventKind::Order, &newer).expect("it parses");
    let event = read(EventKind::Order, ORDER);
    let plain = avro::encode_event(9, &event).expect("it encodes");
    let with = |gift: &[u8]| [gift, &plain[avro::FRAME_BYTES..]].concat();
    assert_eq!(writer.decode(&with(&[0])), Ok(event));
    assert_eq!(
        writer.decode(&with(&[2, 2, b'x'])),
        Err(avro::DecodeError::UnknownField("gift".into()))
    );
}

#[test]
fn a_value_that_is_cut_off_or_has_bytes_left_over_is_refused() {
    let value = avro::encode_event(7, &read(EventKind::Row, ROW)).expect("it encodes");
    for length in 0..value.len() {
        assert!(decode(EventKind::Row, &value[..length]).is_err(), "{length}");
    }
    assert!(decode(EventKind::Row, &[&value[..], &[0]].concat()).is_err());
}

#[test]
fn a_flag_and_a_fact_survive_their_schemas() {
    let flag = Flag {
        flag_id: flag_id("reversion", "row", "billing", "R-1", 3, Some("Quantity")),
        revision: 1,
        status: "standing".into(),
        kind: "reversion".into(),
        risk: "LOW".into(),
        entity_type: "row".into(),
        source: "billing".into(),
        entity_id: "R-1".into(),
        version: 3,
        column: Some("Quantity".into()),
        before: Some("1".into()),
        after: None,
        impact: "-5".parse().ok(),
        currency: Some("USD".into()),
        score: None,
        editor: None,
        modified_at: Timestamp::parse("2026-03-02T10:00:00Z").ok(),
        period: None,
        legal_entity: None,
        link: None,
        reason: "It went back.".into(),
        details: [("timing".to_owned(), "observed".to_owned())].into(),
        rules_hash: "00".into(),
        position: Position {
            topic: "redline.rows".into(),
            incarnation: "id".into(),
            partition: 0,
            offset: 9,
        },
    };
    insta::assert_snapshot!("flag", flag.to_json());
    insta::assert_snapshot!("flag_content", flag.canonical());
    let bytes = avro::encode(&SCHEMAS.flag, 1, &flag).expect("it encodes");
    let (_, mut datum) = avro::split_frame(&bytes).expect("it is framed");
    let reader = apache_avro::reader::datum::GenericDatumReader::builder(SCHEMAS.flag.schema)
        .build()
        .expect("a reader");
    assert_eq!(reader.read_deser::<Flag>(&mut datum).expect("it decodes"), flag);

    let mut fact = Fact::rules("rules", 0, Timestamp::FIRST, "migrate", "[sources]");
    fact.values = Some(
        [(
            "price".to_owned(),
            ColumnValue::Amount("9.5".parse().expect("an amount")),
        )]
        .into(),
    );
    insta::assert_snapshot!("fact", fact.canonical());
    let event = Event::Fact(Box::new(fact));
    let bytes = avro::encode_event(1, &event).expect("it encodes");
    assert_eq!(decode(EventKind::Fact, &bytes), Ok(event.clone()));
    assert_eq!(
        Event::from_canonical(EventKind::Fact, &event.canonical(), None),
        Ok(event.clone())
    );

    // No values and empty values are the same fact.
    let Event::Fact(mut empty) = event else {
        unreachable!("it is a fact")
    };
    empty.values = Some([].into());
    let bytes = avro::encode_event(1, &Event::Fact(empty.clone())).expect("it encodes");
    empty.values = None;
    assert_eq!(decode(EventKind::Fact, &bytes), Ok(Event::Fact(empty)));
}

proptest! {
    #[test]
    fn any_bytes_become_an_event_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for kind in EventKind::ALL {
            let _ = decode(kind, &[&[0, 0, 0, 0, 1], &bytes[..]].concat());
            let _ = decode(kind, &bytes);
        }
    }

    #[test]
    fn any_text_at_the_door_becomes_an_event_or_an_error(text in ".*") {
        for kind in EventKind::ALL {
            let _ = Event::from_json(kind, &text);
        }
    }
}
