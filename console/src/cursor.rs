//! Cursors: where the next page begins. To whoever carries one it is a text without meaning.
//!
//! A cursor names the question that it belongs to, so that it never goes on in the middle of another one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redline_http::{Kind, Problem};
use redline_schemas::{ContentHash, Timestamp};
use redline_store::read::changes::ChangePlace;
use redline_store::read::flags::FlagPlace;
use redline_store::read::history::VersionPlace;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Bytes of a cursor, at most: its ids are bounded.
const MAX_CURSOR: usize = 8 * 1024;

/// What a page is a page of: the list and its filters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Question(String);

impl Question {
    /// A question from the parts that tell it from any other.
    pub(crate) fn new(parts: &impl Serialize) -> Self {
        let text = serde_json::to_string(parts).unwrap_or_default();
        let mut digest = ContentHash::of(text.as_bytes()).to_string();
        digest.truncate(16);
        Self(digest)
    }

    /// The cursor that goes on behind a place.
    pub(crate) fn cursor<P: Place>(&self, place: &P) -> String {
        let text = serde_json::to_string(&(&self.0, place.to_parts())).unwrap_or_default();
        URL_SAFE_NO_PAD.encode(text)
    }

    /// The place behind which a cursor goes on.
    pub(crate) fn place<P: Place>(&self, cursor: Option<&str>) -> Result<Option<P>, Box<Problem>> {
        let Some(cursor) = cursor else {
            return Ok(None);
        };
        let foreign = |what: &str| {
            let detail =
                format!("`after` {what}; the `next` of an answer to the same path and filters is expected");
            Problem::new(Kind::BadParameter, detail).with("parameter", &"after")
        };
        let (question, parts) = read::<P>(cursor).ok_or_else(|| foreign("is no cursor"))?;
        if question != self.0 {
            return Err(foreign("belongs to other filters"));
        }
        let place = P::from_parts(parts).ok_or_else(|| foreign("is no cursor"))?;
        Ok(Some(place))
    }
}

fn read<P: Place>(cursor: &str) -> Option<(String, P::Parts)> {
    if cursor.len() > MAX_CURSOR {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// A place in an order, which can be written down.
pub(crate) trait Place: Sized {
    /// How it is written.
    type Parts: Serialize + DeserializeOwned;

    fn to_parts(&self) -> Self::Parts;

    /// None when nothing that is recorded could stand there.
    fn from_parts(parts: Self::Parts) -> Option<Self>;
}

fn time(micros: i64) -> Option<Timestamp> {
    Some(Timestamp::from_micros(micros)).filter(|time| time.is_in_range())
}

fn text(text: String) -> Option<String> {
    Some(text).filter(|text| !text.contains('\0'))
}

impl Place for FlagPlace {
    type Parts = (Option<i64>, String);

    fn to_parts(&self) -> Self::Parts {
        (self.modified_at.map(Timestamp::micros), self.flag_id.clone())
    }

    fn from_parts((modified_at, flag_id): Self::Parts) -> Option<Self> {
        let modified_at = match modified_at {
            Some(micros) => Some(time(micros)?),
            None => None,
        };
        Some(Self {
            modified_at,
            flag_id: text(flag_id)?,
        })
    }
}

/// Names of its own, so that a changed order of fields is no other place.
#[derive(Serialize, Deserialize)]
pub(crate) struct ChangeParts {
    at: i64,
    id: String,
    version: i64,
    column: String,
    source: String,
    entity_type: String,
}

impl Place for ChangePlace {
    type Parts = ChangeParts;

    fn to_parts(&self) -> Self::Parts {
        ChangeParts {
            at: self.modified_at.micros(),
            id: self.entity_id.clone(),
            version: self.version,
            column: self.column_name.clone(),
            source: self.source.clone(),
            entity_type: self.entity_type.clone(),
        }
    }

    fn from_parts(parts: Self::Parts) -> Option<Self> {
        Some(Self {
            modified_at: time(parts.at)?,
            entity_id: text(parts.id)?,
            version: parts.version,
            column_name: text(parts.column)?,
            source: text(parts.source)?,
            entity_type: text(parts.entity_type)?,
        })
    }
}

impl Place for VersionPlace {
    type Parts = (i64, [u8; 32]);

    fn to_parts(&self) -> Self::Parts {
        (self.version, self.hash.0)
    }

    fn from_parts((version, hash): Self::Parts) -> Option<Self> {
        Some(Self {
            version,
            hash: ContentHash(hash),
        })
    }
}

/// A revision of a flag.
impl Place for i64 {
    type Parts = Self;

    fn to_parts(&self) -> Self::Parts {
        *self
    }

    fn from_parts(parts: Self::Parts) -> Option<Self> {
        Some(parts)
    }
}
