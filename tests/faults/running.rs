//! What the tests ask of a running installation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use redline_tests::{Installation, Plan, Process, until};
use sqlx::Row as _;

/// Long enough for a busy machine; a test that waits so long fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// Settings of workers: many small transactions, so that a fault hits between and inside them, and short timeouts,
/// so that what stopped is noticed soon.
pub(crate) const SMALL_BATCHES: &[(&str, &str)] = &[
    ("REDLINE_WORK__BATCH_RECORDS", "50"),
    ("REDLINE_WORK__LINGER_MILLISECONDS", "5"),
    ("REDLINE_WORK__SESSION_TIMEOUT_MILLISECONDS", "1500"),
    ("REDLINE_WORK__STATEMENT_TIMEOUT_MILLISECONDS", "3000"),
    ("REDLINE_WORK__LOCK_TIMEOUT_MILLISECONDS", "1000"),
    ("REDLINE_WORK__IDLE_IN_TRANSACTION_TIMEOUT_MILLISECONDS", "1000"),
];

/// [`SMALL_BATCHES`] and something more.
pub(crate) fn small_batches_and<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    SMALL_BATCHES.iter().chain(more).copied().collect()
}

/// Records in the control totals.
pub(crate) async fn recorded(redline: &Installation) -> i64 {
    let recorded = redline_tests::pace::recorded(&redline.pool).await;
    i64::try_from(recorded.expect("Postgres answers")).expect("few records")
}

/// Who records each partition of the rows' topic: the worker's own id and its backend, by partition.
pub(crate) async fn owners(redline: &Installation) -> BTreeMap<i32, (String, i32)> {
    let rows = sqlx::query(
        "select partition, owner::text, owner_backend_pid from redline.positions
         where topic = $1 and superseded_at is null and owner is not null",
    )
    .bind(&redline.topics.rows)
    .fetch_all(&redline.pool)
    .await
    .expect("positions can be read");
    rows.iter()
        .map(|row| (row.get(0), (row.get(1), row.get(2))))
        .collect()
}

/// A running worker and its own id.
pub(crate) struct Worker {
    pub(crate) process: Process,
    pub(crate) id: String,
}

/// Waits until one worker records all partitions of the rows' topic; answers its id.
pub(crate) async fn sole_owner(redline: &Installation, limit: Duration, but: &str) -> String {
    until("one worker records all partitions", limit, async || {
        let owners = owners(redline).await;
        let ids: BTreeSet<&String> = owners.values().map(|(id, _)| id).collect();
        match ids.into_iter().collect::<Vec<_>>()[..] {
            [id] if id != but && owners.len() == usize::try_from(redline.partitions).unwrap_or(0) => {
                Ok(id.clone())
            }
            _ => Err(format!("they are recorded by {owners:?}")),
        }
    })
    .await
}

/// An installation in which two workers share the partitions of rows.
pub(crate) async fn for_two_workers(name: &str, partitions: i32) -> Installation {
    Plan::new(name)
        .partitions(partitions)
        .rows_are_shared()
        .make()
        .await
}

/// Starts two workers in an installation made by [`for_two_workers`], and waits until each records at least one partition of the rows' topic.
pub(crate) async fn two_workers(redline: &Installation, variables: &[(&str, &str)]) -> [Worker; 2] {
    let one = redline.start("work", variables);
    let first = sole_owner(redline, PATIENCE, "").await;
    let two = redline.start("work", variables);
    let second = until("two workers share the partitions", PATIENCE, async || {
        let owners = owners(redline).await;
        let all = owners.len() == usize::try_from(redline.partitions).unwrap_or(0);
        match owners.values().find(|(id, _)| *id != first) {
            Some((id, _)) if all && owners.values().any(|(id, _)| *id == first) => Ok(id.clone()),
            _ => Err(format!("they are recorded by {owners:?}")),
        }
    })
    .await;
    let worker = |process, id| Worker { process, id };
    [worker(one, first), worker(two, second)]
}
