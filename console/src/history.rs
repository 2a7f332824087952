//! `GET /v1/entities/{type}/{source}/{id}/history`.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use redline_http::{Caller, Kind, Problem};
use redline_schemas::ContentHash;
use redline_store::StoreError;
use redline_store::read::history::{self, RecordedVersion, VersionPlace};
use redline_store::sqlx::PgConnection;

use crate::cursor::Question;
use crate::page::Page;
use crate::parameters::{Parameters, is_id, wrong};
use crate::reader::Reader;
use crate::shown;

/// Types of entities that have a history: those that events are about.
const TYPES: [&str; 3] = ["row", "payout", "order"];

/// `GET /v1/entities/{type}/{source}/{id}/history`
pub(crate) async fn list(
    State(reader): State<Arc<Reader>>,
    caller: Caller,
    uri: Uri,
    path: Result<Path<(String, String, String)>, PathRejection>,
) -> Result<Response, Box<Problem>> {
    let access = reader.access(&caller).await?;
    let none = || Problem::new(Kind::NotFound, "there is no entity of this type, source and id");
    let Path((entity_type, source, entity_id)) = path.map_err(|_| none())?;
    if !TYPES.contains(&entity_type.as_str()) {
        return Err(wrong("type", &entity_type, "`row`, `payout` or `order`"));
    }
    let parameters = Parameters::read(uri.query(), &["limit", "after"])?;
    let limit = parameters.limit()?;
    let question = Question::new(&("history", &entity_type, &source, &entity_id));
    let after: Option<VersionPlace> = question.place(parameters.after())?;
    access.narrow(Some(source.clone()))?;
    if !is_id(&source) || !is_id(&entity_id) {
        return Err(none());
    }
    let found = reader.within(async {
        let mut transaction = reader.transaction().await?;
        let found = history::find(&mut transaction, &entity_type, &source, &entity_id).await?;
        match found {
            Some(entity) => {
                let page = fill(&mut transaction, entity, after, limit, reader.bytes).await?;
                Ok(Some(page))
            }
            None => Ok(None),
        }
    });
    let page = found.await?.ok_or_else(none)?;
    Ok(page.answer(&question))
}

/// Fills a page: the contents first, then what hangs on them; where the bytes end, so do the versions.
async fn fill(
    connection: &mut PgConnection,
    entity: i64,
    after: Option<VersionPlace>,
    limit: usize,
    bytes: usize,
) -> Result<Page<VersionPlace>, StoreError> {
    let mut contents = Contents::new(limit, bytes);
    let asked = Page::<VersionPlace>::asked(limit);
    history::page(connection, entity, after, asked, |version| contents.take(version)).await?;
    let mut page = Page::new(limit, bytes);
    let (Some(first), Some(last)) = (contents.versions.first(), contents.versions.last()) else {
        return Ok(page);
    };
    let range = (first.place.version, last.place.version);
    let standing = history::standing(connection, entity, &contents.several()).await?;
    let mut hanging = Hanging::new(first.place.version, bytes.saturating_sub(contents.used));
    history::changes(connection, entity, range, |change| {
        let version = change.place.version;
        hanging.take(version, shown::change(&change), |on| &mut on.changes)
    })
    .await?;
    history::flags(connection, entity, range, |flag| {
        let version = flag.flag.version;
        hanging.take(version, shown::flag(flag), |on| &mut on.flags)
    })
    .await?;
    if contents.more {
        page.go_on();
    }
    for version in contents.versions {
        let place = version.place;
        if hanging.cut.is_some_and(|cut| place.version >= cut) {
            page.go_on();
            break;
        }
        let stands = stands(&standing, place);
        let on = stands.then(|| hanging.of.remove(&place.version)).flatten();
        let On { changes, flags } = on.unwrap_or_default();
        if page
            .offer(&shown::version(version, stands, &changes, &flags), place)
            .is_break()
        {
            break;
        }
    }
    Ok(page)
}

fn stands(standing: &HashMap<i64, ContentHash>, place: VersionPlace) -> bool {
    standing
        .get(&place.version)
        .is_none_or(|hash| *hash == place.hash)
}

/// The contents of a page, until they are enough.
struct Contents {
    versions: Vec<RecordedVersion>,
    limit: usize,
    bytes: usize,
    used: usize,
    more: bool,
}

impl Contents {
    fn new(limit: usize, bytes: usize) -> Self {
        Self {
            versions: Vec::new(),
            limit,
            bytes,
            used: 0,
            more: false,
        }
    }

    fn take(&mut self, version: RecordedVersion) -> ControlFlow<()> {
        let bytes = version.content.as_ref().map_or(0, String::len);
        let is_full = self.versions.len() >= self.limit || self.used + bytes > self.bytes;
        if is_full && !self.versions.is_empty() {
            self.more = true;
            return ControlFlow::Break(());
        }
        self.used += bytes;
        self.versions.push(version);
        ControlFlow::Continue(())
    }

    /// The versions that have, or may have beyond this page, more than one content.
    fn several(&self) -> Vec<i64> {
        let versions: Vec<i64> = self.versions.iter().map(|one| one.place.version).collect();
        let ends = [versions.first(), versions.last()].into_iter().flatten().copied();
        let mut several: Vec<i64> = versions
            .windows(2)
            .filter_map(|pair| (pair[0] == pair[1]).then_some(pair[0]))
            .chain(ends)
            .collect();
        several.sort_unstable();
        several.dedup();
        several
    }
}

/// What hangs on one version, as JSON.
#[derive(Default)]
struct On {
    changes: Vec<String>,
    flags: Vec<String>,
}

/// What hangs on the versions of a page, until it is too much.
struct Hanging {
    of: BTreeMap<i64, On>,
    first: i64,
    left: usize,
    /// The first version that this page has no room for.
    cut: Option<i64>,
}

impl Hanging {
    fn new(first: i64, left: usize) -> Self {
        Self {
            of: BTreeMap::new(),
            first,
            left,
            cut: None,
        }
    }

    fn take(
        &mut self,
        version: i64,
        item: String,
        place: impl Fn(&mut On) -> &mut Vec<String>,
    ) -> ControlFlow<()> {
        if self.cut.is_some_and(|cut| version >= cut) {
            return ControlFlow::Break(());
        }
        if item.len() > self.left && version > self.first {
            self.cut = Some(version);
            return ControlFlow::Break(());
        }
        self.left = self.left.saturating_sub(item.len());
        place(self.of.entry(version).or_default()).push(item);
        ControlFlow::Continue(())
    }
}
