//! API keys at the door for events.

use std::sync::Arc;

use redline_http::keys::FindKey;
use redline_http::{Caller, Keys};
use redline_schemas::{Event, EventKind, FieldError};
use redline_store::keys::StoredKey;

use super::outside::Outside;
use super::problem::{Kind, Problem, Told as _};
use super::taken::Taken;
use crate::window::Tally;

/// Where the door's keys are recorded.
struct Recorded<'a, O>(&'a O);

impl<O: Outside> FindKey for Recorded<'_, O> {
    fn find_key(&self, key_id: &str) -> impl Future<Output = Result<Option<StoredKey>, String>> + Send {
        self.0.find_key(key_id)
    }
}

/// The key that a request presents, when it opens the door for what is taken there.
pub(crate) async fn open(
    keys: &Keys,
    outside: &impl Outside,
    caller: &Caller,
    taken: Taken,
) -> Result<Arc<StoredKey>, Box<Problem>> {
    let key = keys.open(&Recorded(outside), caller, taken.scope()).await;
    let key = key.map_err(|problem| match problem.kind() {
        Kind::Away => problem.with_resume_line(Tally::default(), 1),
        _ => problem,
    })?;
    match &key.source {
        Some(source) if !taken.has_source() => {
            let detail = format!(
                "the API key is for the source `{source}` only, and {}s have no source",
                taken.name()
            );
            Err(Problem::new(Kind::Forbidden, detail))
        }
        _ => Ok(key),
    }
}

/// Whether a key may speak for the source of an event, or for the one that a fact is about.
pub(crate) fn speaks_for(key: &StoredKey, event: &Event) -> Result<(), FieldError> {
    let source = match event {
        Event::Fact(fact) => fact.source.as_deref().unwrap_or_default(),
        event => event.source(),
    };
    match &key.source {
        Some(only) if only != source => {
            let field = match event.kind() {
                EventKind::Payout => "system",
                EventKind::Row | EventKind::Order | EventKind::Fact => "source",
            };
            Err(FieldError::new(
                field,
                format!("is not `{only}`, the only one that this API key may send for"),
            ))
        }
        _ => Ok(()),
    }
}
