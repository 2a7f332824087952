//! A worker is stopped and continued, told to stop.

use std::time::{Duration, Instant};

use redline_tests::until;

use crate::feed::Feed;
use crate::running::{PATIENCE, SMALL_BATCHES, for_two_workers, owners, sole_owner, two_workers};
use crate::stream::{assert_undisturbed, stream};
use crate::turns::beside_another;

/// Within so long another worker records what one that stopped had: the session timeout of 1.5 s, the rest for a
/// busy machine.
const TAKEN_OVER: Duration = Duration::from_secs(15);

#[tokio::test]
async fn a_worker_that_stood_still_for_longer_than_its_timeouts_records_nothing_twice() {
    let _turn = beside_another().await;
    let redline = for_two_workers("stopped", 4).await;
    let relay = redline.relay();
    let [stopped, other] = two_workers(&redline, SMALL_BATCHES).await;
    let feed = Feed::of(&redline, &stream()).await;
    feed.midway(&redline, 2_500).await;

    stopped.process.stop();
    let began = Instant::now();
    let successor = sole_owner(&redline, TAKEN_OVER, &stopped.id).await;
    assert_eq!(
        successor, other.id,
        "the worker that goes on takes the partitions"
    );
    let after = began.elapsed();
    assert!(after < TAKEN_OVER, "taking over took {after:?}");
    let held = feed.hold().await;
    redline.wait_recorded(PATIENCE).await;
    drop(held);

    stopped.process.cont();
    until("the one that stood still works again", PATIENCE, async || {
        let count: i64 = sqlx::query_scalar("select count(*) from redline.positions where owner::text = $1")
            .bind(&stopped.id)
            .fetch_one(&redline.pool)
            .await
            .expect("positions can be read");
        if count > 0 {
            Ok(())
        } else {
            Err("it owns nothing".into())
        }
    })
    .await;
    feed.end().await;
    assert_undisturbed(redline, vec![relay, stopped.process, other.process]).await;
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_under_load_ends_in_ten_seconds_and_leaves_its_partitions_free() {
    let _turn = beside_another().await;
    let redline = for_two_workers("told", 4).await;
    let relay = redline.relay();
    let [told, other] = two_workers(&redline, SMALL_BATCHES).await;
    let feed = Feed::of(&redline, &stream()).await;
    feed.midway(&redline, 1_000).await;
    let code = told.process.terminate(Duration::from_secs(10)).await;
    assert_eq!(code, 0, "its exit code");
    let left: Vec<_> = owners(&redline)
        .await
        .into_iter()
        .filter(|(_, (id, _))| *id == told.id)
        .collect();
    assert!(left.is_empty(), "it still owns {left:?}");

    let successor = sole_owner(&redline, TAKEN_OVER, &told.id).await;
    assert_eq!(successor, other.id);
    let code = other.process.terminate(Duration::from_secs(10)).await;
    assert_eq!(code, 0, "the exit code of the last one");
    assert!(owners(&redline).await.is_empty(), "all partitions are free");
    let last = redline.start("work", SMALL_BATCHES);
    feed.end().await;
    assert_undisturbed(redline, vec![relay, last]).await;
}
