//! What cannot be accepted is published with its bytes, its reason and where it came from.

use std::collections::BTreeMap;

use sqlx::Row as _;

use crate::installation::Installation;
use crate::kafka::Read;

pub(super) async fn check(installation: &Installation) {
    let topic = &installation.topics.quarantine;
    let mut published: BTreeMap<(String, i32, i64), Vec<Read>> = BTreeMap::new();
    for record in installation.kafka.read(topic).await {
        let header = |name: &str| {
            record
                .header(name)
                .unwrap_or_else(|| panic!("a quarantined record has no header {name}: {record:?}"))
        };
        let place = (
            header("redline-topic"),
            header("redline-partition").parse().expect("a partition"),
            header("redline-offset").parse().expect("an offset"),
        );
        published.entry(place).or_default().push(record);
    }
    let rows = sqlx::query(
        "select topic, partition, \"offset\", reason, detail, key, value from redline.quarantine order by quarantine_id",
    )
    .fetch_all(&installation.pool)
    .await
    .expect("the quarantine can be read");
    let kept: BTreeMap<(String, i32, i64), _> = rows
        .iter()
        .map(|row| ((row.get(0), row.get(1), row.get(2)), row))
        .collect();
    assert_eq!(
        published.keys().collect::<Vec<_>>(),
        kept.keys().collect::<Vec<_>>(),
        "the records in {topic} are not those in the table"
    );
    for (place, row) in kept {
        for record in &published[&place] {
            assert_eq!(
                record.header("redline-reason"),
                row.get(3),
                "the reason at {place:?}"
            );
            assert_eq!(
                record.header("redline-detail"),
                row.get(4),
                "the detail at {place:?}"
            );
            assert_eq!(
                record.key,
                row.get::<Option<Vec<u8>>, _>(5),
                "the key at {place:?}"
            );
            assert_eq!(
                record.value,
                row.get::<Option<Vec<u8>>, _>(6),
                "the bytes at {place:?}"
            );
        }
    }
}
