//! How far a replay is, kept in a file so that it goes on where it was broken off.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::proof::State;
use crate::Misuse;

/// A contiguous piece of what is replayed: a partition, a ledger, a file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Span {
    /// The topic that it was read from, or the file.
    pub(super) of: String,
    /// The partition.
    pub(super) partition: i32,
    /// The ledger's number, of what is recorded.
    pub(super) ledger: i32,
    /// The first offset, or line, that is not published yet.
    pub(super) next: i64,
    /// Where it ends; fixed when the replay begins, since it may write into what it reads.
    pub(super) end: i64,
}

/// What stands in the file.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    replay: Value,
    spans: Vec<Span>,
    published: u64,
    finished: bool,
    before: Option<State>,
}

/// How far a replay is.
#[derive(Debug)]
pub(super) struct Course {
    file: Option<PathBuf>,
    replay: Value,
    pub(super) spans: Vec<Span>,
    /// Records that Kafka acknowledged.
    pub(super) published: u64,
    /// Whether these are all.
    pub(super) finished: bool,
    /// How everything was before.
    pub(super) before: Option<State>,
    is_new: bool,
}

impl Course {
    /// Goes on with what the file says, or begins.
    pub(super) async fn open(
        file: Option<&Path>,
        replay: Value,
        spans: impl Future<Output = anyhow::Result<Vec<Span>>>,
    ) -> anyhow::Result<Self> {
        let kept = match file {
            Some(file) if file.exists() => Some(read(file, &replay)?),
            _ => None,
        };
        let is_new = kept.is_none();
        let kept = match kept {
            Some(kept) => kept,
            None => Kept {
                replay: Value::Null,
                spans: spans.await?,
                published: 0,
                finished: false,
                before: None,
            },
        };
        let course = Self {
            file: file.map(Path::to_owned),
            replay,
            spans: kept.spans,
            published: kept.published,
            finished: kept.finished,
            before: kept.before,
            is_new,
        };
        // That it cannot be written is better known before anything is published.
        course.write()?;
        Ok(course)
    }

    /// Whether it begins now.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Everything up to there is in Kafka.
    pub(super) fn advance(&mut self, span: usize, next: i64) {
        self.published += 1;
        if let Some(span) = self.spans.get_mut(span) {
            span.next = next;
        }
    }

    /// Writes the file, whole or not at all.
    pub(super) fn write(&self) -> anyhow::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let kept = Kept {
            replay: self.replay.clone(),
            spans: self.spans.clone(),
            published: self.published,
            finished: self.finished,
            before: self.before.clone(),
        };
        let mut beside = file.clone().into_os_string();
        beside.push(".new");
        let write = || -> std::io::Result<()> {
            let mut new = File::create(&beside)?;
            serde_json::to_writer_pretty(&mut new, &kept)?;
            new.write_all(b"\n")?;
            new.sync_data()?;
            fs::rename(&beside, file)
        };
        write().with_context(|| {
            format!(
                "{} cannot be written, where it is kept how far the replay is",
                file.display()
            )
        })
    }

    /// What to do to go on.
    pub(super) fn how_to_go_on(&self) -> String {
        match &self.file {
            Some(file) => format!(
                "give the same command again: {} says where it goes on",
                file.display()
            ),
            None => "give the same command again: what is in already counts as duplicates; with --resume FILE it would go on \
                     where it stopped"
                .to_owned(),
        }
    }
}

fn read(file: &Path, replay: &Value) -> anyhow::Result<Kept> {
    let name = file.display();
    let text = fs::read_to_string(file).with_context(|| format!("{name} cannot be read"))?;
    let Ok(kept) = serde_json::from_str::<Kept>(&text) else {
        bail!("{name} was not written by a replay; name another file with --resume, which is made");
    };
    let differing = differing(&kept.replay, replay);
    if !differing.is_empty() {
        let told = format!(
            "{name} belongs to another replay ({}); give the same arguments again, or name another file with --resume",
            differing.join("; ")
        );
        return Err(Misuse(told).into());
    }
    Ok(kept)
}

/// In what two replays differ.
fn differing(there: &Value, here: &Value) -> Vec<String> {
    let (Some(there), Some(here)) = (there.as_object(), here.as_object()) else {
        return vec!["it does not say of which".to_owned()];
    };
    let mut names: Vec<&String> = there.keys().chain(here.keys()).collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .filter_map(|name| {
            let of = |values: &serde_json::Map<String, Value>| values.get(name).cloned().unwrap_or_default();
            let (there, here) = (of(there), of(here));
            (there != here).then(|| format!("{name}: {there} there, {here} here"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn span() -> Span {
        Span {
            of: "redline.rows".to_owned(),
            partition: 3,
            ledger: 0,
            next: 10,
            end: 20,
        }
    }

    async fn open(file: &Path, replay: Value) -> anyhow::Result<Course> {
        Course::open(Some(file), replay, async { Ok(vec![span()]) }).await
    }

    #[tokio::test]
    async fn a_replay_goes_on_where_its_file_says_and_another_one_is_refused() {
        let file = std::env::temp_dir().join(format!("redline-course-{}.json", std::process::id()));
        let replay = json!({"what": "topic", "topic": "redline.rows", "into": null});
        let mut course = open(&file, replay.clone()).await.unwrap();
        assert!(course.is_new());
        course.advance(0, 15);
        course.write().unwrap();
        let again = open(&file, replay).await.unwrap();
        assert_eq!(
            (again.spans[0].next, again.published, again.is_new()),
            (15, 1, false)
        );

        let other = json!({"what": "topic", "topic": "redline.rows", "into": "copy"});
        let error = open(&file, other).await.unwrap_err();
        let expected =
            "belongs to another replay (into: null there, \"copy\" here); give the same arguments again";
        assert!(error.to_string().contains(expected), "{error}");
        fs::write(&file, "{}").unwrap();
        let error = open(&file, json!({})).await.unwrap_err().to_string();
        assert!(error.contains("was not written by a replay"), "{error}");
        fs::remove_file(&file).unwrap();
    }
}
