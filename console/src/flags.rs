//! `GET /v1/flags` and `/v1/flags/{flag_id}`.

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use redline_http::{Caller, Kind, Problem};
use redline_store::read::flags::{self, FlagFilter, FlagPlace};
use redline_store::{StoreError, read};

use crate::cursor::Question;
use crate::page::{Page, answer};
use crate::parameters::Parameters;
use crate::reader::Reader;
use crate::shown;

const FILTERS: [&str; 9] = [
    "kind",
    "risk",
    "status",
    "source",
    "entity_id",
    "from",
    "to",
    "limit",
    "after",
];
pub(crate) const RISKS: [&str; 3] = ["LOW", "MEDIUM", "HIGH"];
const STATUSES: [&str; 2] = ["standing", "withdrawn"];

/// `GET /v1/flags`: standing and withdrawn ones, unless `status` says which.
pub(crate) async fn list(
    State(reader): State<Arc<Reader>>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, Box<Problem>> {
    let access = reader.access(&caller).await?;
    let parameters = Parameters::read(uri.query(), &FILTERS)?;
    let filter = FlagFilter {
        source: parameters.id("source")?,
        entity_id: parameters.id("entity_id")?,
        kind: parameters.word("kind")?,
        risk: parameters.one_of("risk", &RISKS)?,
        status: parameters.one_of("status", &STATUSES)?,
        from: parameters.time("from")?,
        to: parameters.time("to")?,
    };
    let filter = FlagFilter {
        source: access.narrow(filter.source.clone())?,
        ..filter
    };
    let limit = parameters.limit()?;
    let question = question(&filter);
    let after: Option<FlagPlace> = question.place(parameters.after())?;
    let page = reader.within(async {
        let mut transaction = reader.transaction().await?;
        let mut page = Page::new(limit, reader.bytes);
        let asked = Page::<FlagPlace>::asked(limit);
        flags::page(&mut transaction, &filter, after.as_ref(), asked, |flag| {
            let place = flag.place();
            page.offer(&shown::flag(flag), place)
        })
        .await?;
        Ok(page)
    });
    Ok(page.await?.answer(&question))
}

fn question(filter: &FlagFilter) -> Question {
    let FlagFilter {
        source,
        entity_id,
        kind,
        risk,
        status,
        from,
        to,
    } = filter;
    Question::new(&("flags", source, entity_id, kind, risk, status, from, to))
}

/// `GET /v1/flags/{flag_id}`: the flag and its revisions, newest first.
pub(crate) async fn one(
    State(reader): State<Arc<Reader>>,
    caller: Caller,
    uri: Uri,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Box<Problem>> {
    let access = reader.access(&caller).await?;
    let parameters = Parameters::read(uri.query(), &["limit", "after"])?;
    let limit = parameters.limit()?;
    let none = || {
        let detail = "there is no flag of this id that the API key may see";
        Problem::new(Kind::NotFound, detail)
    };
    let flag_id = path.ok().map(|Path(flag_id)| flag_id).filter(|id| is_flag_id(id));
    let flag_id = flag_id.ok_or_else(none)?;
    let question = Question::new(&("revisions", &flag_id));
    let before: Option<i64> = question.place(parameters.after())?;
    let found = reader.within(async {
        let mut transaction = reader.transaction().await?;
        let Some(flag) = flags::one(&mut transaction, &flag_id, access.source()).await? else {
            return Ok(None);
        };
        let flag = shown::flag(flag);
        let mut page = Page::new(limit, reader.bytes.saturating_sub(flag.len()));
        let asked = Page::<i64>::asked(limit);
        let mut damaged = None;
        read::flags::revisions(
            &mut transaction,
            &flag_id,
            before,
            asked,
            |revision| match shown::revision(&revision) {
                Some(item) => page.offer(&item, revision.revision),
                None => {
                    damaged = Some(revision.revision);
                    ControlFlow::Break(())
                }
            },
        )
        .await?;
        match damaged {
            Some(revision) => Err(StoreError::Damaged {
                what: format!("revision {revision} of flag {flag_id}"),
                reason: "it is no flag".to_owned(),
            }),
            None => Ok(Some((flag, page))),
        }
    });
    let (mut flag, page) = found.await?.ok_or_else(none)?;
    flag.truncate(flag.len().saturating_sub(1));
    Ok(answer(format!(
        "{flag},{}}}",
        page.members("revisions", &question)
    )))
}

fn is_flag_id(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
