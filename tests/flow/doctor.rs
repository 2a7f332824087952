//! What `redline doctor` finds, and that each thing that is broken names itself and its remedy.

use std::net::TcpListener;

use redline_tests::{Ended, Installation, Plan};
use serde_json::Value;

use crate::{REST, end, worker_and_relay};

/// Nobody listens on port 1.
const NOBODY: &str = "127.0.0.1:1";

async fn doctor(redline: &Installation, variables: &[(&str, &str)]) -> (Ended, Vec<Value>) {
    let ended = redline.run_with(&["doctor", "--json"], variables).await;
    let answer: Value = serde_json::from_str(&ended.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", ended.stdout, ended.stderr));
    let checks = answer["checks"].as_array().expect("checks are a list").clone();
    let failed = checks.iter().any(|check| check["result"] == "failed");
    assert_eq!(ended.code, if failed { 3 } else { 0 }, "{}", ended.stdout);
    assert_eq!(answer["healthy"], !failed);
    (ended, checks)
}

/// A failed check of a service is there, with these words in what was found and in what to do.
fn assert_failed(checks: &[Value], service: &str, found: &str, fix: &str) {
    let has = |check: &Value, member: &str, words: &str| {
        check[member].as_str().is_some_and(|text| text.contains(words))
    };
    assert!(
        checks.iter().any(|check| {
            check["service"] == service
                && check["result"] == "failed"
                && has(check, "found", found)
                && has(check, "fix", fix)
        }),
        "{service}, {found}, {fix}: {checks:#?}"
    );
}

/// Services of which a check failed.
fn failed(checks: &[Value]) -> Vec<&str> {
    let mut services: Vec<&str> = checks
        .iter()
        .filter(|check| check["result"] == "failed")
        .filter_map(|check| check["service"].as_str())
        .collect();
    services.dedup();
    services
}

#[tokio::test]
async fn a_healthy_installation_is_all_ok() {
    let redline = Plan::new("healthy").make().await;
    let processes = worker_and_relay(&redline);
    redline.wait_for_owners(1, REST).await;
    let (_, checks) = doctor(&redline, &[]).await;
    for check in &checks {
        // Where the tests run may have few files to open.
        let is_ours = check["check"] != "open files";
        assert!(check["result"] == "ok" || !is_ours, "{check:#}");
    }
    assert!(checks.len() > 20, "{checks:#?}");
    let told = redline.run(&["doctor"]).await;
    assert_eq!(
        (told.code, told.stderr.as_str()),
        (0, ""),
        "no progress where there is no terminal"
    );
    assert_eq!(
        told.stdout.matches("\nok ").count() + 1,
        checks.len(),
        "{}",
        told.stdout
    );
    assert!(
        !told.stdout.contains('\x1b'),
        "no colour where there is no terminal"
    );
    end(redline, processes).await;
}

#[tokio::test]
async fn a_service_that_is_away_names_itself_and_the_others_are_asked_all_the_same() {
    let redline = Plan::new("away").make().await;
    let url = |scheme: &str| format!("{scheme}://{NOBODY}/");
    let (_, checks) = doctor(&redline, &[("REDIS_URL", &url("redis"))]).await;
    assert_failed(&checks, "redis", "", "redis.url");
    assert_eq!(failed(&checks), ["redis"]);
    let (_, checks) = doctor(&redline, &[("SCHEMA_REGISTRY_URL", &url("http"))]).await;
    assert_failed(&checks, "registry", NOBODY, "registry.url");
    assert_eq!(failed(&checks), ["registry"]);
    let (_, checks) = doctor(&redline, &[("KAFKA_BOOTSTRAP_SERVERS", NOBODY)]).await;
    assert_failed(&checks, "kafka", NOBODY, "kafka.bootstrap_servers");
    assert_eq!(failed(&checks), ["kafka"]);
    let (_, checks) = doctor(
        &redline,
        &[("DATABASE_URL", "postgres://u:hunter2@127.0.0.1:1/d")],
    )
    .await;
    assert_failed(&checks, "postgres", NOBODY, "database.url");
    assert_eq!(failed(&checks), ["postgres"]);
    assert!(!format!("{checks:?}").contains("hunter2"));
    let skipped = checks.iter().filter(|check| check["result"] == "skipped").count();
    assert!(skipped > 4, "{checks:#?}");
    redline.remove().await;
}

#[tokio::test]
async fn what_is_set_wrongly_names_itself_and_its_remedy() {
    let redline = Plan::new("wrong").make().await;
    let compacted = format!("{}.compacted", redline.name);
    redline
        .kafka
        .create_topic(&compacted, 1, &[("cleanup.policy", "compact")])
        .await;
    let (_, checks) = doctor(&redline, &[("REDLINE_TOPICS__ROWS", &compacted)]).await;
    assert_failed(&checks, "kafka", "compacted", "cleanup.policy");
    assert_failed(&checks, "registry", "not registered", "redline migrate");
    assert_eq!(failed(&checks), ["kafka", "registry"]);

    let missing = format!("{}.missing", redline.name);
    let (_, checks) = doctor(&redline, &[("REDLINE_TOPICS__FLAGGED", &missing)]).await;
    assert_failed(&checks, "kafka", "no such topic", "redline migrate");

    let rules = redline.folder().join("broken.toml");
    std::fs::write(&rules, "[sources.billing]\namonut = \"Total\"\n").expect("a file can be written");
    let rules = rules.display().to_string();
    let (_, checks) = doctor(&redline, &[("REDLINE_MIGRATE__RULES", &rules)]).await;
    assert_failed(&checks, "rules", "amonut", "redline rules check");
    assert_eq!(failed(&checks), ["rules"]);

    let (_, checks) = doctor(&redline, &[("REDLINE_WORK__BATCH_RECORDS", "many")]).await;
    assert_failed(&checks, "settings", "work.batch_records", "named key");
    assert_eq!(failed(&checks), ["settings"]);

    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it has an address").to_string();
    let (_, checks) = doctor(&redline, &[("REDLINE_INGEST__LISTEN", &address)]).await;
    assert_failed(&checks, "machine", "another program", "ingest.listen");
    redline.remove().await;
}

#[tokio::test]
async fn an_installation_that_was_never_migrated_is_told_to_migrate() {
    let redline = Plan::new("unmigrated").unmigrated().await;
    let (_, checks) = doctor(&redline, &[]).await;
    for (service, found) in [
        ("kafka", "no such topic"),
        ("registry", "not registered"),
        ("postgres", "missing"),
    ] {
        assert_failed(&checks, service, found, "redline migrate");
    }
    assert_eq!(failed(&checks), ["kafka", "registry", "postgres"]);
    redline.remove().await;
}
