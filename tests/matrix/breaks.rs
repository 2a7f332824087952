//! Whether the matrix would notice: binaries in which one thing is broken on purpose, and how soon each is caught.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::results;

/// Something that a promise rests on, and that is taken away.
pub(crate) struct Break {
    /// The feature of the binary.
    feature: &'static str,
    about: &'static str,
    /// Faults that it cannot survive, in the order in which they are tried with each seed.
    faults: &'static [&'static str],
}

pub(crate) const BREAKS: &[Break] = &[
    Break {
        feature: "break-marks",
        about: "contents are marked before the commit, and a mark decides",
        faults: &["worker-killed-before-commit", "redis-lying"],
    },
    Break {
        feature: "break-positions",
        about: "positions move without compare-and-set",
        faults: &["worker-stopped", "worker-stopped-inside-copy"],
    },
    Break {
        feature: "break-revisions",
        about: "the revisions of entities are not compared",
        faults: &["rebalance-storm", "partitions-added", "deriver-killed"],
    },
    Break {
        feature: "break-outbox",
        about: "messages leave the outbox before they are published",
        faults: &["relay-killed", "kafka-stopped"],
    },
    Break {
        feature: "break-numbers",
        about: "the relay goes on behind the highest number that it has seen",
        faults: &["worker-held-at-commit", "network-slow-postgres"],
    },
];

/// A break, and the run that caught it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Caught {
    pub(crate) commit: String,
    pub(crate) feature: String,
    pub(crate) fault: String,
    pub(crate) seed: u64,
    pub(crate) runs: u64,
    pub(crate) words: String,
}

impl Caught {
    fn to_json(&self) -> Value {
        json!({
            "commit": self.commit, "break": self.feature, "fault": self.fault, "seed": self.seed, "runs": self.runs,
            "words": self.words,
        })
    }

    fn read(text: &str) -> Option<Self> {
        let json: Value = serde_json::from_str(text).ok()?;
        let text = |name: &str| json[name].as_str().map(str::to_owned);
        Some(Self {
            commit: text("commit")?,
            feature: text("break")?,
            fault: text("fault")?,
            seed: json["seed"].as_u64()?,
            runs: json["runs"].as_u64()?,
            words: text("words")?,
        })
    }
}

/// What a break is about.
pub(crate) fn about(feature: &str) -> &'static str {
    let found = BREAKS.iter().find(|one| one.feature == feature);
    found.map_or("", |one| one.about)
}

/// Reads a file of caught breaks; one that does not exist has none.
pub(crate) fn read(path: &Path) -> Vec<Caught> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(Caught::read).collect()
}

/// Builds each broken binary, or those that are named, and runs what should catch it until it does. Answers those that
/// nothing caught.
pub(crate) fn run(named: &[String], most_seeds: u64, kept: Option<&Path>) -> Vec<&'static str> {
    let mut missed = Vec::new();
    let mut caught = kept.map(read).unwrap_or_default();
    let is_named = |one: &&Break| named.is_empty() || named.iter().any(|name| name == one.feature);
    for one in BREAKS.iter().filter(is_named) {
        caught.retain(|old: &Caught| old.feature != one.feature);
        let binary = build(one.feature);
        match catch(one, &binary, most_seeds) {
            Some(found) => {
                println!(
                    "{}: caught by {} with seed {}",
                    one.feature, found.fault, found.seed
                );
                caught.push(found);
                keep(kept, &caught);
            }
            None => {
                println!("{}: NOT CAUGHT within {most_seeds} seeds", one.feature);
                missed.push(one.feature);
            }
        }
    }
    missed
}

fn keep(kept: Option<&Path>, caught: &[Caught]) {
    if let Some(kept) = kept {
        let lines: Vec<String> = caught.iter().map(|found| found.to_json().to_string()).collect();
        fs::write(kept, lines.join("\n") + "\n").expect("what was caught can be written");
    }
}

fn build(feature: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = root.join("target/broken");
    let built = Command::new("cargo")
        .current_dir(&root)
        .args([
            "build",
            "--package",
            "redline",
            "--features",
            feature,
            "--target-dir",
        ])
        .arg(&target)
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the binary with {feature} is not built");
    // Tests find the binary where it cannot be replaced by the next one.
    let (built, copy) = (
        target.join("debug/redline"),
        target.join(format!("redline-{feature}")),
    );
    fs::copy(&built, &copy).expect("the binary can be copied");
    copy
}

fn catch(one: &Break, binary: &Path, most_seeds: u64) -> Option<Caught> {
    let found = std::env::temp_dir().join(format!("redline-{}-{}.jsonl", one.feature, std::process::id()));
    // Not its path, which a build may have taken away meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command
        .env("REDLINE_BIN", binary)
        .args([
            "run",
            "--fail-fast",
            "--seeds",
            &format!("1-{most_seeds}"),
            "--results",
        ])
        .arg(&found);
    for fault in one.faults {
        command.args(["--fault", fault]);
    }
    let ended = command.status().expect("the matrix runs");
    let lines = results::read(&found);
    let _ = fs::remove_file(&found);
    let last = lines.last().filter(|line| !ended.success() && !line.is_clean())?;
    Some(Caught {
        commit: last.commit.clone(),
        feature: one.feature.to_owned(),
        fault: last.fault.clone(),
        seed: last.seed,
        runs: u64::try_from(lines.len()).expect("few runs"),
        words: format!(
            "{} lost, {} doubled, {} wrong",
            last.lost, last.doubled, last.wrong
        ),
    })
}
