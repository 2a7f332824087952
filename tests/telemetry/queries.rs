//! The queries of the project's dashboards and rules, and the metrics that these name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A file of the project.
pub(crate) fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(project(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The dashboards with their file names.
pub(crate) fn dashboards() -> Vec<(String, Value)> {
    let folder = fs::read_dir(project("configs/grafana/dashboards")).expect("dashboards are there");
    let files = folder.map(|entry| entry.expect("a file").path());
    let mut dashboards: Vec<(String, Value)> = files
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("a dashboard can be read");
            (name, serde_json::from_str(&text).expect("a dashboard is JSON"))
        })
        .collect();
    dashboards.sort_by(|one, other| one.0.cmp(&other.0));
    dashboards
}

/// A query of a panel, with where it stands.
pub(crate) struct Query {
    pub(crate) place: String,
    pub(crate) text: String,
}

/// The queries of all panels and annotations.
pub(crate) fn of_dashboards() -> Vec<Query> {
    let mut queries = Vec::new();
    for (file, dashboard) in dashboards() {
        for panel in dashboard["panels"].as_array().expect("panels") {
            let title = panel["title"].as_str().expect("a title");
            for target in panel["targets"].as_array().into_iter().flatten() {
                queries.push(Query {
                    place: format!("{file}: {title} {}", target["refId"].as_str().expect("a letter")),
                    text: target["expr"].as_str().expect("a query").to_owned(),
                });
            }
        }
    }
    queries
}

/// The same with Grafana's variables replaced, as they are when everything is chosen.
pub(crate) fn substituted(query: &str) -> String {
    let mut query = query
        .replace("$__rate_interval", "30s")
        .replace("$__range", "5m")
        .replace("$__interval", "5s");
    for variable in ["$group", "$topic", "$instance"] {
        query = query.replace(variable, ".*");
    }
    assert!(
        !query.contains('$'),
        "{query} has a variable that nobody replaces"
    );
    query
}

/// The names of the rules in the file, after `record:` or `alert:`.
pub(crate) fn rules(file: &str, word: &str) -> Vec<String> {
    let text = read(file);
    let names = text.lines().filter_map(|line| {
        let line = line.trim().trim_start_matches("- ");
        line.strip_prefix(word).map(|name| name.trim().to_owned())
    });
    names.collect()
}

/// The names of metrics that a text of queries mentions.
pub(crate) fn metrics(text: &str) -> BTreeSet<String> {
    const BEGINNINGS: [&str; 5] = ["redline_", "messaging_", "http_server_", "db_client_", "process_"];
    let is_part = |character: char| character.is_ascii_alphanumeric() || "_:".contains(character);
    // Some labels begin like metrics.
    let labels: BTreeSet<String> = rows().into_iter().flat_map(|(_, _, labels)| labels).collect();
    text.split(|character| !is_part(character))
        .filter(|word| BEGINNINGS.iter().any(|beginning| word.starts_with(beginning)))
        .filter(|word| !labels.contains(*word))
        .map(str::to_owned)
        .collect()
}

/// The tables of the reference page: name, type and labels of each metric.
fn rows() -> Vec<(String, String, Vec<String>)> {
    let page = read("docs/reference/metrics.md");
    let lines = page.lines().filter(|line| line.starts_with("| `"));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let labels = cells[4]
                .split(", ")
                .map(|label| label.trim_matches('`').to_owned());
            (
                cells[1].trim_matches('`').to_owned(),
                cells[2].to_owned(),
                labels.collect(),
            )
        })
        .collect()
}

/// The metrics of the reference page, as queries may name them.
pub(crate) fn reference() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (name, kind, _) in rows() {
        match kind.as_str() {
            "histogram" => names.extend(["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}"))),
            _ => drop(names.insert(name)),
        }
    }
    names
}
