//! What the roles need of Postgres, and no more: docker/postgres/roles.psql.

use std::process::Stdio;

use redline_tests::{Installation, Plan, checker, rows};
use sqlx::{Connection as _, PgConnection};
use tokio::process::Command;

use crate::REST;

/// Runs psql as the tests' superuser.
async fn psql(server: &str, arguments: &[&str]) {
    let output = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1"])
        .args(arguments)
        .arg(server)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("psql (package postgresql-client) starts");
    assert!(
        output.status.success(),
        "psql {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The address of the installation's database for another user.
fn address_for(redline: &Installation, user: &str) -> String {
    let (scheme, rest) = redline
        .database_url
        .split_once("://")
        .expect("an address has a scheme");
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    format!("{scheme}://{user}:secret-of-{user}@{place}")
}

#[tokio::test]
async fn all_roles_run_with_the_rights_in_postgres_that_the_guide_gives_them() {
    let redline = Plan::new("rights").rows_are_shared().unmigrated().await;
    let (name, server) = (redline.name.clone(), redline.services.database.clone());
    let (owner, user) = (format!("{name}-owner"), format!("{name}-user"));
    // The database that every test is given belongs to the superuser: this one is made as the guide says.
    psql(&server, &["--command", &format!("drop database \"{name}\"")]).await;
    let roles = concat!(env!("CARGO_MANIFEST_DIR"), "/../docker/postgres/roles.psql");
    psql(
        &server,
        &[
            "--set",
            &format!("database={name}"),
            "--set",
            &format!("owner={owner}"),
            "--set",
            &format!("owner_password=secret-of-{owner}"),
            "--set",
            &format!("user={user}"),
            "--set",
            &format!("user_password=secret-of-{user}"),
            "--file",
            roles,
        ],
    )
    .await;
    let (as_owner, as_user) = (address_for(&redline, &owner), address_for(&redline, &user));
    let limited = [("DATABASE_URL", as_user.as_str())];

    assert_eq!(redline.run_with(&["migrate"], &limited).await.code, 1);
    let ended = redline
        .run_with(&["migrate"], &[("DATABASE_URL", as_owner.as_str())])
        .await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);

    let made = ["key", "create", "limited", "--scope", "rows"];
    assert_eq!(redline.run_with(&made, &limited).await.code, 0);
    let door = redline.ingest_with(&limited).await;
    let first = redline.start("work", &limited);
    let mut processes = vec![redline.start("relay", &limited)];
    door.accept("/v1/rows", &rows::billing("R-1", 1, 10)).await;
    redline.wait_quiet(REST).await;
    // Whoever takes over ends the connection of a worker that stands still.
    first.stop();
    processes.push(redline.start("work", &limited));
    door.accept("/v1/rows", &rows::billing("R-1", 2, 12)).await;
    redline.wait_quiet(REST).await;
    first.kill9();
    for arguments in [
        &["doctor", "--quiet", "--wait", "30"][..],
        &["doctor"],
        &["position", "list"],
        &["quarantine", "list"],
        &["rules", "list"],
        &["reference", "list"],
        &["approvals", "list"],
    ] {
        let ended = redline.run_with(arguments, &limited).await;
        assert_eq!(ended.code, 0, "{arguments:?}: {}", ended.stderr);
    }
    assert_eq!(checker::check(&redline).await.accepted, 2);
    assert_eq!(
        redline
            .texts("select kind from redline.flags where \"column\" = 'Quantity'")
            .await,
        ["retroactive_change"]
    );

    let mut connection = PgConnection::connect(&as_user)
        .await
        .expect("the user may connect");
    for refused in [
        "truncate redline.events",
        "drop table redline.events",
        "alter table redline.flags add column more text",
        "create table redline.more ()",
        "create table public.more ()",
    ] {
        let error = sqlx::raw_sql(refused).execute(&mut connection).await;
        let error = error.err().unwrap_or_else(|| panic!("the user may {refused}"));
        let code = error
            .as_database_error()
            .and_then(|error| error.code())
            .unwrap_or_default();
        assert_eq!(code, "42501", "{refused}: {error}");
    }
    connection.close().await.expect("the connection closes");

    // Only the owner removes what is old.
    let mut owning = PgConnection::connect(&as_owner)
        .await
        .expect("the owner may connect");
    sqlx::raw_sql(
        "create table redline.events_2001_01 partition of redline.events
         for values from ('2001-01-01T00:00:00Z') to ('2001-02-01T00:00:00Z')",
    )
    .execute(&mut owning)
    .await
    .expect("the owner makes partitions");
    owning.close().await.expect("the connection closes");
    let months = ("REDLINE_RETENTION__EVENTS_MONTHS", "12");
    let ended = redline.run_with(&["retention"], &[limited[0], months]).await;
    assert_eq!(ended.code, 1);
    assert!(
        ended.stderr.contains("who owns the tables, may remove events"),
        "{}",
        ended.stderr
    );
    let ended = redline
        .run_with(&["retention"], &[("DATABASE_URL", as_owner.as_str()), months])
        .await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        ended.stdout.contains("removed events_2001_01"),
        "{}",
        ended.stdout
    );

    processes.push(door.process);
    redline.stop(processes).await;
    redline.remove().await;
    let drop = format!("drop role \"{owner}\", \"{user}\"");
    psql(&server, &["--command", &drop]).await;
}
