use std::io::Write as _;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use redline_schemas::topics::Topics;

use super::*;
use crate::stand_in::{Kafka, Registry};

const SETTINGS: &str = r#"{
    "fields": {"row_id": "Row", "version": "Version", "modified_by": "By"},
    "constants": {"observed_at": "2026-03-02T10:00:00Z"},
    "columns": {"Price": {"type": "amount"}, "Note": {}}
}"#;

/// A file of this test process that goes with it.
struct TestFile(PathBuf);

impl TestFile {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("redline-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn collect_into(
    kafka: &Kafka,
    name: &str,
    bytes: &[u8],
    settings: &str,
) -> Result<Summary, CollectError> {
    let file = TestFile::new(name, bytes);
    let settings: CollectSettings = serde_json::from_str(settings).unwrap();
    let encoder = Encoder::new(Registry::with_id(1), Topics::default());
    collect(&file.0, "billing", &settings, kafka, &encoder, |_| ()).await
}

fn shown(summary: &Summary) -> String {
    serde_json::to_string_pretty(summary).unwrap()
}

#[tokio::test]
async fn a_csv_file_is_collected_with_quotes_line_breaks_and_byte_order_mark() {
    let kafka = Kafka::default();
    let text = "\u{feff}\"Row\",Version,By,Price,Note\r\n\
                R1,1,ann,10.50,\"two\nlines, \"\"quoted\"\"\"\r\n\
                \r\n\
                R2,x,ann,1,\r\n\
                R3,3,,N/A,é\r\n\
                R4,4\r\n\
                R5,5,bob,2,last";
    let summary = collect_into(&kafka, "quotes.csv", text.as_bytes(), SETTINGS)
        .await
        .unwrap();
    insta::assert_snapshot!(shown(&summary));
    assert_eq!(kafka.keys(), ["billing/R1", "billing/R3", "billing/R5"]);
}

#[tokio::test]
async fn a_line_in_latin_1_is_named() {
    let kafka = Kafka::default();
    let text = b"Row,Version,By,Price,Note\nR1,1,,1,caf\xe9\nR2,1,,1,cafe\n";
    let summary = collect_into(&kafka, "latin.csv", text, SETTINGS).await.unwrap();
    assert_eq!(
        (summary.accepted, summary.refused, summary.errors[0].line),
        (1, 1, 2)
    );
    assert!(summary.errors[0].reason.contains("UTF-8"));
}

#[tokio::test]
async fn a_quote_that_is_never_closed_loses_no_line_in_silence() {
    let kafka = Kafka::default();
    let text = b"Row,Version,By,Price,Note\nR1,1,,1,a\nR2,1,,1,\"b\nR3,1,,1,c\n";
    let summary = collect_into(&kafka, "open.csv", text, SETTINGS).await.unwrap();
    assert_eq!(
        (summary.accepted, summary.refused, summary.errors[0].line),
        (1, 1, 3)
    );
    assert!(summary.errors[0].reason.contains("never closed"));

    let endless = [text.as_slice(), &vec![b'x'; 3 << 20]].concat();
    let error = collect_into(&kafka, "endless.csv", &endless, SETTINGS)
        .await
        .unwrap_err();
    let CollectError::Read { line, summary, .. } = error else {
        panic!("{error}");
    };
    assert_eq!((line, summary.accepted), (3, 1));
}

#[tokio::test]
async fn a_header_that_does_not_fit_is_refused_before_the_first_row() {
    let kafka = Kafka::default();
    for (name, text) in [
        ("missing.csv", b"Row,Version,By,Note\nR1,1,,x\n".as_slice()),
        ("doubled.csv", b"Row,Version,By,Price,Note,Row\nR1,1,,1,x,R2\n"),
        (
            "latin-header.csv",
            b"Row,Version,By,Price,Note,caf\xe9\nR1,1,,1,x,y\n",
        ),
        ("empty.csv", b"\n\n"),
    ] {
        let error = collect_into(&kafka, name, text, SETTINGS).await.unwrap_err();
        assert!(matches!(error, CollectError::Settings(_)), "{name}: {error}");
    }
    assert_eq!(kafka.sent(), 0);
}

#[tokio::test]
async fn ndjson_may_leave_out_the_source_and_may_name_no_other() {
    let kafka = Kafka::default();
    let row = |start: &str, id: &str| {
        format!(
            r#"{{{start}"row_id":"{id}","version":1,"op":"update","observed_at":"2026-03-02T10:00:00Z"}}"#
        )
    };
    let text = [
        row("", "1"),
        row(r#" "source":"billing","#, "2"),
        row(r#""source":"outages","#, "3"),
        row(r#""source":null,"#, "4"),
        "{}".to_owned(),
        "[".repeat(100_000),
        String::new(),
        row("", "8"),
    ]
    .join("\n");
    let summary = collect_into(&kafka, "rows.ndjson", text.as_bytes(), "{}")
        .await
        .unwrap();
    insta::assert_snapshot!(shown(&summary));
    assert_eq!(kafka.keys(), ["billing/1", "billing/2", "billing/8"]);
}

fn csv(rows: u32) -> String {
    let rows = (1..=rows).map(|row| format!("R{row},1,,1,x\n"));
    std::iter::once("Row,Version,By,Price,Note\n".to_owned())
        .chain(rows)
        .collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn gzip_is_read_on_the_way_and_a_damaged_end_is_named() {
    let kafka = Kafka::default();
    let text = csv(20_000);
    let (head, tail) = text.as_bytes().split_at(1_000);
    let members = [gzip(head), gzip(tail)].concat();
    let summary = collect_into(&kafka, "rows.csv.gz", &members, SETTINGS)
        .await
        .unwrap();
    assert_eq!((summary.lines, summary.accepted), (20_001, 20_000));

    let cut = &members[..members.len() - 9];
    let error = collect_into(&kafka, "cut.csv.gz", cut, SETTINGS)
        .await
        .unwrap_err();
    let CollectError::Read { line, summary, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(
        summary.accepted + 2,
        line,
        "the header and every row before the line are in"
    );
}

#[tokio::test]
async fn an_outage_of_kafka_loses_no_row() {
    let kafka = Kafka::failing(100, 108);
    let summary = collect_into(&kafka, "outage.csv", csv(500).as_bytes(), SETTINGS)
        .await
        .unwrap();
    assert_eq!(summary.accepted, 500);
    let mut keys = kafka.keys();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 500);
}

#[tokio::test]
async fn when_kafka_stays_away_the_line_to_go_on_from_is_named() {
    let kafka = Kafka::failing(100, 100_000);
    let error = collect_into(&kafka, "away.csv", csv(500).as_bytes(), SETTINGS)
        .await
        .unwrap_err();
    let CollectError::Kafka { line, summary, .. } = error else {
        panic!("{error}");
    };
    assert_eq!((line, summary.accepted), (102, 100));
}

#[tokio::test]
async fn a_format_that_cannot_be_told_is_asked_for() {
    let kafka = Kafka::default();
    let error = collect_into(&kafka, "rows.txt", b"", "{}").await.unwrap_err();
    assert!(error.to_string().contains("[collect.billing] format"), "{error}");
    let settings = SETTINGS.replacen('{', r#"{"format":"csv","delimiter":";","#, 1);
    let text = b"Row;Version;By;Price;Note\nR1;1;;1;a,b\n";
    let summary = collect_into(&kafka, "rows2.txt", text, &settings).await.unwrap();
    assert_eq!(summary.accepted, 1);
    let tabs = b"Row\tVersion\tBy\tPrice\tNote\nR1\t1\t\t1\ta,b\n";
    assert_eq!(
        collect_into(&kafka, "rows.tsv", tabs, SETTINGS)
            .await
            .unwrap()
            .accepted,
        1
    );
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named() {
    let encoder = Encoder::new(Registry::with_id(1), Topics::default());
    let path = Path::new("/nowhere/rows.csv");
    let settings = CollectSettings::default();
    let error = collect(path, "billing", &settings, &Kafka::default(), &encoder, |_| ()).await;
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/rows.csv cannot be opened"), "{error}");
}

#[tokio::test]
async fn no_row_is_lost_at_a_carriage_return_outside_of_quotes() {
    let kafka = Kafka::default();
    let text =
        "Row,Version,By,Price,Note\nR1,1,ann,1,\"in\rquotes\"\nR2,2,ann,1,\rR3,3,ann,1,\nR4,4,ann,1,\n";
    let summary = collect_into(&kafka, "carriage.csv", text.as_bytes(), SETTINGS)
        .await
        .unwrap();
    assert_eq!((summary.accepted, summary.refused), (2, 1));
    assert_eq!(summary.errors[0].line, 3);
    assert!(summary.errors[0].reason.contains("carriage return"));

    let old = "Row,Version,By,Price,Note\rR1,1,ann,1,\rR2,2,ann,1,\r";
    let refused = collect_into(&kafka, "old.csv", old.as_bytes(), SETTINGS).await;
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("the header holds a carriage return")
    );
}
