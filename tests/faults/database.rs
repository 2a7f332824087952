//! Postgres falls silent for a while.

use std::time::Duration;

use redline_tests::{Installation, Proxy};

use crate::running::{PATIENCE, SMALL_BATCHES, for_two_workers, small_batches_and};
use crate::stream::{assert_undisturbed, stream};
use crate::turns::beside_another;

/// A proxy before Postgres, switched off, and the installation's address through it.
pub(crate) async fn before_postgres(redline: &Installation) -> (Proxy, String) {
    let database = &redline.services.database;
    let (_, server) = database.split_once('@').expect("a user at a server");
    let (server, _) = server.split_once('/').expect("a server and a database");
    let proxy = Proxy::before(server).await;
    let url = redline.database_url.replace(server, &proxy.address().to_string());
    (proxy, url)
}

#[tokio::test]
async fn a_connection_to_postgres_that_falls_silent_is_given_up_and_stopping_still_takes_seconds() {
    let _turn = beside_another().await;
    let redline = for_two_workers("silent", 4).await;
    let (mut proxy, url) = before_postgres(&redline).await;
    proxy.on().await;
    let events = stream();
    let (first, rest) = events.split_at(events.len() / 2);
    let relay = redline.relay();
    // What could not be opened is opened in a moment, however seldom stopped partitions are looked at.
    let seldom = ("REDLINE_WORK__STOPPED_RECHECK_SECONDS", "3600");
    let one = redline.start("work", &small_batches_and(&[("DATABASE_URL", &url), seldom]));
    redline.produce_rows(first).await;
    redline.wait_recorded(PATIENCE).await;

    // The partitions of the first worker are given up, and half of them opened again, over a silent connection.
    proxy.silence();
    let other = redline.start("work", SMALL_BATCHES);
    redline.produce_rows(rest).await;
    redline.wait_recorded(PATIENCE).await;

    proxy.silence();
    let code = one.terminate(Duration::from_secs(25)).await;
    assert_eq!(code, 0);
    assert_undisturbed(redline, vec![relay, other]).await;
}
