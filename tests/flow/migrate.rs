//! `redline migrate`, and what needs it.

use std::time::Duration;

use redline_schemas::topics::subject;
use redline_tests::Plan;

use crate::REST;

#[tokio::test]
async fn migrating_twice_changes_nothing() {
    const RULES: &str = "select kind || id || version || effective_at || content from redline.facts";
    let redline = Plan::new("twice").partitions(5).make().await;
    let rules = redline.texts(RULES).await;
    assert_eq!(rules.len(), 1, "the first rule set is recorded");
    let mut ids = Vec::new();
    let topics = &redline.topics;
    let subjects = [
        &topics.rows,
        &topics.payouts,
        &topics.orders,
        &topics.facts,
        &topics.flagged,
    ];
    for topic in subjects {
        assert_eq!(
            redline.registry.compatibility(&subject(topic)).await,
            "FULL_TRANSITIVE"
        );
        ids.push(redline.registry.latest_id(&subject(topic)).await);
    }
    redline.migrate().await;
    assert_eq!(redline.texts(RULES).await, rules);
    for (topic, id) in subjects.into_iter().zip(ids) {
        assert_eq!(
            redline.registry.latest_id(&subject(topic)).await,
            id,
            "{topic} has no new schema"
        );
    }
    for topic in subjects.into_iter().chain([&topics.quarantine]) {
        assert_eq!(
            redline.kafka.log_ends(topic).await.len(),
            5,
            "{topic} keeps its partitions"
        );
    }
    redline.remove().await;
}

#[tokio::test]
async fn a_breaking_schema_is_refused_with_the_registrys_reason() {
    const OTHER: &str = r#"{"type":"record","name":"RowEvent","namespace":"redline","fields":[
        {"name":"source","type":"int"}]}"#;
    let redline = Plan::new("breaking").unmigrated().await;
    let subject = subject(&redline.topics.rows);
    let registered = redline.registry.register(&subject, OTHER).await;
    registered.expect("the first schema of a subject is taken");
    let ended = redline.run(&["migrate"]).await;
    assert_eq!(ended.code, 1, "{}{}", ended.stdout, ended.stderr);
    assert!(
        ended.stderr.contains(&subject),
        "the subject is named: {}",
        ended.stderr
    );
    // What the registry itself says to the same attempt.
    let refused = redline
        .registry
        .register(&subject, redline_schemas::avro::ROW_SCHEMA)
        .await;
    let reason: serde_json::Value =
        serde_json::from_str(&refused.expect_err("the schema breaks readers")).expect("JSON");
    let reason = reason["message"].as_str().expect("the registry says why");
    let beginning: String = reason.chars().take(60).collect();
    assert!(
        ended.stderr.contains(&beginning),
        "{reason}\nis not in\n{}",
        ended.stderr
    );
    redline.remove().await;
}

#[tokio::test]
async fn two_who_migrate_at_once_both_succeed() {
    let redline = Plan::new("at-once").unmigrated().await;
    let (one, other) = tokio::join!(redline.run(&["migrate"]), redline.run(&["migrate"]));
    for ended in [one, other] {
        assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    }
    redline.remove().await;
}

#[tokio::test]
async fn a_topic_that_would_lose_records_is_refused_with_its_setting() {
    let redline = Plan::new("unfit").unmigrated().await;
    let topics = redline.topics.clone();
    let unfit = [
        (&topics.rows, "cleanup.policy", "compact"),
        (&topics.flagged, "cleanup.policy", "compact,delete"),
        (&topics.quarantine, "max.message.bytes", "1000000"),
    ];
    for (topic, setting, value) in unfit {
        redline.kafka.create_topic(topic, 1, &[(setting, value)]).await;
    }
    let ended = redline.run(&["migrate"]).await;
    assert_eq!(ended.code, 1, "{}{}", ended.stdout, ended.stderr);
    for (topic, setting, _) in unfit {
        let mut reasons = ended.stderr.split("topic ");
        let named = reasons.any(|reason| reason.starts_with(topic) && reason.contains(setting));
        assert!(named, "{topic} and {setting} are named: {}", ended.stderr);
    }
    assert!(
        ended.stdout.contains(&format!("{} was made", topics.payouts)),
        "what was done is said: {}",
        ended.stdout
    );
    redline.remove().await;
}

#[tokio::test]
async fn commands_before_migrate_name_it() {
    let redline = Plan::new("too-early").unmigrated().await;
    for command in [
        &["key", "list"][..],
        &["position", "list"],
        &["quarantine", "list"],
        &["relay"],
    ] {
        let ended = redline.run(command).await;
        assert_eq!(ended.code, 1, "{command:?}: {}", ended.stderr);
        assert!(
            ended.stderr.contains("run `redline migrate`"),
            "{command:?}: {}",
            ended.stderr
        );
    }
    redline.remove().await;
}

#[tokio::test]
async fn a_rule_file_is_checked_with_line_key_and_remedy() {
    let redline = Plan::new("rules").unmigrated().await;
    let file = redline.folder().join("rules-to-check.toml");
    let path = file.to_str().expect("a path in UTF-8");
    let check = async |text: &str| {
        std::fs::write(&file, text).expect("a file can be written");
        redline.run(&["rules", "check", path]).await
    };
    let good = check("[sources.billing.tracked]\nQuantity = { type = \"amount\" }\n").await;
    assert_eq!(good.code, 0, "{}{}", good.stdout, good.stderr);
    assert!(
        good.stdout.contains("billing: 1 tracked column, 0 rules"),
        "{}",
        good.stdout
    );
    let bad = check("[sources.billing]\namount = \"Total\"\ntime_zone = \"Mars\"\n").await;
    assert_eq!(bad.code, 3, "{}{}", bad.stdout, bad.stderr);
    assert_eq!(
        bad.stdout,
        format!("{path}:3: sources.billing.time_zone is no IANA time zone such as \"America/New_York\"\n")
    );
    redline.remove().await;
}

#[tokio::test]
async fn what_can_never_be_used_exits_with_2_and_a_postgres_that_is_away_with_1_and_its_address() {
    let redline = Plan::new("misuse").unmigrated().await;
    let key = ["key", "create", "x", "--scope", "everything"];
    let list = ["key", "list"];
    for (arguments, variables, part) in [
        (&key[..], &[][..], "`everything` is no scope"),
        (
            &list,
            &[("REDLINE_WORK__BATCH_RECORDS", "0")],
            "work.batch_records is 0",
        ),
        (
            &list,
            &[("REDLINE_TOPICS__FACTS", "x y")],
            "topics.facts is \"x y\"",
        ),
        (
            &list,
            &[("DATABASE_URL", "mysql://u:hunter2@h/d")],
            "database.url",
        ),
    ] {
        let ended = redline.run_with(arguments, variables).await;
        assert_eq!(ended.code, 2, "{arguments:?} {variables:?}: {}", ended.stderr);
        assert!(
            ended.stderr.contains(part) && !ended.stderr.contains("hunter2"),
            "{}",
            ended.stderr
        );
    }
    let away = [("DATABASE_URL", "postgres://u:hunter2@127.0.0.1:9/away")];
    let ended = redline.run_with(&list, &away).await;
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("127.0.0.1:9/away") && !ended.stderr.contains("hunter2"),
        "{}",
        ended.stderr
    );
    redline.remove().await;
}

#[tokio::test]
async fn a_worker_before_migrate_says_so_and_exits_with_1() {
    let redline = Plan::new("before").unmigrated().await;
    let ended = redline.run(&["work"]).await;
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("redline migrate"), "{}", ended.stderr);

    // Schemas alone are not enough: the database may be another one.
    redline.migrate().await;
    redline.execute("drop schema redline cascade").await;
    let ended = redline.run(&["work"]).await;
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("redline migrate"), "{}", ended.stderr);
    redline.remove().await;
}

#[tokio::test]
async fn a_role_that_is_told_to_stop_exits_with_0_within_seconds() {
    let redline = Plan::new("stop").make().await;
    let door = redline.ingest().await;
    let (mut worker, mut relay) = (redline.work(), redline.relay());
    worker.wait_for_log("partitions are read", REST).await;
    relay.wait_for_log("the relay is at work", REST).await;
    for process in [worker, relay, door.process] {
        let code = process.terminate(Duration::from_secs(10)).await;
        assert_eq!(code, 0);
    }
    redline.remove().await;
}
