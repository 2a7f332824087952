//! A foreign producer that spreads the versions of one row over all partitions.

use redline_schemas::EventKind;
use redline_tests::{Random, Raw};

use crate::running::{SMALL_BATCHES, for_two_workers, owners, two_workers};
use crate::stream::{assert_undisturbed, stream};
use crate::turns::beside_another;

#[tokio::test]
async fn a_key_that_is_written_to_partitions_of_two_workers_is_counted_once() {
    let _turn = beside_another().await;
    let redline = for_two_workers("two-partitions", 4).await;
    let relay = redline.relay();
    let [one, other] = two_workers(&redline, SMALL_BATCHES).await;
    // One partition of each worker.
    let owners = owners(&redline).await;
    let of = |id: &str| {
        owners
            .iter()
            .find(|(_, (owner, _))| owner == id)
            .map(|(partition, _)| *partition)
    };
    let partitions = [of(&one.id), of(&other.id)].map(|found| found.expect("each has one"));
    let schema_id = redline.schema_id(EventKind::Row).await;
    let mut random = Random::new(Random::seed());
    let raws = stream()
        .iter()
        .map(|event| Raw {
            partition: Some(*random.choose(&partitions)),
            ..redline.raw(event, schema_id)
        })
        .collect();
    redline.kafka.produce_all(raws).await;
    redline.wait_recorded(crate::running::PATIENCE).await;
    let in_both = redline
        .count(
            "select count(*) from (select from redline.versions v join redline.positions p using (position_id)
             group by v.entity having count(distinct p.owner) = 2) e",
        )
        .await;
    assert!(in_both > 100, "{in_both} rows were recorded by both workers");
    assert_undisturbed(redline, vec![relay, one.process, other.process]).await;
}
