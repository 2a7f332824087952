//! A page: items until they are enough in number or in bytes, and where the next ones begin.

use std::ops::ControlFlow;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::cursor::{Place, Question};

/// A page that is being filled.
#[derive(Debug)]
pub(crate) struct Page<P> {
    items: String,
    count: usize,
    limit: usize,
    bytes: usize,
    last: Option<P>,
    more: bool,
}

impl<P: Place> Page<P> {
    /// An empty page of at most so many items, and about so many bytes: one item is taken in, whatever its size.
    pub(crate) fn new(limit: usize, bytes: usize) -> Self {
        Self {
            items: String::new(),
            count: 0,
            limit,
            bytes,
            last: None,
            more: false,
        }
    }

    /// How many rows to ask for: one more than are shown tells whether there is a next page.
    pub(crate) fn asked(limit: usize) -> i64 {
        i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
    }

    /// Takes an item in, or says that it is for the next page.
    pub(crate) fn offer(&mut self, item: &str, place: P) -> ControlFlow<()> {
        let is_full = self.count >= self.limit || self.items.len() + item.len() > self.bytes;
        if self.count > 0 && is_full {
            self.more = true;
            return ControlFlow::Break(());
        }
        if self.count > 0 {
            self.items.push(',');
        }
        self.items.push_str(item);
        self.count += 1;
        self.last = Some(place);
        ControlFlow::Continue(())
    }

    /// Says that there is more behind what was offered.
    pub(crate) fn go_on(&mut self) {
        self.more = true;
    }

    /// The members of the answer: the items under a name, and `next`.
    pub(crate) fn members(&self, name: &str, question: &Question) -> String {
        let next = match &self.last {
            Some(place) if self.more => json(&question.cursor(place)),
            _ => "null".to_owned(),
        };
        format!(r#""{name}":[{}],"next":{next}"#, self.items)
    }

    /// The answer.
    pub(crate) fn answer(&self, question: &Question) -> Response {
        answer(format!("{{{}}}", self.members("items", question)))
    }
}

/// A value as JSON.
pub(crate) fn json(value: &impl Serialize) -> String {
    // Values without maps of foreign keys can always be written.
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

/// 200 with a JSON body, which nobody between may keep: it is for this key only.
pub(crate) fn answer(body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, body).into_response()
}
