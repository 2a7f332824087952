//! Parameters, cursors and pages, without a database.

use std::ops::ControlFlow;

use axum::body::to_bytes;
use axum::response::IntoResponse;
use redline_http::Problem;
use redline_schemas::{ContentHash, Timestamp};
use redline_store::read::changes::ChangePlace;
use redline_store::read::flags::FlagPlace;
use redline_store::read::history::VersionPlace;

use crate::cursor::Question;
use crate::page::Page;
use crate::parameters::Parameters;

const KNOWN: [&str; 8] = [
    "kind",
    "risk",
    "source",
    "entity_id",
    "authorised",
    "from",
    "limit",
    "after",
];

async fn said(problem: Box<Problem>) -> String {
    let response = problem.into_response();
    let status = response.status();
    let body = to_bytes(response.into_body(), 10_000).await.unwrap();
    format!("{status}\n{}", String::from_utf8(body.to_vec()).unwrap())
}

/// What a query is refused with.
fn refused(query: &str) -> Option<Box<Problem>> {
    let read = || -> Result<(), Box<Problem>> {
        let parameters = Parameters::read(Some(query), &KNOWN)?;
        parameters.word("kind")?;
        parameters.one_of("risk", &["LOW", "HIGH"])?;
        parameters.id("source")?;
        parameters.id("entity_id")?;
        parameters.boolean("authorised")?;
        parameters.time("from")?;
        parameters.limit()?;
        let question = Question::new(&"all");
        question.place::<FlagPlace>(parameters.after())?;
        Ok(())
    };
    read().err()
}

#[tokio::test]
async fn what_cannot_be_used_is_named_with_what_is_expected() {
    let long = format!("entity_id={}", "x".repeat(201));
    let mut lines = Vec::new();
    for query in [
        "colour=red",
        "%FF=1",
        "kind=Late%20Row",
        "kind=",
        "risk=high",
        "source=%00",
        "source=%FF",
        &long,
        "authorised=1",
        "from=2026-03-02",
        "from=2026-03-02T10:00:00+01:00",
        "limit=0",
        "limit=1001",
        "limit=+5",
        "limit",
        "kind=late_row&kind=late_row",
        "after=",
        "after=somewhere",
        "after=bnVsbA",
    ] {
        let problem = refused(query).unwrap_or_else(|| panic!("{query} is taken"));
        let shown = if query.len() > 100 {
            "entity_id=xxx…"
        } else {
            query
        };
        lines.push(format!("{shown}\n{}", said(problem).await));
    }
    insta::assert_snapshot!(lines.join("\n\n"));
}

#[test]
fn parameters_are_read_as_a_form_writes_them() {
    for query in [
        "",
        "&",
        "limit=1000&risk=HIGH",
        "kind=some_kind_to_come",
        "source=a+b&entity_id=R%2F1%25%C3%A9",
        "from=2026-03-02T10:00:00%2B01:00&authorised=false",
    ] {
        assert!(refused(query).is_none(), "{query}");
    }
    let parameters = Parameters::read(Some("source=a+b&entity_id=R%2F1%25%C3%A9"), &KNOWN).unwrap();
    assert_eq!(parameters.id("source").unwrap().as_deref(), Some("a b"));
    assert_eq!(parameters.id("entity_id").unwrap().as_deref(), Some("R/1%é"));
    assert_eq!(parameters.limit().unwrap(), 100);
}

#[test]
fn a_cursor_leads_back_to_its_place() {
    let question = Question::new(&("flags", Some("billing")));
    let time = Timestamp::parse("2026-03-02T09:58:11.000001Z").unwrap();
    for modified_at in [Some(time), None] {
        let place = FlagPlace {
            modified_at,
            flag_id: "ab".to_owned(),
        };
        let cursor = question.cursor(&place);
        assert!(
            cursor
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'),
            "it needs no encoding in an address: {cursor}"
        );
        assert_eq!(question.place(Some(&cursor)).unwrap(), Some(place));
    }
    let place = ChangePlace {
        modified_at: time,
        entity_id: "R/1 \u{1F600}\"".to_owned(),
        version: 7,
        column_name: "Total".to_owned(),
        source: "billing".to_owned(),
        entity_type: "row".to_owned(),
    };
    assert_eq!(
        question.place(Some(&question.cursor(&place))).unwrap(),
        Some(place)
    );
    let place = VersionPlace {
        version: i64::MAX,
        hash: ContentHash::of(b"content"),
    };
    assert_eq!(
        question.place(Some(&question.cursor(&place))).unwrap(),
        Some(place)
    );
    assert_eq!(question.place::<i64>(None).unwrap(), None);
}

#[tokio::test]
async fn a_cursor_belongs_to_its_filters() {
    let place = FlagPlace {
        modified_at: None,
        flag_id: "ab".to_owned(),
    };
    let cursor = Question::new(&("flags", Some("billing"))).cursor(&place);
    let other = Question::new(&("flags", Some("outages")));
    let problem = other.place::<FlagPlace>(Some(&cursor)).unwrap_err();
    insta::assert_snapshot!(said(problem).await);
}

/// A cursor is not signed: whoever makes one up must not reach more than an empty or a wrong page.
#[test]
fn a_made_up_place_that_nothing_could_have_is_no_cursor() {
    let question = Question::new(&"flags");
    let beyond = FlagPlace {
        modified_at: Some(Timestamp::from_micros(i64::MIN)),
        flag_id: "ab".to_owned(),
    };
    let not_text = FlagPlace {
        modified_at: None,
        flag_id: "a\0b".to_owned(),
    };
    for place in [beyond, not_text] {
        let cursor = question.cursor(&place);
        assert!(question.place::<FlagPlace>(Some(&cursor)).is_err());
        assert!(question.place::<VersionPlace>(Some(&cursor)).is_err());
    }
    assert!(question.place::<FlagPlace>(Some(&"A".repeat(9_000))).is_err());
}

async fn body(page: &Page<i64>, question: &Question) -> serde_json::Value {
    let response = page.answer(question);
    let body = to_bytes(response.into_body(), 10_000).await.unwrap();
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn a_page_ends_with_its_number_or_its_bytes_and_has_a_next_one_only_if_there_is_more() {
    let question = Question::new(&"numbers");
    let empty = body(&Page::new(10, 100), &question).await;
    assert_eq!(empty, serde_json::json!({"items": [], "next": null}));

    let mut whole = Page::new(2, 100);
    for number in 1..=2 {
        assert_eq!(
            whole.offer(&number.to_string(), number),
            ControlFlow::Continue(())
        );
    }
    assert_eq!(
        body(&whole, &question).await,
        serde_json::json!({"items": [1, 2], "next": null})
    );
    assert_eq!(whole.offer("3", 3), ControlFlow::Break(()));
    let next = body(&whole, &question).await["next"].as_str().unwrap().to_owned();
    assert_eq!(question.place::<i64>(Some(&next)).unwrap(), Some(2));

    let mut large = Page::new(10, 4);
    assert_eq!(
        large.offer("1234567", 1),
        ControlFlow::Continue(()),
        "one item goes in whatever its size"
    );
    assert_eq!(large.offer("8", 8), ControlFlow::Break(()));
}
