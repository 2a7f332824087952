//! What a run came to: what was lost, what counted twice, what is otherwise than the truth.
//!
//! It reads topics and tables, and takes what is right from the simulator's truth.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use redline_schemas::ContentHash;
use redline_simulator::compare;
use redline_tests::{Installation, checker};
use serde_json::Value;

use crate::stream::Known;

/// What a run came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Verdict {
    /// SHA-256 over all changes and standing flags: the same for every run of a seed.
    pub(crate) hash: String,
    /// Messages that were acknowledged and are neither accepted nor quarantined.
    pub(crate) lost: usize,
    /// Contents that were accepted more than once.
    pub(crate) doubled: usize,
    /// Changes and flags that are missing, too many or otherwise, and what the checker says besides.
    pub(crate) wrong: usize,
    /// The first words about each.
    pub(crate) words: Vec<String>,
}

impl Verdict {
    /// A run that came to no end.
    pub(crate) fn broken(word: String) -> Self {
        Self {
            hash: String::new(),
            lost: 0,
            doubled: 0,
            wrong: 1,
            words: vec![word],
        }
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.lost + self.doubled + self.wrong == 0
    }

    pub(crate) async fn of(redline: &Installation, known: &Known, poisons: &[Vec<u8>]) -> Self {
        let mut verdict = Self {
            hash: hash(redline).await,
            lost: 0,
            doubled: 0,
            wrong: 0,
            words: Vec::new(),
        };
        verdict.compare_contents(redline, known).await;
        verdict.compare_poisons(redline, poisons).await;
        verdict.compare_findings(redline, known).await;
        if let Err(panic) = AssertUnwindSafe(checker::check(redline)).catch_unwind().await {
            verdict.wrong += 1;
            verdict.words.push(word_of(&*panic));
        }
        verdict
    }

    /// Every content of the stream is accepted, once, and no other.
    async fn compare_contents(&mut self, redline: &Installation, known: &Known) {
        let sent: BTreeMap<[u8; 32], &str> = known
            .messages
            .iter()
            .map(|sent| (sent.hash(), sent.line.as_str()))
            .collect();
        let contents = redline.texts("select content from redline.events").await;
        let mut found: BTreeMap<[u8; 32], usize> = BTreeMap::new();
        for content in &contents {
            *found.entry(ContentHash::of(content.as_bytes()).0).or_default() += 1;
        }
        let missing = sent.iter().filter(|(hash, _)| !found.contains_key(*hash));
        let missing: Vec<&str> = missing.map(|(_, line)| *line).collect();
        self.lost += missing.len();
        self.say("accepted by the door and nowhere", missing.first());
        let twice: Vec<usize> = found
            .values()
            .map(|count| count - 1)
            .filter(|more| *more > 0)
            .collect();
        self.doubled += twice.iter().sum::<usize>();
        self.say("contents that count more than once", twice.first());
        let strange = found.keys().filter(|hash| !sent.contains_key(*hash)).count();
        self.wrong += strange;
        self.say("contents that nobody sent", (strange > 0).then_some(&strange));
    }

    /// What cannot be read is kept with its bytes.
    async fn compare_poisons(&mut self, redline: &Installation, poisons: &[Vec<u8>]) {
        let kept: Vec<Option<Vec<u8>>> = sqlx::query_scalar("select value from redline.quarantine")
            .fetch_all(&redline.pool)
            .await
            .expect("the quarantine can be read");
        let kept: BTreeSet<Vec<u8>> = kept.into_iter().flatten().collect();
        let missing: Vec<String> = poisons
            .iter()
            .filter(|value| !kept.contains(*value))
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .collect();
        self.lost += missing.len();
        self.say("neither accepted nor quarantined", missing.first());
        let strange = kept.iter().filter(|value| !poisons.contains(*value)).count();
        self.wrong += strange;
        self.say("quarantined for no reason", (strange > 0).then_some(&strange));
    }

    /// Changes and standing flags are the truth.
    async fn compare_findings(&mut self, redline: &Installation, known: &Known) {
        let changes = objects(
            redline,
            "select jsonb_build_object('source', source, 'entity_id', entity_id, 'version', version,
                'column_name', column_name, 'before', before, 'after', after, 'impact', impact::text,
                'currency', currency, 'editor', editor, 'modified_at', modified_at, 'authorised', authorised)::text
             from redline.changes",
        )
        .await;
        let flags = objects(
            redline,
            "select (r.flag || jsonb_build_object('impact', r.flag->>'impact'))::text from redline.flags f join redline.flag_revisions r using (flag_id, revision)",
        )
        .await;
        for (kind, report) in compare(&known.simulation.truth, &changes, &flags).kinds {
            let differing = report.missing + report.surplus + report.different;
            self.wrong += differing;
            if differing > 0 {
                self.words.push(format!("{kind}: {report:?}"));
            }
        }
    }

    fn say<T: std::fmt::Debug>(&mut self, what: &str, first: Option<&T>) {
        if let Some(first) = first {
            self.words.push(format!("{what}: {first:?}"));
        }
    }
}

async fn objects(redline: &Installation, query: &'static str) -> Vec<Value> {
    let texts = redline.texts(query).await;
    texts
        .iter()
        .map(|text| serde_json::from_str(text).expect("Postgres writes JSON"))
        .collect()
}

async fn hash(redline: &Installation) -> String {
    let text = [
        checker::changes(redline).await,
        checker::standing_flags(redline).await,
    ]
    .join("\n\n");
    let hash = ContentHash::of(text.as_bytes()).0;
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a panic says, in a line.
pub(crate) fn word_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without words");
    text.chars().take(600).collect()
}
