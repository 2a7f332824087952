//! What happens to Kafka.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use redline_tests::cluster::{commit_by_hand, wait_for_kafka};
use redline_tests::{harness, stand_still};

use super::brokers;
use crate::run::Run;

/// The name that the harness has for one of the brokers.
fn any_broker(run: &mut Run) -> &'static str {
    ["kafka", "kafka-2", "kafka-3"][run.random.below(brokers())]
}

pub(super) async fn broker_killed(run: &mut Run) {
    for _ in 0..2 {
        run.go_on(40, 150).await;
        let broker = any_broker(run);
        harness(&["stop", broker, "--immediate"]).await;
        run.pause(500, 6_000).await;
        harness(&["start", broker]).await;
        wait_for_kafka(&run.redline).await;
    }
}

pub(super) async fn stopped(run: &mut Run) {
    run.go_on(40, 150).await;
    let broker = any_broker(run);
    let still = stand_still(broker).await;
    run.pause(4_000, 9_000).await;
    still.go_on().await;
    wait_for_kafka(&run.redline).await;
}

pub(super) async fn offsets_moved(run: &mut Run) {
    for _ in 0..2 {
        run.go_on(60, 200).await;
        // Kafka lets offsets be set only when nobody is left in the group.
        for worker in std::mem::take(&mut run.workers) {
            assert_eq!(worker.terminate(Duration::from_secs(30)).await, 0);
        }
        let is_ahead = run.random.one_in(2);
        let ends = run.redline.kafka.log_ends(&run.redline.topics.rows).await;
        let by_hand = ends
            .iter()
            .map(|(partition, (_, end))| (*partition, if is_ahead { *end } else { 0 }))
            .collect();
        commit_by_hand(&run.redline, &by_hand).await;
        run.start_worker();
        run.start_worker();
    }
}

pub(super) async fn partitions_added(run: &mut Run) {
    run.go_on(60, 200).await;
    let admin: AdminClient<DefaultClientContext> =
        run.redline.kafka.config().create().expect("a Kafka client");
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
    let more = 5 + run.random.below(4);
    let made = admin
        .create_partitions(&[NewPartitions::new(&run.redline.topics.rows, more)], &options)
        .await
        .expect("Kafka answers");
    for result in made {
        result.unwrap_or_else(|(topic, code)| panic!("{topic} gets no partitions: {code}"));
    }
    run.go_on(200, 300).await;
}
