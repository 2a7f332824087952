//! One file a command; each is thin, the work is done in the crates.

use std::fmt::Display;

use indicatif::{ProgressBar, ProgressStyle};

pub(crate) mod approvals;
pub(crate) mod bench;
pub(crate) mod collect;
pub(crate) mod connecting;
pub(crate) mod demo;
pub(crate) mod doctor;
mod feed;
pub(crate) mod ingest;
pub(crate) mod instruments;
pub(crate) mod key;
pub(crate) mod migrate;
pub(crate) mod position;
pub(crate) mod quarantine;
pub(crate) mod rederive;
pub(crate) mod reference;
pub(crate) mod relay;
pub(crate) mod replay;
pub(crate) mod report;
pub(crate) mod retention;
pub(crate) mod rules;
mod saying;
pub(crate) mod serve;
pub(crate) mod simulate;
pub(crate) mod work;

/// A number of things, in words that fit it: `1 row`, `2 rows`.
fn counted<N: Display + PartialEq + From<u8>>(count: N, one: &str, many: &str) -> String {
    let things = if count == N::from(1) { one } else { many };
    format!("{count} {things}")
}

/// Shows that long work goes on; draws nothing where the error stream is no terminal.
fn spinner() -> anyhow::Result<ProgressBar> {
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {elapsed} {msg}")?);
    Ok(bar)
}
