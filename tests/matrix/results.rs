//! The file of results, one line of JSON a run, and the page that is made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use redline_schemas::Timestamp;
use serde_json::{Value, json};

use crate::breaks::{self, Caught};
use crate::faults::{FAULTS, Fault};
use crate::run::Told;
use crate::verdict::Verdict;

/// One run.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Line {
    pub(crate) commit: String,
    pub(crate) fault: String,
    pub(crate) seed: u64,
    pub(crate) hash: String,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) wrong: u64,
    pub(crate) recovery_milliseconds: u64,
    pub(crate) ended_at: String,
    pub(crate) machine: String,
    pub(crate) words: Vec<String>,
}

impl Line {
    pub(crate) fn of(fault: &Fault, seed: u64, told: &Told, commit: &str, machine: &str) -> Self {
        let Verdict {
            hash,
            lost,
            doubled,
            wrong,
            words,
        } = told.verdict.clone();
        let number = |count: usize| u64::try_from(count).expect("a count");
        Self {
            commit: commit.to_owned(),
            fault: fault.name.to_owned(),
            seed,
            hash,
            lost: number(lost),
            doubled: number(doubled),
            wrong: number(wrong),
            recovery_milliseconds: u64::try_from(told.recovery.as_millis()).expect("a short time"),
            ended_at: Timestamp::now().to_string(),
            machine: machine.to_owned(),
            words,
        }
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.lost + self.doubled + self.wrong == 0
    }

    fn to_json(&self) -> Value {
        json!({
            "commit": self.commit, "fault": self.fault, "seed": self.seed, "hash": self.hash, "lost": self.lost,
            "doubled": self.doubled, "wrong": self.wrong, "recovery_milliseconds": self.recovery_milliseconds,
            "ended_at": self.ended_at, "machine": self.machine, "words": self.words,
        })
    }

    fn read(text: &str) -> Option<Self> {
        let json: Value = serde_json::from_str(text).ok()?;
        let text = |name: &str| json[name].as_str().map(str::to_owned);
        let number = |name: &str| json[name].as_u64();
        Some(Self {
            commit: text("commit")?,
            fault: text("fault")?,
            seed: number("seed")?,
            hash: text("hash")?,
            lost: number("lost")?,
            doubled: number("doubled")?,
            wrong: number("wrong")?,
            recovery_milliseconds: number("recovery_milliseconds")?,
            ended_at: text("ended_at")?,
            machine: text("machine")?,
            words: json["words"]
                .as_array()?
                .iter()
                .filter_map(|word| word.as_str().map(str::to_owned))
                .collect(),
        })
    }
}

/// Reads a file of results; one that does not exist has none.
///
/// # Panics
/// When a line is none of ours.
pub(crate) fn read(path: &Path) -> Vec<Line> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .map(|line| Line::read(line).unwrap_or_else(|| panic!("{}: no result: {line}", path.display())))
        .collect()
}

/// Adds a line, at once on the disk: an interrupted matrix goes on behind it.
pub(crate) fn append(path: &Path, line: &Line) {
    let file = fs::OpenOptions::new().create(true).append(true).open(path);
    let mut file = file.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    writeln!(file, "{}", line.to_json()).expect("the result can be written");
    file.sync_data().expect("the result can be written");
}

/// The page about the results in a folder.
pub(crate) fn page_of(folder: &Path) -> String {
    page(
        &read(&folder.join("reliability.jsonl")),
        &breaks::read(&folder.join("reliability-breaks.jsonl")),
    )
}

/// The page about all results.
fn page(lines: &[Line], caught: &[Caught]) -> String {
    let mut page = String::from(INTRODUCTION);
    let newest = newest_commit(lines);
    let (newest_lines, older): (Vec<&Line>, Vec<&Line>) = lines
        .iter()
        .partition(|line| Some(&line.commit) == newest.as_ref());
    if let Some(commit) = &newest {
        let _ = writeln!(page, "\n## At commit {commit}\n");
        page.push_str(&provenance(&newest_lines));
        page.push_str(&table(&newest_lines));
        page.push_str(&failures(&newest_lines));
    }
    if !older.is_empty() {
        page.push_str("\n## At all commits before\n\n");
        page.push_str(&provenance(&older));
        page.push_str(&table(&older));
        page.push_str(&failures(&older));
    }
    page.push_str(&breaks_section(caught));
    page
}

/// What was broken on purpose.
fn breaks_section(caught: &[Caught]) -> String {
    if caught.is_empty() {
        return String::new();
    }
    let mut section = String::from(
        "\n## Broken on purpose\n\n\
         Binaries in which one thing is broken, and the run that caught it (`make faults-breaks`).\n\n\
         | feature | what is broken | commit | caught by | seed | runs | found |\n|---|---|---|---|---:|---:|---|\n",
    );
    for one in caught {
        let Caught {
            commit,
            feature,
            fault,
            seed,
            runs,
            words,
        } = one;
        let about = breaks::about(feature);
        let _ = writeln!(
            section,
            "| {feature} | {about} | {commit} | {fault} | {seed} | {runs} | {words} |"
        );
    }
    section
}

const INTRODUCTION: &str = "\
# Reliability

What was tried to make Redline lose, double or misjudge something, and what came of it. `make faults` tries it again;
this page is made of [reliability.jsonl](reliability.jsonl), which has a line for every run, and a test fails when they differ.

Each run sends a known stream of some 700 events and facts, parts of it several times, through the real binary as separate processes (ingest, two
workers, a relay) on a real Kafka of three brokers, a Postgres with fsync, a Redis and a schema registry; lets a fault happen
while the stream is being recorded; heals it; waits until it is quiet; and looks. What is right comes from the truth of a
simulated sheet, whose oracle shares no code with what it judges.

- **lost**: messages that were acknowledged and are neither accepted nor quarantined with their bytes.
- **doubled**: contents that were accepted more than once.
- **wrong**: changes and standing flags that are missing, too many or otherwise; flags that are not on their topic, or not in
  order; control totals with a gap or an overlap, or that disagree with what Kafka holds; runs that come to no end.
- **recovery**: from the end of the fault until all that had been sent by then was recorded.
";

fn newest_commit(lines: &[Line]) -> Option<String> {
    let newest = lines
        .iter()
        .max_by(|one, other| one.ended_at.cmp(&other.ended_at));
    newest.map(|line| line.commit.clone())
}

/// Where and when.
fn provenance(lines: &[&Line]) -> String {
    let machines: BTreeSet<&str> = lines.iter().map(|line| line.machine.as_str()).collect();
    let days: BTreeSet<&str> = lines.iter().filter_map(|line| line.ended_at.get(..10)).collect();
    let seeds: BTreeSet<u64> = lines.iter().map(|line| line.seed).collect();
    let differing = seeds.iter().filter(|seed| results_of(lines, **seed) > 1).count();
    let days = match (days.first(), days.last()) {
        (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
        (Some(first), _) => (*first).to_owned(),
        _ => String::new(),
    };
    let agreement = match differing {
        0 => "the runs of each seed ended in the same changes and flags, byte for byte".to_owned(),
        _ => format!(
            "**the runs of {} ended in different changes and flags**",
            counted(differing, "seed")
        ),
    };
    format!(
        "{} of {}, {days}, on {}; {agreement}.\n\n",
        counted(lines.len(), "run"),
        counted(seeds.len(), "seed"),
        machines.into_iter().collect::<Vec<_>>().join(" and "),
    )
}

fn counted(count: usize, thing: &str) -> String {
    match count {
        1 => format!("1 {thing}"),
        _ => format!("{count} {thing}s"),
    }
}

/// How many different results the clean runs of a seed have.
fn results_of(lines: &[&Line], seed: u64) -> usize {
    let of_seed = lines
        .iter()
        .filter(|line| line.seed == seed && !line.hash.is_empty());
    of_seed
        .map(|line| line.hash.as_str())
        .collect::<BTreeSet<_>>()
        .len()
}

fn table(lines: &[&Line]) -> String {
    let mut by_fault: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
    for line in lines {
        by_fault.entry(&line.fault).or_default().push(line);
    }
    let mut table = String::from(
        "| fault | what happens | runs | lost | doubled | wrong | recovery: median, longest |\n\
         |---|---|---:|---:|---:|---:|---:|\n",
    );
    for fault in FAULTS {
        let Some(of_fault) = by_fault.get(fault.name) else {
            continue;
        };
        let sum = |number: fn(&Line) -> u64| of_fault.iter().map(|line| number(line)).sum::<u64>();
        let mut recoveries: Vec<u64> = of_fault.iter().map(|line| line.recovery_milliseconds).collect();
        recoveries.sort_unstable();
        let median = recoveries.get(recoveries.len() / 2).copied().unwrap_or(0);
        let longest = recoveries.last().copied().unwrap_or(0);
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} | {}, {} |",
            fault.name,
            fault.about,
            of_fault.len(),
            sum(|line| line.lost),
            sum(|line| line.doubled),
            sum(|line| line.wrong),
            seconds(median),
            seconds(longest),
        );
    }
    table
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{} s", milliseconds / 1_000, milliseconds % 1_000 / 100)
}

fn failures(lines: &[&Line]) -> String {
    let mut text = String::new();
    for line in lines.iter().filter(|line| !line.is_clean()) {
        let words = line.words.first().map_or("", String::as_str);
        let words: String = words.chars().take(200).collect();
        let _ = writeln!(
            text,
            "\n`{}` with seed {} at {}: {} lost, {} doubled, {} wrong. {}",
            line.fault,
            line.seed,
            line.commit,
            line.lost,
            line.doubled,
            line.wrong,
            words.replace('\n', " "),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(commit: &str, fault: &str, seed: u64, hash: &str, ended_at: &str) -> Line {
        Line {
            commit: commit.to_owned(),
            fault: fault.to_owned(),
            seed,
            hash: hash.to_owned(),
            lost: 0,
            doubled: 0,
            wrong: 0,
            recovery_milliseconds: 1_250,
            ended_at: ended_at.to_owned(),
            machine: "2 cores, 24 GiB".to_owned(),
            words: Vec::new(),
        }
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let written = line("abc", "worker-killed", 3, "00ff", "2026-03-01T00:00:00Z");
        assert_eq!(Line::read(&written.to_json().to_string()), Some(written));
    }

    #[test]
    fn the_page_shows_the_newest_commit_by_itself_and_says_when_runs_of_a_seed_differ() {
        let lines = [
            line("old", "worker-killed", 1, "aa", "2026-03-01T00:00:00Z"),
            line("new", "worker-killed", 1, "aa", "2026-03-02T00:00:00Z"),
            line("new", "relay-killed", 1, "bb", "2026-03-03T00:00:00Z"),
            Line {
                wrong: 2,
                words: vec!["two\nlines".to_owned()],
                ..line("new", "relay-killed", 2, "cc", "2026-03-03T01:00:00Z")
            },
        ];
        let caught = [Caught {
            commit: "new".to_owned(),
            feature: "break-marks".to_owned(),
            fault: "worker-killed-before-commit".to_owned(),
            seed: 1,
            runs: 1,
            words: "3 lost, 0 doubled, 9 wrong".to_owned(),
        }];
        insta::assert_snapshot!(page(&lines, &caught));
    }

    #[test]
    fn the_page_in_the_documentation_is_made_of_the_results_beside_it() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let made = page_of(&docs);
        let kept = fs::read_to_string(docs.join("reliability.md")).unwrap_or_default();
        assert!(
            made == kept,
            "docs/reliability.md is not made of docs/reliability.jsonl: run `make docs`"
        );
    }
}
