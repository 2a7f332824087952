//! Postgres is restored to an earlier point, while Kafka and Redis have gone on: docs/guides/backup.md.

use std::process::Stdio;

use redline_schemas::Event;
use redline_tests::{Installation, Plan, checker, rows};
use tokio::process::Command;

use crate::facts::approval;
use crate::{REST, end, worker_and_relay};

/// A program of Postgres, on the installation's database.
async fn program(redline: &Installation, name: &str, arguments: &[&str]) {
    // What our own client reads behind the question mark means nothing to these.
    let address = redline.database_url.split('?').next().unwrap_or_default();
    let output = Command::new(name)
        .args(arguments)
        .args(["--dbname", address])
        .stdin(Stdio::null())
        .output()
        .await
        .expect("the programs of postgresql-client start");
    assert!(
        output.status.success(),
        "{name} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// What everything that was sent ends in, and how far each partition is recorded.
async fn outcome(redline: &Installation) -> (String, String, Vec<String>, checker::Totals) {
    let positions = redline
        .texts("select concat_ws(' ', topic, partition, next_offset) from redline.positions order by 1")
        .await;
    (
        checker::changes(redline).await,
        checker::standing_flags(redline).await,
        positions,
        checker::check(redline).await,
    )
}

#[tokio::test]
async fn a_database_restored_to_an_earlier_point_ends_as_if_it_had_never_gone_back() {
    let redline = Plan::new("restored").make().await;
    let processes = worker_and_relay(&redline);
    let row = |number: i64, version: i64, quantity: i64| {
        rows::row(&rows::billing(&format!("R-{number}"), version, quantity))
    };
    let rows_of = |version: i64| -> Vec<Event> {
        (0..20)
            .map(|number| row(number, version, 10 + version * number))
            .collect()
    };
    redline.produce_rows(&rows_of(1)).await;
    redline.produce_rows(&rows_of(2)).await;
    redline.wait_quiet(REST).await;
    redline.stop(processes).await;
    let earlier = redline
        .texts("select next_offset::text from redline.positions order by 1")
        .await;
    let dump = redline.folder().join("earlier.dump");
    let dump = dump.to_str().expect("text");
    program(
        &redline,
        "pg_dump",
        &["--format", "custom", "--schema", "redline", "--file", dump],
    )
    .await;

    // What the backup does not have: versions, the same again, new rows, an approval.
    let processes = worker_and_relay(&redline);
    redline.produce_rows(&rows_of(3)).await;
    redline.produce_rows(&rows_of(2)).await;
    redline.produce_rows(&[row(90, 1, 5), row(90, 2, 7)]).await;
    redline.produce(&[approval("a-1", "R-90", 9)]).await;
    redline.produce_rows(&[row(90, 3, 9)]).await;
    redline.wait_quiet(REST).await;
    redline.stop(processes).await;
    let expected = outcome(&redline).await;

    redline.execute("drop schema redline cascade").await;
    program(&redline, "pg_restore", &["--exit-on-error", dump]).await;
    assert_eq!(
        redline
            .texts("select next_offset::text from redline.positions order by 1")
            .await,
        earlier,
        "the positions went back"
    );
    // Redis still has the marks of what Postgres has forgotten, and Kafka's committed offsets are ahead.
    let processes = worker_and_relay(&redline);
    redline.wait_quiet(REST).await;
    assert_eq!(outcome(&redline).await, expected);
    redline.succeed(&["doctor", "--totals"]).await;
    redline.succeed(&["rederive"]).await;
    end(redline, processes).await;
}
