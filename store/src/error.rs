//! Errors of the store and their class, which decides what happens; never the text.

use redline_connections::tls::TlsTrouble;
use redline_connections::{Keys, refused_login};

/// What to do about an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// It may go away by itself: try again, after a pause.
    TryAgain,
    /// Somebody has to act: stop and say so.
    Stop,
}

/// What the store can answer besides what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The position is not where the batch was read from: somebody else recorded it. The batch is discarded.
    #[error("the position of a partition has moved since this batch was read")]
    PositionMoved,
    /// An entity changed since it was read. The batch is detected again.
    #[error("an entity was changed by another writer since it was read")]
    EntityChanged,
    /// Facts were recorded since the batch was judged. The batch is judged again under them.
    #[error("facts were recorded since this batch was judged")]
    FactsChanged,
    /// Something recorded cannot be read back.
    #[error("the record of {what} is damaged: {reason}")]
    Damaged {
        /// What is damaged.
        what: String,
        /// Why.
        reason: String,
    },
    /// The operator asked for something that does not fit.
    #[error("{0}")]
    Refused(String),
    /// What a connection was told at its beginning does not hold: somebody in between shares connections out.
    #[error(
        "Postgres does not keep the settings of a session: something in between shares connections out, such as PgBouncer \
         in transaction mode; Redline needs sessions that Postgres ends when a process stands still, so database.url must \
         name Postgres itself"
    )]
    Shared,
    /// Postgres, or the way to it, is silent.
    #[error("Postgres did not answer in time")]
    Silent,
    /// What Postgres or the way to it says.
    #[error("{}", sentence(.0))]
    Database(#[from] sqlx::Error),
    /// A migration that failed.
    #[error("a migration of the database failed: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
}

impl StoreError {
    /// Whether another writer came first: nothing is wrong, and the batch is detected again.
    pub fn is_disturbance(&self) -> bool {
        match self {
            Self::EntityChanged | Self::FactsChanged => true,
            // Serialization failure, deadlock.
            Self::Database(sqlx::Error::Database(error)) => {
                matches!(error.code().as_deref(), Some("40001" | "40P01"))
            }
            _ => false,
        }
    }

    /// Whether it says that the schema, or a part of it, is not there: `redline migrate` has not run.
    pub fn is_not_migrated(&self) -> bool {
        matches!(self, Self::Database(error) if is_not_migrated(error))
    }

    /// Whether Postgres did not answer at all.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Silent => true,
            Self::Database(error) => is_unreachable(error),
            _ => false,
        }
    }

    /// Whether no connection will come about before somebody acts: the login is refused, or TLS is. A role that begins
    /// with it ends; one that is at work waits for what was rotated on one side to be rotated on the other.
    pub fn is_unusable(&self) -> bool {
        match self {
            Self::Shared => true,
            Self::Database(error) => unusable(error).is_some(),
            _ => false,
        }
    }

    /// Whether Postgres ended the statement because it took longer than it may.
    pub fn is_cut_off(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(error)) if error.code().as_deref() == Some("57014"))
    }

    /// Whether a lock was not to be had in time.
    pub fn is_locked_out(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(error)) if error.code().as_deref() == Some("55P03"))
    }

    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::PositionMoved | Self::EntityChanged | Self::FactsChanged | Self::Silent => Class::TryAgain,
            Self::Damaged { .. } | Self::Refused(_) | Self::Migration(_) | Self::Shared => Class::Stop,
            Self::Database(error) => class_of(error),
        }
    }
}

fn is_not_migrated(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else {
        return false;
    };
    // Undefined schema, table, column, function.
    matches!(
        error.code().as_deref(),
        Some("3F000" | "42P01" | "42703" | "42883")
    )
}

/// Whether Postgres did not answer at all.
pub(crate) fn is_unreachable(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut) && TlsTrouble::of(error).is_none()
}

/// The settings of this connection, as errors name them.
const KEYS: Keys = Keys {
    address: "database.url (sslmode)",
    authority: "database.url (sslrootcert)",
    certificate: Some("sslcert and sslkey in database.url"),
    login: "the user in database.url, its password there or in database.password, and its sslmode",
};

/// Whether Postgres refuses the connection itself: the login, or there is no such database.
fn is_refused_connection(code: &str) -> bool {
    code.starts_with("28") || code == "3D000"
}

/// The error in words that name the fix where there is one.
pub(crate) fn words(error: &sqlx::Error) -> String {
    if is_not_migrated(error) {
        return format!(
            "Redline's tables are not there, or older than this version; run `redline migrate` ({error})"
        );
    }
    unusable(error).unwrap_or_else(|| error.to_string())
}

fn sentence(error: &sqlx::Error) -> String {
    unusable(error).unwrap_or_else(|| format!("Postgres: {}", words(error)))
}

/// Why no connection will come about before somebody acts, in a sentence with the settings to look at.
pub(crate) fn unusable(error: &sqlx::Error) -> Option<String> {
    match error {
        // Postgres answers in one byte that it has no TLS, which is no error of TLS.
        sqlx::Error::Tls(reason) if TlsTrouble::of(&**reason).is_none() => Some(format!(
            "no TLS with Postgres ({reason}); look at {}",
            KEYS.address
        )),
        sqlx::Error::Configuration(reason) => Some(format!(
            "no TLS with Postgres: {reason}; look at {}",
            KEYS.address
        )),
        sqlx::Error::Database(refused) if refused.code().is_some_and(|code| is_refused_connection(&code)) => {
            Some(refused_login("Postgres", refused.message(), KEYS))
        }
        // Postgres itself takes what Redline says; poolers have their own ideas.
        sqlx::Error::Database(refused) if refused.code().as_deref() == Some("08P01") => Some(format!(
            "what answers at database.url is no Postgres, or one behind a pooler such as PgBouncer ({}); Redline needs \
             sessions of its own, so database.url must name Postgres itself",
            refused.message()
        )),
        error => Some(TlsTrouble::of(error)?.told("Postgres", KEYS)),
    }
}

/// Connection trouble and what Postgres itself calls temporary is tried again.
fn class_of(error: &sqlx::Error) -> Class {
    match error {
        sqlx::Error::Database(database) => class_of_sqlstate(database.code().as_deref().unwrap_or("")),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Class::TryAgain,
        _ => Class::Stop,
    }
}

fn class_of_sqlstate(code: &str) -> Class {
    match code {
        // Read-only transaction (a failover under way).
        "25006" => Class::TryAgain,
        // A login that is refused, while a role works: see `StoreError::is_unusable`.
        code if is_refused_connection(code) => Class::TryAgain,
        // Idle in transaction for too long.
        "25P03" | "25P04" => Class::TryAgain,
        _ => match code.get(..2) {
            // Connection; rollback (serialization, deadlock); resources (disk, memory, connections); the
            // operator intervened (shutdown, cancel, statement timeout); lock timeout; system error.
            Some("08" | "40" | "53" | "57" | "55" | "58") => Class::TryAgain,
            _ => Class::Stop,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again_and_a_defect_stops() {
        for code in [
            "28P01", "28000", "3D000", "08006", "40001", "40P01", "53100", "53300", "57P01", "57014",
            "55P03", "25006", "25P03",
        ] {
            assert_eq!(class_of_sqlstate(code), Class::TryAgain, "{code}");
        }
        for code in ["23505", "42P01", "22003", "42501", ""] {
            assert_eq!(class_of_sqlstate(code), Class::Stop, "{code}");
        }
        assert_eq!(
            class_of(&sqlx::Error::Io(std::io::Error::other("reset"))),
            Class::TryAgain
        );
        assert_eq!(class_of(&sqlx::Error::RowNotFound), Class::Stop);
    }
}
