//! API keys at a door.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redline_store::keys::{PresentedKey, StoredKey};

use crate::asked::{Asked, Keep};
use crate::caller::Caller;
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
///
/// A flood of made-up keys is bounded by its address: whoever shows a key that is not known pays for the lookup before it
/// is made. A key that was found before is looked up again for nothing, so that those who share an address with a flood,
/// as all do behind one proxy, are not locked out by it.
#[derive(Default)]
pub struct Keys {
    lookups: Mutex<HashMap<String, Remembered>>,
}

struct Remembered {
    since: Instant,
    lookup: Arc<Lookup>,
    /// Whether the key was there when it was looked up last.
    is_there: bool,
}

/// A place in the memory, as a request finds it.
struct Place {
    lookup: Arc<Lookup>,
    /// Whether the request paid for the lookup.
    is_paid: bool,
}

impl Keys {
    /// The key that a request presents, when it has the scope that opens the door.
    ///
    /// # Errors
    /// A problem of the kinds unauthorized, forbidden, limited or away.
    pub async fn open(
        &self,
        recorded: &impl FindKey,
        caller: &Caller,
        scope: &str,
    ) -> Result<Arc<StoredKey>, Box<Problem>> {
        let text = caller.bearer.as_deref().ok_or_else(|| {
            let detail = "send `Authorization: Bearer rl_…` with a key of `redline key create`";
            Problem::new(Kind::Unauthorized, detail)
        })?;
        let wrong = || {
            let detail = "the API key is not known; send `Authorization: Bearer rl_…` with a key of `redline key create`";
            Problem::new(Kind::Unauthorized, detail)
        };
        let Some(presented) = PresentedKey::parse(text) else {
            caller.wrong_key()?;
            return Err(wrong());
        };
        let Place { lookup, is_paid } = self.place(presented.key_id(), caller)?;
        let key = look_up(&lookup, recorded, presented.key_id()).await?;
        self.remember(presented.key_id(), key.is_some());
        let Some(key) = key.filter(|key| key.is_opened_by(&presented)) else {
            if !is_paid {
                caller.wrong_key()?;
            }
            return Err(wrong());
        };
        caller.request(&key.name)?;
        if !key.has_scope(scope) {
            let detail = format!("the API key has not the scope `{scope}`, which opens this door");
            return Err(Problem::new(Kind::Forbidden, detail));
        }
        Ok(key)
    }

    /// The place of a key in the memory. Whoever makes a place for a key that was not there pays for its lookup.
    fn place(&self, key_id: &str, caller: &Caller) -> Result<Place, Box<Problem>> {
        let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        let remembered = lookups.get(key_id);
        let is_there = remembered.is_some_and(|remembered| remembered.is_there);
        if let Some(remembered) = remembered
            && remembered.since.elapsed() < REMEMBERED
        {
            let lookup = Arc::clone(&remembered.lookup);
            return Ok(Place {
                lookup,
                is_paid: false,
            });
        }
        if !is_there {
            caller.wrong_key()?;
        }
        if lookups.len() >= MAX_REMEMBERED {
            lookups.retain(|_, remembered| remembered.is_there || remembered.since.elapsed() < REMEMBERED);
        }
        if lookups.len() >= MAX_REMEMBERED {
            // Only a flood of made-up keys comes here; true keys are looked up once more.
            lookups.clear();
        }
        let lookup = Arc::new(Lookup::default());
        let remembered = Remembered {
            since: Instant::now(),
            lookup: Arc::clone(&lookup),
            is_there,
        };
        lookups.insert(key_id.to_owned(), remembered);
        Ok(Place {
            lookup,
            is_paid: !is_there,
        })
    }

    fn remember(&self, key_id: &str, is_there: bool) {
        let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(remembered) = lookups.get_mut(key_id) {
            remembered.is_there = is_there;
        }
    }
}

async fn look_up(
    lookup: &Lookup,
    recorded: &impl FindKey,
    key_id: &str,
) -> Result<Option<Arc<StoredKey>>, Box<Problem>> {
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
