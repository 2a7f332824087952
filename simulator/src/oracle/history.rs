//! Which content stands at each version of a row, and since when it has been seen.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::event::{Content, Event};

/// The content that stands at a version.
#[derive(Debug, Clone)]
pub(super) struct Standing<'a> {
    pub content: &'a Content,
    /// The least of its copies.
    pub observed_at: Timestamp,
    /// How many different contents came under this version.
    pub contents: usize,
}

impl Standing<'_> {
    /// Its own time: `modified_at`, else `observed_at`.
    pub fn at(&self) -> Timestamp {
        self.content.modified_at.unwrap_or(self.observed_at)
    }
}

/// The standing versions of one row, by version.
///
/// "Of several contents at one version, the greatest by (`modified_at` with absent lowest, content hash) stands."
/// The simulation never makes two contents of one version with equal `modified_at`, so that no hash is needed.
pub(super) fn standing_versions<'a>(events: &[&'a Event]) -> Vec<Standing<'a>> {
    let mut versions: BTreeMap<u64, Vec<Standing<'a>>> = BTreeMap::new();
    for event in events {
        let contents = versions.entry(event.content.version).or_default();
        match contents.iter_mut().find(|known| *known.content == event.content) {
            Some(copy) => copy.observed_at = copy.observed_at.min(event.observed_at),
            None => {
                let (content, observed_at) = (&event.content, event.observed_at);
                contents.push(Standing {
                    content,
                    observed_at,
                    contents: 1,
                });
            }
        }
    }
    versions
        .into_values()
        .filter_map(|contents| {
            let count = contents.len();
            // An absent `modified_at` is None, which is lower than every Some.
            let greatest = contents
                .into_iter()
                .max_by_key(|standing| standing.content.modified_at)?;
            Some(Standing {
                contents: count,
                ..greatest
            })
        })
        .collect()
}
