//! What belongs to each alert, and to each dashboard. Needs no service.

use std::collections::BTreeSet;
use std::fs;

use crate::queries::{self, project, read};

const ALERTS: &str = "configs/prometheus/alerts.yml";
const RECORDING: &str = "configs/prometheus/recording.yml";

fn alerts() -> BTreeSet<String> {
    let alerts: BTreeSet<String> = queries::rules(ALERTS, "alert:").into_iter().collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    alerts
}

#[test]
fn each_alert_has_a_page_that_says_what_to_do_and_each_page_an_alert() {
    let mut pages = BTreeSet::new();
    for entry in fs::read_dir(project("docs/runbooks")).expect("runbooks") {
        let name = entry.expect("a file").file_name().to_string_lossy().into_owned();
        pages.insert(name.trim_end_matches(".md").to_owned());
    }
    assert!(pages.remove("README"));
    assert_eq!(pages, alerts());
    let (rules, index) = (read(ALERTS), read("docs/runbooks/README.md"));
    for alert in alerts() {
        let page = read(&format!("docs/runbooks/{alert}.md"));
        for part in [
            "## What it means",
            "## What users notice",
            "## How to look",
            "## What to do",
            "## How to tell it is over",
        ] {
            assert!(page.contains(part), "{alert}.md has no {part:?}");
        }
        assert!(
            rules.contains(&format!("docs/runbooks/{alert}.md\n")),
            "{alert} names its page"
        );
        assert!(
            index.contains(&format!("[{alert}]({alert}.md)")),
            "{alert} is in the list"
        );
    }
}

#[test]
fn each_alert_says_how_urgent_it_is_and_what_it_means() {
    let rules = read(ALERTS);
    for rule in rules.split("- alert:").skip(1) {
        let name = rule.lines().next().expect("a name").trim();
        let severity = rule.contains("severity: critical") || rule.contains("severity: warning");
        assert!(severity, "{name} has no severity");
        for annotation in ["summary:", "description:", "runbook_url:"] {
            assert!(rule.contains(annotation), "{name} has no {annotation}");
        }
    }
}

#[test]
fn each_alert_is_tested_both_firing_and_silent() {
    let mut tests = String::new();
    for entry in fs::read_dir(project("configs/prometheus/tests")).expect("tests of rules") {
        tests += &fs::read_to_string(entry.expect("a file").path()).expect("a test of rules");
    }
    for alert in alerts() {
        let about = format!("alertname=\"{alert}\"");
        let samples: Vec<&str> = tests
            .split("- expr:")
            .filter(|one| one.lines().next().is_some_and(|line| line.contains(&about)))
            .collect();
        let silent = |one: &&&str| one.contains("exp_samples: []");
        assert!(
            samples.iter().any(|one| !silent(&one)),
            "no test sees {alert} fire"
        );
        assert!(
            samples.iter().any(|one| silent(&one)),
            "no test sees {alert} silent"
        );
    }
}

#[test]
fn every_metric_that_rules_dashboards_and_runbooks_name_is_in_the_reference() {
    let mut known = queries::reference();
    known.extend(queries::rules(RECORDING, "record:"));
    let mut texts: Vec<(String, String)> = [RECORDING, ALERTS]
        .map(|file| (file.to_owned(), read(file)))
        .to_vec();
    texts.extend(
        queries::of_dashboards()
            .into_iter()
            .map(|query| (query.place, query.text)),
    );
    for alert in alerts() {
        let file = format!("docs/runbooks/{alert}.md");
        texts.push((file.clone(), read(&file)));
    }
    for (place, text) in texts {
        for name in queries::metrics(&text) {
            // These come from the system, not from our code; the live test asks for them.
            let known = known.contains(&name) || name.starts_with("process_");
            assert!(known, "{place} names {name}, which no role shows");
        }
    }
}

#[test]
fn every_recorded_name_that_is_used_is_recorded() {
    let recorded: BTreeSet<String> = queries::rules(RECORDING, "record:").into_iter().collect();
    let mut texts = read(ALERTS);
    for query in queries::of_dashboards() {
        texts += &format!("\n{}", query.text);
    }
    let is_part = |character: char| character.is_ascii_alphanumeric() || "_:".contains(character);
    let used = texts.split(|character| !is_part(character));
    for name in used.filter(|word| word.starts_with("redline:")) {
        assert!(recorded.contains(name), "{name} is recorded by no rule");
    }
}
