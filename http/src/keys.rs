//! API keys at a door.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use redline_store::keys::{PresentedKey, StoredKey};

use crate::asked::{Asked, Keep};
use crate::problem::{Kind, Problem};

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

/// Where keys are recorded.
pub trait FindKey {
    /// The key of an id unless it is revoked, or why the keys cannot be asked.
    fn find_key(&self, key_id: &str) -> impl Future<Output = Result<Option<StoredKey>, String>> + Send;
}

/// Keys that were looked up, found or not, so that a flood of requests is no flood of lookups.
#[derive(Default)]
pub struct Keys {
    lookups: Mutex<HashMap<String, (Instant, Arc<Lookup>)>>,
}

impl Keys {
    /// The key that a request presents, when it has the scope that opens the door.
    ///
    /// # Errors
    /// A problem of the kinds unauthorized, forbidden or away.
    pub async fn open(
        &self,
        recorded: &impl FindKey,
        headers: &HeaderMap,
        scope: &str,
    ) -> Result<Arc<StoredKey>, Box<Problem>> {
        let wrong = || {
            let detail = "the API key is not known; send `Authorization: Bearer rl_…` with a key of `redline key create`";
            Problem::new(Kind::Unauthorized, detail)
        };
        let text = bearer(headers)?;
        let presented = PresentedKey::parse(text).ok_or_else(wrong)?;
        let key = self.look_up(recorded, presented.key_id()).await?;
        let key = key.filter(|key| key.is_opened_by(&presented)).ok_or_else(wrong)?;
        if !key.has_scope(scope) {
            let detail = format!("the API key has not the scope `{scope}`, which opens this door");
            return Err(Problem::new(Kind::Forbidden, detail));
        }
        Ok(key)
    }

    async fn look_up(
        &self,
        recorded: &impl FindKey,
        key_id: &str,
    ) -> Result<Option<Arc<StoredKey>>, Box<Problem>> {
        let lookup = self.lookup(key_id);
        let found = lookup
            .get(ASKED, async {
                let found = recorded.find_key(key_id).await?;
                Ok(found.map(Arc::new))
            })
            .await;
        found.map_err(|reason: String| {
            tracing::warn!("API keys cannot be looked up: {reason}");
            Problem::new(Kind::Away, "the database in which API keys are looked up is away")
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
