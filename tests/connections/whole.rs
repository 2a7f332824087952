//! Every role over encrypted connections with the least rights: from an HTTP request to a flag on the topic.

use std::time::Duration;

use redline_tests::{Installation, Secure, Variables, checker, rows, until};

use crate::plan;

const REST: Duration = Duration::from_secs(90);

async fn unmigrated_for_redline(name: &str) -> Installation {
    let redline = plan(name).unmigrated().await;
    // It makes its schema itself.
    let statement = format!("alter database \"{}\" owner to redline", redline.name);
    sqlx::raw_sql(&statement)
        .execute(&redline.pool)
        .await
        .expect("the test may do everything");
    redline
}

/// A row, and its edit after its week ended, become a flag.
async fn a_flag_arrives(redline: &Installation, variables: &Variables) {
    let pairs = variables.pairs();
    let door = redline.ingest_with(&pairs).await;
    let processes = vec![redline.start("work", &pairs), redline.start("relay", &pairs)];
    door.accept("/v1/rows", &rows::before_example()).await;
    door.accept("/v1/rows", &rows::example()).await;
    redline.wait_quiet(REST).await;
    let flags = checker::published_flags(redline).await;
    assert!(
        flags.iter().any(|flag| flag.kind == "retroactive_change"),
        "{flags:?}"
    );
    let logs: Vec<String> = processes.iter().map(|process| process.log()).collect();
    for secret in ["password", "client_secret", "token"] {
        let secret = Secure::services().text(secret);
        assert!(
            !logs.iter().any(|log| log.contains(secret)),
            "a secret is told: {logs:?}"
        );
    }
    assert!(
        !logs.concat().contains("goes on without it"),
        "Redis is not used: {logs:?}"
    );
    redline.stop(processes).await;
    redline.stop(vec![door.process]).await;
    checker::check(redline).await;
}

#[tokio::test]
async fn a_flag_arrives_by_passwords() {
    let secure = Secure::services();
    let redline = unmigrated_for_redline("passwords").await;
    let variables = secure
        .kafka_by_scram("redline")
        .and(secure.registry_by_password())
        .and(secure.postgres("good", &redline.name))
        .and(secure.redis("good", "redline"))
        .with("REDLINE_WORK__MARK_PREFIX", "connections-marks:");
    let migrating = variables.clone().with("REDLINE_KAFKA__USERNAME", "migrate");
    let migrated = redline.run_with(&["migrate"], &migrating.pairs()).await;
    assert_eq!(migrated.code, 0, "{migrated:?}");
    a_flag_arrives(&redline, &variables).await;
    redline.remove().await;
}

#[tokio::test]
async fn a_flag_arrives_by_tokens() {
    let secure = Secure::services();
    let redline = unmigrated_for_redline("tokens").await;
    let variables = secure
        .kafka_by_tokens()
        .and(secure.registry_by_token())
        .and(secure.postgres("good", &redline.name))
        .and(secure.redis("good", "redline"))
        .with("REDLINE_WORK__MARK_PREFIX", "connections-marks:");
    let migrated = redline.run_with(&["migrate"], &variables.pairs()).await;
    assert_eq!(migrated.code, 0, "{migrated:?}");
    a_flag_arrives(&redline, &variables).await;
    redline.remove().await;
}

#[tokio::test]
async fn tokens_are_fetched_again_before_they_expire() {
    let secure = Secure::services();
    let redline = plan("lifetimes").make().await;
    // The issuer's log names the scope of each token.
    let variables = secure
        .kafka_by_tokens()
        .with("REDLINE_KAFKA__OAUTH__SCOPE", "kafka again-and-again");
    let worker = redline.start("work", &variables.pairs());
    // One to look, one for each of its two clients, and then one more for each.
    until("five tokens are fetched", REST, async || {
        let log = std::fs::read_to_string(secure.text("issuer_log")).map_err(|error| error.to_string())?;
        let tokens = log
            .lines()
            .filter(|line| line.contains("again-and-again"))
            .count();
        if tokens >= 5 {
            Ok(())
        } else {
            Err(format!("it is {tokens}"))
        }
    })
    .await;
    // The broker has wanted the login again by now.
    let door = redline.ingest().await;
    door.accept("/v1/rows", &rows::example()).await;
    redline.wait_recorded(REST).await;
    redline.stop(vec![worker, door.process]).await;
    redline.remove().await;
}

#[tokio::test]
async fn a_role_at_work_waits_for_a_password_that_was_rotated_away_and_comes_back() {
    let secure = Secure::services();
    let redline = plan("rotated").make().await;
    let role = format!("rotated_{}", uuid::Uuid::new_v4().simple());
    let sql = async |statement: String| {
        sqlx::raw_sql(&statement)
            .execute(&redline.pool)
            .await
            .expect("the test may do everything");
    };
    sql(format!(
        "create role {role} login superuser password 'a-good-password'"
    ))
    .await;
    let url = secure.postgres("good", &redline.name);
    let url = url
        .pairs()
        .iter()
        .find(|(name, _)| *name == "DATABASE_URL")
        .expect("an address")
        .1
        .replace("//redline@", &format!("//{role}@"));
    let variables = secure.postgres("good", &redline.name).with("DATABASE_URL", &url);
    let is_connected = async || {
        let connected = redline
            .count("select count(*) from pg_stat_activity where usename like 'rotated%'")
            .await;
        if connected > 0 {
            Ok(())
        } else {
            Err("it is not".to_owned())
        }
    };
    let mut relay = redline.start("relay", &variables.pairs());
    relay.wait_for_log("the relay is at work", REST).await;
    // Who is still being let in is not seen as this user yet, and would not be sent away.
    until("the relay is connected", REST, is_connected).await;
    sql(format!("alter role {role} password 'another'")).await;
    sql(format!(
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = '{role}'"
    ))
    .await;
    let line = relay.wait_for_log("refuses the login", REST).await;
    assert!(line.contains("database.password"), "{line}");
    sql(format!("alter role {role} password 'a-good-password'")).await;
    until("the relay is connected again", REST, is_connected).await;
    redline.stop(vec![relay]).await;
    redline.remove().await;
}
