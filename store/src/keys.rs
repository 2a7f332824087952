//! API keys: `rl_<key id>_<secret>`. Only a hash of the secret is kept, so a key is shown once and never again.
//!
//! The secret is 32 random bytes, so a plain SHA-256 protects it; a slow hash is for passwords.

use std::fmt;

use redline_schemas::Timestamp;
use sha2::{Digest, Sha256};
use sqlx::{PgPool, Row};
use uuid::Uuid;

use crate::error::{is_unreachable, unusable, words};

/// What keys can open.
pub const SCOPES: [&str; 4] = ["rows", "facts", "approvals", "read"];
/// Bytes of a key's id, which is written in hexadecimal.
const ID_BYTES: usize = 6;
/// Bytes of a key's secret and of its hash.
const SECRET_BYTES: usize = 32;
/// Longest name of a key, in characters.
const MAX_NAME: usize = 200;

/// Why a key could not be made, listed, revoked or found.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Class: stop.
    #[error("`{0}` is no scope; there are rows, facts, approvals and read")]
    UnknownScope(String),
    /// Class: stop.
    #[error("a key needs at least one scope of rows, facts, approvals and read")]
    NoScope,
    /// Class: stop.
    #[error("a key's name has 1 to 200 characters and no control characters")]
    BadName,
    /// Class: stop.
    #[error("a source has 1 to 200 characters, no control characters and no `/`")]
    BadSource,
    /// Class: stop.
    #[error("there already is a key named `{0}`; a revoked key keeps its name")]
    NameTaken(String),
    /// Class: stop.
    #[error("there is no key named `{0}` that could be revoked")]
    NotFound(String),
    /// Class: try again.
    #[error("the keys cannot be read or written: {}", words(.0))]
    Database(#[from] sqlx::Error),
}

impl KeyError {
    /// Whether what was asked for could never be done, whatever is recorded.
    pub fn is_misuse(&self) -> bool {
        matches!(
            self,
            Self::UnknownScope(_) | Self::NoScope | Self::BadName | Self::BadSource
        )
    }

    /// Whether Postgres did not answer at all.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Database(error) if is_unreachable(error))
    }

    /// Whether no connection will come about before somebody acts; see [`crate::StoreError::is_unusable`].
    pub fn is_unusable(&self) -> bool {
        matches!(self, Self::Database(error) if unusable(error).is_some())
    }
}

/// A key's whole text. It prints as `(hidden)`; [`KeyText::reveal`] is for the one place that shows it.
pub struct KeyText(String);

impl KeyText {
    /// The text, to be shown once.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(hidden)")
    }
}

/// A key as someone presents it, of the right shape and not yet verified. It prints without its secret.
pub struct PresentedKey<'a> {
    key_id: &'a str,
    secret: &'a str,
}

impl<'a> PresentedKey<'a> {
    /// Reads `rl_<key id>_<secret>`; none when the text has another shape, so that nobody is asked about it.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (key_id, secret) = text.strip_prefix("rl_")?.split_once('_')?;
        let right = is_hexadecimal(key_id, ID_BYTES) && is_hexadecimal(secret, SECRET_BYTES);
        right.then_some(Self { key_id, secret })
    }

    /// The id, by which the key is looked up.
    pub fn key_id(&self) -> &'a str {
        self.key_id
    }
}

impl fmt::Debug for PresentedKey<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "rl_{}_(hidden)", self.key_id)
    }
}

fn is_hexadecimal(text: &str, bytes: usize) -> bool {
    text.len() == 2 * bytes
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// A key that is not revoked, as it is recorded.
#[derive(Clone)]
pub struct StoredKey {
    /// The key's name.
    pub name: String,
    /// What it opens.
    pub scopes: Vec<String>,
    /// The only source that it opens; none for all.
    pub source: Option<String>,
    secret_hash: Vec<u8>,
}

impl StoredKey {
    /// What is recorded of a key; doors in tests start from here too.
    pub fn new(key: &PresentedKey<'_>, name: &str, scopes: &[&str], source: Option<&str>) -> Self {
        Self {
            name: name.to_owned(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            source: source.map(str::to_owned),
            secret_hash: hash(key.secret).to_vec(),
        }
    }

    /// Whether the secret is right. Takes the same time wherever it is wrong.
    pub fn is_opened_by(&self, presented: &PresentedKey<'_>) -> bool {
        let hash = hash(presented.secret);
        let differing = hash.iter().zip(&self.secret_hash).fold(0, |all, (ours, theirs)| {
            std::hint::black_box(all | (ours ^ theirs))
        });
        self.secret_hash.len() == SECRET_BYTES && std::hint::black_box(differing) == 0
    }

    /// Whether the key has a scope.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.iter().any(|own| own == scope)
    }
}

/// A key in the list of all keys, revoked ones too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedKey {
    /// The public part of the key.
    pub key_id: String,
    /// The key's name.
    pub name: String,
    /// What it opens.
    pub scopes: Vec<String>,
    /// The only source that it opens; none for all.
    pub source: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked; none while it opens something.
    pub revoked_at: Option<Timestamp>,
}

/// Makes a key and records it; answers the text that is never to be had again.
///
/// # Errors
/// A name, scope or source that cannot be, a name that is taken, or a database that is away.
pub async fn create(
    pool: &PgPool,
    name: &str,
    scopes: &[String],
    source: Option<&str>,
) -> Result<KeyText, KeyError> {
    check(name, scopes, source)?;
    let fresh = FreshKey::new();
    let inserted = sqlx::query(
        "insert into redline.api_keys (key_id, name, secret_hash, scopes, source) values ($1, $2, $3, $4, $5)",
    )
    .bind(&fresh.key_id)
    .bind(name)
    .bind(fresh.secret_hash())
    .bind(scopes)
    .bind(source)
    .execute(pool)
    .await;
    match inserted {
        Ok(_) => Ok(fresh.text()),
        Err(error) if is_taken_name(&error) => Err(KeyError::NameTaken(name.to_owned())),
        Err(error) => Err(error.into()),
    }
}

fn is_taken_name(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

fn check(name: &str, scopes: &[String], source: Option<&str>) -> Result<(), KeyError> {
    let fits =
        |text: &str| (1..=MAX_NAME).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if !fits(name) {
        return Err(KeyError::BadName);
    }
    if source.is_some_and(|source| !fits(source) || source.contains('/')) {
        return Err(KeyError::BadSource);
    }
    match scopes.iter().find(|scope| !SCOPES.contains(&scope.as_str())) {
        Some(unknown) => Err(KeyError::UnknownScope(unknown.clone())),
        None if scopes.is_empty() => Err(KeyError::NoScope),
        None => Ok(()),
    }
}

/// All keys by name.
///
/// # Errors
/// When the database is away.
pub async fn list(pool: &PgPool) -> Result<Vec<ListedKey>, KeyError> {
    let rows = sqlx::query(
        "select key_id, name, scopes, source,
                (extract(epoch from created_at) * 1000000)::bigint as created_at,
                (extract(epoch from revoked_at) * 1000000)::bigint as revoked_at
         from redline.api_keys order by name",
    )
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(ListedKey {
                key_id: row.try_get("key_id")?,
                name: row.try_get("name")?,
                scopes: row.try_get("scopes")?,
                source: row.try_get("source")?,
                created_at: Timestamp::from_micros(row.try_get("created_at")?),
                revoked_at: row
                    .try_get::<Option<i64>, _>("revoked_at")?
                    .map(Timestamp::from_micros),
            })
        })
        .collect()
}

/// Revokes a key; it opens nothing any more within the time that doors remember keys (5 s).
///
/// # Errors
/// [`KeyError::NotFound`] when there is no such key, or it is revoked already.
pub async fn revoke(pool: &PgPool, name: &str) -> Result<(), KeyError> {
    let revoked =
        sqlx::query("update redline.api_keys set revoked_at = now() where name = $1 and revoked_at is null")
            .bind(name)
            .execute(pool)
            .await?;
    match revoked.rows_affected() {
        0 => Err(KeyError::NotFound(name.to_owned())),
        _ => Ok(()),
    }
}

/// The key of an id, unless it is revoked.
///
/// # Errors
/// When the database is away.
pub async fn find(pool: &PgPool, key_id: &str) -> Result<Option<StoredKey>, KeyError> {
    let row = sqlx::query(
        "select name, secret_hash, scopes, source from redline.api_keys
         where key_id = $1 and revoked_at is null",
    )
    .bind(key_id)
    .fetch_optional(pool)
    .await?;
    row.map(|row| {
        Ok(StoredKey {
            name: row.try_get("name")?,
            scopes: row.try_get("scopes")?,
            source: row.try_get("source")?,
            secret_hash: row.try_get("secret_hash")?,
        })
    })
    .transpose()
}

/// A key that nobody knows yet.
struct FreshKey {
    key_id: String,
    secret: String,
}

impl FreshKey {
    fn new() -> Self {
        Self {
            key_id: hexadecimal(&randomness()[..ID_BYTES]),
            secret: hexadecimal(&randomness()),
        }
    }

    fn secret_hash(&self) -> Vec<u8> {
        hash(&self.secret).to_vec()
    }

    fn text(&self) -> KeyText {
        KeyText(format!("rl_{}_{}", self.key_id, self.secret))
    }
}

/// 32 bytes from the operating system's randomness, of which each version 4 UUID carries 122 bits.
fn randomness() -> [u8; SECRET_BYTES] {
    let mut pool = Sha256::new();
    for _ in 0..4 {
        pool.update(Uuid::new_v4().as_bytes());
    }
    pool.finalize().into()
}

fn hash(secret: &str) -> [u8; SECRET_BYTES] {
    Sha256::digest(secret.as_bytes()).into()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_opens_what_was_recorded_of_it_and_no_other_key_does() {
        let (ours, other) = (FreshKey::new().text(), FreshKey::new().text());
        let (ours, other) = (
            PresentedKey::parse(ours.reveal()).unwrap(),
            PresentedKey::parse(other.reveal()).unwrap(),
        );
        let stored = StoredKey::new(&ours, "ci", &["rows"], None);
        assert!(stored.is_opened_by(&ours) && stored.has_scope("rows"));
        assert!(!stored.is_opened_by(&other) && !stored.has_scope("read"));
        let damaged = StoredKey {
            secret_hash: Vec::new(),
            ..stored
        };
        assert!(!damaged.is_opened_by(&ours));
    }

    #[test]
    fn only_a_text_of_the_right_shape_is_a_key() {
        let secret = "0".repeat(64);
        assert!(PresentedKey::parse(&format!("rl_0123456789ab_{secret}")).is_some());
        for text in [
            String::new(),
            "rl_".to_owned(),
            format!("rl_0123456789ab{secret}"),
            format!("rl_0123456789AB_{secret}"),
            format!("rl_0123456789a_{secret}"),
            format!("rl_0123456789ab_{secret}0"),
            format!("sk_0123456789ab_{secret}"),
            format!("rl_0123456789a\u{e9}_{secret}"),
        ] {
            assert!(PresentedKey::parse(&text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        let key = FreshKey::new();
        let text = key.text();
        let shown = format!("{text:?} {:?}", PresentedKey::parse(text.reveal()));
        assert!(!shown.contains(&key.secret), "{shown}");
    }

    #[test]
    fn an_unknown_scope_is_refused_by_name() {
        let error = check("ci", &["rows".to_owned(), "admin".to_owned()], None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`admin` is no scope; there are rows, facts, approvals and read"
        );
        assert!(check("ci", &[], None).is_err());
        assert!(check("", &["rows".to_owned()], None).is_err());
        assert!(check("ci", &["rows".to_owned()], Some("a/b")).is_err());
        assert!(check("ci", &["rows".to_owned()], Some("billing")).is_ok());
    }
}
