//! One file a command; each is thin, the work is done in the crates.

pub(crate) mod bench;
pub(crate) mod collect;
pub(crate) mod ingest;
pub(crate) mod key;
pub(crate) mod migrate;
pub(crate) mod position;
pub(crate) mod quarantine;
pub(crate) mod relay;
pub(crate) mod rules;
pub(crate) mod work;
