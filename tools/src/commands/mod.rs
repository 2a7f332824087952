//! One file a command; each is thin, the work is done in the crates.

use std::fmt::Display;

pub(crate) mod bench;
pub(crate) mod collect;
pub(crate) mod doctor;
pub(crate) mod ingest;
pub(crate) mod key;
pub(crate) mod migrate;
pub(crate) mod position;
pub(crate) mod quarantine;
pub(crate) mod reference;
pub(crate) mod relay;
pub(crate) mod rules;
pub(crate) mod work;

/// Who says a fact: whom the command names, else the user of this system, else the command itself.
fn said_by(given: Option<&str>, command: &str) -> String {
    let user = || {
        let names = ["USER", "LOGNAME"]
            .into_iter()
            .filter_map(|name| std::env::var(name).ok());
        names.into_iter().find(|name| !name.is_empty())
    };
    given
        .map(str::to_owned)
        .or_else(user)
        .unwrap_or_else(|| format!("redline {command}"))
}

/// A number of things, in words that fit it: `1 row`, `2 rows`.
fn counted<N: Display + PartialEq + From<u8>>(count: N, one: &str, many: &str) -> String {
    let things = if count == N::from(1) { one } else { many };
    format!("{count} {things}")
}
