//! The fence itself: who lost a partition cannot record.

use std::collections::BTreeMap;
use std::sync::Arc;

use redline_domain::finding::Ledger;
use redline_schemas::fact::Fact;
use redline_schemas::{ContentHash, Timestamp};
use redline_store::facts::{self, NewFact};
use redline_store::positions::{KafkaPartition, Opened, Position, open, reclaim};
use redline_store::record::{Outcome, Range, RecordOutcome, Recording, record};
use redline_store::sqlx::{Connection as _, PgConnection};
use redline_store::{Class, StoreError, Timeouts, recording_connection};
use redline_tests::{Installation, Plan, until};
use uuid::Uuid;

use crate::turns::beside_another;

fn partition() -> KafkaPartition {
    KafkaPartition {
        topic: "redline.rows".to_owned(),
        topic_id: "an-id".to_owned(),
        partition: 0,
        log_start: 0,
        log_end: 100,
    }
}

async fn connect(redline: &Installation) -> PgConnection {
    recording_connection(&redline.database_url, "work", Timeouts::default())
        .await
        .expect("Postgres answers")
}

async fn opened(connection: &mut PgConnection, owner: Uuid) -> Position {
    match open(connection, &partition(), owner, 0)
        .await
        .expect("Postgres answers")
    {
        Opened::At(position) => position,
        Opened::Stopped(stopped) => panic!("the partition is stopped: {stopped:?}"),
    }
}

/// A batch of duplicates; only the position and the control totals move.
fn batch(position: &Position, from: i64, to: i64) -> Recording {
    let ledger = Ledger {
        topic: "redline.rows".to_owned(),
        incarnation: position.incarnation.clone(),
        partition: 0,
    };
    let records = (from..to).map(|offset| RecordOutcome {
        offset,
        outcome: Outcome::Duplicate,
        hash: ContentHash::of(b"x"),
    });
    Recording {
        ranges: vec![Range {
            position_id: position.position_id,
            ledger: Arc::new(ledger),
            from,
            to,
            watermark: None,
            records: records.collect(),
            sums: BTreeMap::new(),
        }],
        generation: 1,
        ..Recording::default()
    }
}

/// The batch with a fact in it.
fn with_a_fact(batch: Recording) -> Recording {
    let fact = Fact::rules("later", 0, Timestamp::FIRST, "test", "");
    let content = fact.canonical();
    Recording {
        facts: vec![NewFact {
            hash: ContentHash::of(content.as_bytes()),
            fact,
            content,
        }],
        ..batch
    }
}

#[tokio::test]
async fn what_was_judged_before_a_fact_cannot_be_recorded_after_it() {
    let _turn = beside_another().await;
    let redline = Plan::new("fence-facts").make().await;
    let mut one = connect(&redline).await;
    let position = opened(&mut one, Uuid::new_v4()).await;
    // Somebody is about to record under the facts as they are.
    let mut other = connect(&redline).await;
    let mut holder = other.begin().await.expect("a transaction");
    facts::hold(&mut holder).await.expect("the lock");
    let bringing = with_a_fact(batch(&position, 0, 3));
    let bringing = tokio::spawn(async move {
        record(&mut one, &bringing).await.expect("the fact is recorded");
        one
    });
    until(
        "the one with the fact waits",
        std::time::Duration::from_secs(30),
        async || {
            let waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted
            and database = (select oid from pg_database where datname = current_database())";
            match redline.count(waiting).await {
                0 => Err("nobody waits".to_owned()),
                _ => Ok(()),
            }
        },
    )
    .await;
    holder.commit().await.expect("what was held is committed first");
    let mut one = bringing.await.expect("it goes on");
    let error = record(&mut one, &batch(&position, 3, 5))
        .await
        .expect_err("it was judged under the first generation");
    assert!(matches!(error, StoreError::FactsChanged), "{error}");
    assert_eq!(ranges(&redline).await, ["0-3"]);
    let judged_again = Recording {
        generation: 2,
        ..batch(&position, 3, 5)
    };
    record(&mut one, &judged_again).await.expect("judged again");
    assert_eq!(ranges(&redline).await, ["0-3", "3-5"]);
    for connection in [one, other] {
        let _ = connection.close().await;
    }
    redline.remove().await;
}

async fn ranges(redline: &Installation) -> Vec<String> {
    redline
        .texts("select first_offset || '-' || next_offset from redline.control_totals order by first_offset")
        .await
}

#[tokio::test]
async fn a_worker_that_lost_its_partition_cannot_record() {
    let _turn = beside_another().await;
    let redline = Plan::new("fence").make().await;
    let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
    let mut old = connect(&redline).await;
    let position = opened(&mut old, one).await;
    record(&mut old, &batch(&position, 0, 5))
        .await
        .expect("the owner records");

    let mut new = connect(&redline).await;
    let taken = opened(&mut new, other).await;
    assert_eq!(taken.next_offset, 5, "the successor goes on at the position");
    // Its backend is ended, so it notices.
    let error = record(&mut old, &batch(&position, 5, 9))
        .await
        .expect_err("its connection is gone");
    assert_eq!(error.class(), Class::TryAgain, "{error}");
    assert_eq!(ranges(&redline).await, ["0-5"]);

    // Connected again it owns nothing any more, and once the successor has recorded, it can never record.
    let mut again = connect(&redline).await;
    let owned = reclaim(&mut again, one).await.expect("Postgres answers");
    assert!(owned.is_empty(), "it reclaims {owned:?}");
    record(&mut new, &batch(&taken, 5, 7))
        .await
        .expect("the successor records");
    let error = record(&mut again, &batch(&position, 5, 9))
        .await
        .expect_err("the position moved");
    assert!(matches!(error, StoreError::PositionMoved), "{error}");
    assert_eq!(ranges(&redline).await, ["0-5", "5-7"]);
    let next = redline.count("select next_offset from redline.positions").await;
    assert_eq!(next, 7, "the position is the successor's");
    for connection in [again, new] {
        let _ = connection.close().await;
    }
    redline.remove().await;
}

#[tokio::test]
async fn a_transaction_that_stands_open_inside_the_recording_is_ended_by_the_successor() {
    let _turn = beside_another().await;
    let redline = Plan::new("fence-open").make().await;
    let mut old = connect(&redline).await;
    let position = opened(&mut old, Uuid::new_v4()).await;
    let mut transaction = old.begin().await.expect("a transaction");
    redline_store::sqlx::query("update redline.positions set next_offset = 50 where position_id = $1")
        .bind(position.position_id)
        .execute(&mut *transaction)
        .await
        .expect("the row is locked");

    let mut new = connect(&redline).await;
    let began = std::time::Instant::now();
    let taken = opened(&mut new, Uuid::new_v4()).await;
    assert!(began.elapsed().as_secs() < 5, "it took {:?}", began.elapsed());
    assert_eq!(taken.next_offset, 0, "the open transaction left nothing");
    record(&mut new, &batch(&taken, 0, 3))
        .await
        .expect("the successor records");
    transaction.commit().await.expect_err("its backend is gone");
    assert_eq!(ranges(&redline).await, ["0-3"]);
    let _ = new.close().await;
    redline.remove().await;
}
