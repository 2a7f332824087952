//! `GET /v1/changes`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use redline_http::{Caller, Problem};
use redline_store::read::changes::{self, ChangeFilter, ChangePlace};

use crate::cursor::Question;
use crate::flags::RISKS;
use crate::page::Page;
use crate::parameters::Parameters;
use crate::reader::Reader;
use crate::shown;

const FILTERS: [&str; 8] = [
    "risk",
    "source",
    "entity_id",
    "authorised",
    "from",
    "to",
    "limit",
    "after",
];

/// `GET /v1/changes`
pub(crate) async fn list(
    State(reader): State<Arc<Reader>>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, Box<Problem>> {
    let access = reader.access(&caller).await?;
    let parameters = Parameters::read(uri.query(), &FILTERS)?;
    let filter = ChangeFilter {
        source: access.narrow(parameters.id("source")?)?,
        entity_id: parameters.id("entity_id")?,
        risk: parameters.one_of("risk", &RISKS)?,
        authorised: parameters.boolean("authorised")?,
        from: parameters.time("from")?,
        to: parameters.time("to")?,
    };
    let limit = parameters.limit()?;
    let question = question(&filter);
    let after: Option<ChangePlace> = question.place(parameters.after())?;
    let page = reader.within(async {
        let mut transaction = reader.transaction().await?;
        let mut page = Page::new(limit, reader.bytes);
        let asked = Page::<ChangePlace>::asked(limit);
        changes::page(&mut transaction, &filter, after.as_ref(), asked, |change| {
            page.offer(&shown::change(&change), change.place)
        })
        .await?;
        Ok(page)
    });
    Ok(page.await?.answer(&question))
}

fn question(filter: &ChangeFilter) -> Question {
    let ChangeFilter {
        source,
        entity_id,
        risk,
        authorised,
        from,
        to,
    } = filter;
    Question::new(&("changes", source, entity_id, risk, authorised, from, to))
}
