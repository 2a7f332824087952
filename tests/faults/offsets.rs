//! Kafka's committed offsets are advice.

use std::time::Duration;

use crate::cluster::{commit_by_hand, committed};
use crate::running::{SMALL_BATCHES, for_two_workers, recorded, wait_midway};
use crate::stream::{assert_undisturbed, stream};
use crate::turns::beside_another;

#[tokio::test]
async fn committed_offsets_that_are_reset_or_moved_ahead_by_hand_change_nothing() {
    let _turn = beside_another().await;
    let redline = for_two_workers("offsets", 4).await;
    let events = stream();
    redline.produce_rows(&events).await;
    let ends = redline.kafka.log_ends(&redline.topics.rows).await;
    let zero = ends.keys().map(|partition| (*partition, 0)).collect();
    let ahead = ends
        .iter()
        .map(|(partition, (_, end))| (*partition, *end))
        .collect();

    for (at_least, by_hand) in [(800, zero), (2_400, ahead)] {
        let workers = vec![
            redline.start("work", SMALL_BATCHES),
            redline.start("work", SMALL_BATCHES),
        ];
        wait_midway(&redline, at_least, events.len()).await;
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
        commit_by_hand(&redline, &by_hand).await;
    }
    let roles = vec![
        redline.start("work", SMALL_BATCHES),
        redline.start("work", SMALL_BATCHES),
        redline.relay(),
    ];
    assert_undisturbed(redline, roles).await;
}
