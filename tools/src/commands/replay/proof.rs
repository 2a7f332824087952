//! Whether a replay changed anything: what was found before, and what was found afterwards.

use std::io::Write;

use redline_store::{proof, read_only_connection};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::arguments::How;
use crate::commands::counted;
use crate::settings::Settings;

/// Columns of every terminal.
const WIDTH: usize = 80;

/// What is recorded and found, as of one instant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct State {
    accepted: i64,
    duplicate: i64,
    quarantined: i64,
    /// SHA-256 of all changes, hex.
    changes: String,
    /// SHA-256 of the contents of all standing flags, hex.
    flags: String,
}

impl State {
    pub(super) async fn read(settings: &Settings) -> anyhow::Result<Self> {
        let mut connection = read_only_connection(settings.database.url(), "replay").await?;
        let proof = proof::proof(&mut connection).await?;
        Ok(Self {
            accepted: proof.accepted,
            duplicate: proof.duplicate,
            quarantined: proof.quarantined,
            changes: proof.changes.to_string(),
            flags: proof.flags.to_string(),
        })
    }

    /// Whether anything but the count of duplicates and of quarantined records is another.
    pub(super) fn differs(&self, after: &Self) -> bool {
        self.accepted != after.accepted || self.changes != after.changes || self.flags != after.flags
    }
}

/// Says what became of it.
pub(super) fn tell(
    published: u64,
    before: &State,
    after: &State,
    how: &How,
    out: &mut impl Write,
) -> std::io::Result<()> {
    match how.json {
        true => {
            let answer = json!({
                "published": published, "changed": before.differs(after), "before": before, "after": after,
            });
            writeln!(out, "{answer}")
        }
        false => write!(out, "{}", told(published, before, after)),
    }
}

fn told(published: u64, before: &State, after: &State) -> String {
    let published = counted(published, "record was", "records were");
    let mut counts = vec![format!(
        "{} counted as duplicates",
        after.duplicate - before.duplicate
    )];
    let quarantined = after.quarantined - before.quarantined;
    if quarantined > 0 {
        counts.push(format!("{quarantined} quarantined again"));
    }
    let (changes, flags) = (&after.changes, &after.flags);
    if !before.differs(after) {
        let line = format!("nothing changed: {published} published, {}", counts.join(", "));
        let line = match line.len() > WIDTH {
            true => line.replacen(", ", ",\n", 1),
            false => line,
        };
        return format!("{line}\nchanges {changes}\nflags   {flags}\n");
    }
    counts.insert(0, format!("{} accepted as new", after.accepted - before.accepted));
    let mut text = format!(
        "something changed: {published} published,\n{}\n",
        counts.join(", ")
    );
    for (what, before, after) in [
        ("changes", &before.changes, changes),
        ("flags", &before.flags, flags),
    ] {
        match before == after {
            true => text.push_str(&format!("{what:7} {after}\n")),
            false => text.push_str(&format!("{what:7} {before}\n   now  {after}\n")),
        }
    }
    text.push_str(
        "Either there was something new in it, or others wrote meanwhile.\n\
         `redline rederive` says whether the record follows from its events.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(accepted: i64, duplicate: i64, quarantined: i64, hash: &str) -> State {
        State {
            accepted,
            duplicate,
            quarantined,
            changes: hash.repeat(32),
            flags: "f0".repeat(32),
        }
    }

    #[test]
    fn what_changed_is_told_on_eighty_columns() {
        let before = state(10_184, 300, 2, "0a");
        let same = told(10_486, &before, &state(10_184, 10_786, 2, "0a"));
        let quarantined = told(10_486, &before, &state(10_184, 10_784, 4, "0a"));
        let changed = told(10_486, &before, &state(10_187, 10_783, 2, "1b"));
        for text in [&same, &quarantined, &changed] {
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        }
        insta::assert_snapshot!(format!("{same}---\n{quarantined}---\n{changed}"));
    }
}
