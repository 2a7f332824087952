//! API keys at the door.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use redline_schemas::{Event, EventKind, FieldError};
use redline_store::keys::{PresentedKey, StoredKey};

use super::outside::Outside;
use super::problem::{Kind, Problem};
use super::taken::Taken;
use crate::asked::{Asked, Keep};
use crate::window::Tally;

/// How long a key is remembered, and that there is none; so a revoked key is closed within this time.
const REMEMBERED: Duration = Duration::from_secs(5);
/// How many keys are remembered.
const MAX_REMEMBERED: usize = 10_000;
/// An answer lives as long as its place in the memory.
const ASKED: Keep = Keep {
    answer: REMEMBERED,
    failure: Duration::from_secs(1),
    old_before_failure: false,
};

type Lookup = Asked<Option<Arc<StoredKey>>, String>;

/// Keys that were looked up, found or not, so that a flood of requests is no flood of lookups.
#[derive(Default)]
pub(crate) struct Keys {
    lookups: Mutex<HashMap<String, (Instant, Arc<Lookup>)>>,
}

impl Keys {
    /// The key that a request presents, when it opens the door for what is taken there.
    pub(crate) async fn open(
        &self,
        outside: &impl Outside,
        headers: &HeaderMap,
        taken: Taken,
    ) -> Result<Arc<StoredKey>, Box<Problem>> {
        let wrong = || {
            let detail = "the API key is not known; send `Authorization: Bearer rl_…` with a key of `redline key create`";
            Problem::new(Kind::Unauthorized, detail)
        };
        let text = bearer(headers)?;
        let presented = PresentedKey::parse(text).ok_or_else(wrong)?;
        let key = self.look_up(outside, presented.key_id()).await?;
        let key = key.filter(|key| key.is_opened_by(&presented)).ok_or_else(wrong)?;
        permit(&key, taken)?;
        Ok(key)
    }

    async fn look_up(
        &self,
        outside: &impl Outside,
        key_id: &str,
    ) -> Result<Option<Arc<StoredKey>>, Box<Problem>> {
        let lookup = self.lookup(key_id);
        let found = lookup
            .get(ASKED, async {
                let found = outside.find_key(key_id).await?;
                Ok(found.map(Arc::new))
            })
            .await;
        found.map_err(|reason: String| {
            tracing::warn!("API keys cannot be looked up: {reason}");
            Problem::new(Kind::Away, "the database in which API keys are looked up is away")
                .with_tally(Tally::default())
                .with_resume_line(1)
        })
    }

    /// The place of a key in the memory.
    fn lookup(&self, key_id: &str) -> Arc<Lookup> {
        let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, lookup)) = lookups.get(key_id)
            && since.elapsed() < REMEMBERED
        {
            return Arc::clone(lookup);
        }
        if lookups.len() >= MAX_REMEMBERED {
            lookups.retain(|_, (since, _)| since.elapsed() < REMEMBERED);
        }
        if lookups.len() >= MAX_REMEMBERED {
            // Only a flood of made-up keys comes here; true keys are looked up once more.
            lookups.clear();
        }
        let lookup = Arc::new(Lookup::default());
        lookups.insert(key_id.to_owned(), (Instant::now(), Arc::clone(&lookup)));
        lookup
    }
}

/// The text behind `Authorization: Bearer`.
fn bearer(headers: &HeaderMap) -> Result<&str, Box<Problem>> {
    let text = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, key)| key.trim());
    text.ok_or_else(|| {
        let detail = "send `Authorization: Bearer rl_…` with a key of `redline key create`";
        Problem::new(Kind::Unauthorized, detail)
    })
}

/// Whether a key opens the door for what is taken there at all.
fn permit(key: &StoredKey, taken: Taken) -> Result<(), Box<Problem>> {
    let scope = taken.scope();
    if !key.has_scope(scope) {
        let detail = format!("the API key has not the scope `{scope}`, which opens this door");
        return Err(Problem::new(Kind::Forbidden, detail));
    }
    match &key.source {
        Some(source) if !taken.has_source() => {
            let detail = format!(
                "the API key is for the source `{source}` only, and {}s have no source",
                taken.name()
            );
            Err(Problem::new(Kind::Forbidden, detail))
        }
        _ => Ok(()),
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
