//! Who reads, and how: a key of the scope `read`, a transaction that sees one state, and an end to waiting.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redline_http::keys::FindKey;
use redline_http::pools::Waits;
use redline_http::{Caller, Keys, Kind, Problem};
use redline_store::keys::{self, StoredKey};
use redline_store::sqlx::{PgPool, Postgres, Transaction};
use redline_store::{Class, StoreError, read};

use crate::settings::ConsoleSettings;

/// The scope that opens the read API.
const SCOPE: &str = "read";

/// What all requests share.
pub(crate) struct Reader {
    pool: PgPool,
    waits: Waits,
    keys: Keys,
    patience: Duration,
    /// Bytes of an answer, about.
    pub(crate) bytes: usize,
}

impl FindKey for Reader {
    async fn find_key(&self, key_id: &str) -> Result<Option<StoredKey>, String> {
        let found = tokio::time::timeout(self.patience, keys::find(&self.pool, key_id)).await;
        match found {
            Ok(found) => found.map_err(|error| error.to_string()),
            Err(_) => Err("it did not answer in time".to_owned()),
        }
    }
}

/// What a key may see.
pub(crate) struct Access(Arc<StoredKey>);

impl Access {
    /// The only source that it may see; none for all.
    pub(crate) fn source(&self) -> Option<&str> {
        self.0.source.as_deref()
    }

    /// The source to which a list is narrowed.
    pub(crate) fn narrow(&self, asked: Option<String>) -> Result<Option<String>, Box<Problem>> {
        match (self.source(), asked) {
            (Some(own), Some(asked)) if own != asked => {
                let detail = format!("the API key is for the source `{own}` only");
                Err(Problem::new(Kind::Forbidden, detail))
            }
            (Some(own), _) => Ok(Some(own.to_owned())),
            (None, asked) => Ok(asked),
        }
    }
}

impl Reader {
    pub(crate) fn new(pool: PgPool, waits: Waits, settings: &ConsoleSettings) -> Self {
        Self {
            pool,
            waits,
            keys: Keys::default(),
            patience: read::PATIENCE + settings.statement_timeout(),
            bytes: settings.max_answer_bytes,
        }
    }

    /// What the key of a request may see.
    pub(crate) async fn access(&self, caller: &Caller) -> Result<Access, Box<Problem>> {
        self.keys.open(self, caller, SCOPE).await.map(Access)
    }

    /// A transaction that sees one state of the record.
    pub(crate) async fn transaction(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        let began = Instant::now();
        let transaction = self.pool.begin().await;
        self.waits.took(began.elapsed());
        Ok(transaction?)
    }

    /// Waits for what Postgres answers, and no longer than is settled.
    pub(crate) async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Box<Problem>> {
        match tokio::time::timeout(self.patience, answer).await {
            Ok(answer) => answer.map_err(|error| told(&error)),
            Err(_) => Err(told(&StoreError::Silent)),
        }
    }
}

/// What the reader is told; the reasons may name inner addresses, so they go to the log only.
fn told(error: &StoreError) -> Box<Problem> {
    if error.is_cut_off() {
        tracing::warn!("a query of the read API was cut off: {error}");
        let detail = "the query took longer than console.statement_timeout_milliseconds; name a source, an entity or a \
                      shorter time";
        return Problem::new(Kind::TooSlow, detail);
    }
    if error.class() == Class::TryAgain || error.is_not_migrated() {
        tracing::warn!("the read API does not reach the read model: {error}");
        return Problem::new(Kind::Away, "the database with the read model is away");
    }
    tracing::error!("the read API cannot read what is recorded: {error}");
    Problem::new(
        Kind::Damaged,
        "what is recorded cannot be read; the log of this server says more",
    )
}
