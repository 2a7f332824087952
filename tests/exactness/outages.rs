//! A real list, with its truth counted by an independent program.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use redline_tests::checker::{self, Totals};
use redline_tests::{Installation, Plan, Process, Random, Services};
use serde_json::Value;

use crate::{REST, Result, end};

const MAPPING: &str = r#"
[collect.outages.fields]
row_id = "row_id"
version = "version"
observed_at = "observed_at"
modified_at = "modified_at"
[collect.outages.columns]
"region" = {}
"customers_affected" = { type = "amount" }
"restoration_estimate" = {}
"crew_status" = {}
"#;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name)
}

/// What `data/count.py` says about a file, by name.
fn truth(file: &Path) -> BTreeMap<String, i64> {
    let output = Command::new(Services::python())
        .arg("-B")
        .arg(data("count.py"))
        .arg(file)
        .output()
        .expect("Python runs");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines()
        .map(|line| {
            let (name, number) = line.split_once('=').expect("name=number");
            (name.to_owned(), number.parse().expect("a number"))
        })
        .collect()
}

/// An installation with two workers and a relay.
async fn begin(partitions: i32) -> (Installation, Vec<Process>) {
    let plan = Plan::new("outages").partitions(partitions).rows_are_shared();
    let redline = plan.settings(MAPPING).make().await;
    let processes = vec![redline.work(), redline.work(), redline.relay()];
    redline.wait_for_owners(i64::from(partitions).min(2), REST).await;
    (redline, processes)
}

/// `redline collect files`; answers how many lines it published.
async fn collect(redline: &Installation, file: &Path) -> i64 {
    let file = file.to_str().expect("a path in UTF-8");
    let printed = redline
        .succeed(&["collect", "files", file, "--source", "outages", "--json"])
        .await;
    let summary: Value = serde_json::from_str(&printed).expect("a summary in JSON");
    summary["accepted"].as_i64().expect("accepted lines are counted")
}

/// The excerpt's lines in another order, behind the header.
fn shuffled(folder: &Path, seed: u64) -> PathBuf {
    let text = fs::read_to_string(data("outages-excerpt.csv")).expect("the excerpt can be read");
    let mut lines: Vec<&str> = text.lines().collect();
    Random::new(seed).shuffle(&mut lines[1..]);
    let path = folder.join("shuffled.csv");
    fs::write(&path, lines.join("\n")).expect("a file can be written");
    path
}

async fn check_counts(redline: &Installation, truth: &BTreeMap<String, i64>) {
    let counted = redline
        .texts(
            "select column_name || '=' || count(*) from redline.changes group by column_name
             union all select 'reversions=' || count(*) from redline.flags
                where kind = 'reversion' and status = 'standing'
             union all select 'rows=' || count(*) from redline.entities
             union all select 'versions=' || count(*) from redline.versions order by 1",
        )
        .await;
    let expected: Vec<String> = truth
        .iter()
        .map(|(name, number)| format!("{name}={number}"))
        .collect();
    assert_eq!(
        counted, expected,
        "Redline's counts differ from those of data/count.py"
    );
    assert_eq!(
        redline
            .count("select count(*) from redline.flags where kind <> 'reversion'")
            .await,
        0,
        "outages have no period, so nothing but reversions is flagged"
    );
}

#[tokio::test]
async fn a_real_list_makes_exactly_its_changes_and_again_nothing_new() {
    let file = data("outages-excerpt.csv");
    let truth = truth(&file);
    assert_eq!(truth.len(), 6, "the program counts six things: {truth:?}");
    let versions = truth["versions"];

    let (redline, processes) = begin(12).await;
    assert_eq!(collect(&redline, &file).await, versions);
    redline.wait_quiet(REST).await;
    check_counts(&redline, &truth).await;
    let expected = Result::of(&redline).await;
    let mut totals = Totals {
        read: versions,
        accepted: versions,
        duplicate: 0,
        quarantined: 0,
    };
    assert_eq!(checker::check(&redline).await, totals);

    assert_eq!(collect(&redline, &file).await, versions);
    redline.wait_quiet(REST).await;
    check_counts(&redline, &truth).await;
    Result::of(&redline)
        .await
        .assert_same(&expected, "the same file again");
    totals.read += versions;
    totals.duplicate += versions;
    assert_eq!(checker::check(&redline).await, totals);
    end(redline, processes).await;

    for partitions in [1, 12] {
        let seed = Random::seed();
        let (redline, processes) = begin(partitions).await;
        let file = shuffled(redline.folder(), seed);
        assert_eq!(collect(&redline, &file).await, versions);
        redline.wait_quiet(REST).await;
        let what = format!("shuffled with seed {seed} over {partitions} partitions");
        Result::of(&redline).await.assert_same(&expected, &what);
        check_counts(&redline, &truth).await;
        let totals = checker::check(&redline).await;
        assert_eq!((totals.accepted, totals.duplicate), (versions, 0), "{what}");
        end(redline, processes).await;
    }
}
