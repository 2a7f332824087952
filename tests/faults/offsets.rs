//! Kafka's committed offsets are advice.

use std::time::Duration;

use crate::feed::Feed;
use crate::running::{SMALL_BATCHES, for_two_workers, recorded};
use crate::stream::{assert_undisturbed, stream};
use crate::turns::beside_another;
use redline_tests::cluster::{commit_by_hand, committed};

#[tokio::test]
async fn committed_offsets_that_are_reset_or_moved_ahead_by_hand_change_nothing() {
    let _turn = beside_another().await;
    let redline = for_two_workers("offsets", 4).await;
    let events = stream();
    let feed = Feed::of(&redline, &events).await;
    for (at_least, is_ahead) in [(800, false), (2_400, true)] {
        let workers = vec![
            redline.start("work", SMALL_BATCHES),
            redline.start("work", SMALL_BATCHES),
        ];
        feed.midway(&redline, at_least).await;
        for worker in workers {
            assert_eq!(worker.terminate(Duration::from_secs(30)).await, 0);
        }
        let seen: i64 = committed(&redline)
            .await
            .values()
            .filter(|offset| **offset > 0)
            .sum();
        assert!(
            0 < seen && seen <= recorded(&redline).await,
            "those who watch the group see how far recording is, and never more: {seen}"
        );
        // The workers have gone: nobody has recorded what stands between them and the end.
        let held = feed.hold().await;
        let ends = redline.kafka.log_ends(&redline.topics.rows).await;
        let by_hand = ends
            .iter()
            .map(|(partition, (_, end))| (*partition, if is_ahead { *end } else { 0 }))
            .collect();
        commit_by_hand(&redline, &by_hand).await;
        drop(held);
    }
    let roles = vec![
        redline.start("work", SMALL_BATCHES),
        redline.start("work", SMALL_BATCHES),
        redline.relay(),
    ];
    feed.end().await;
    assert_undisturbed(redline, roles).await;
}
