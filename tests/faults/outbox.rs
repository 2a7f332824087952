//! The outbox: numbers are given out before transactions commit.

use redline_tests::{Plan, until};

use crate::running::{PATIENCE, SMALL_BATCHES};
use crate::stream::{assert_undisturbed, stream};
use crate::turns::beside_another;

#[tokio::test]
async fn a_message_with_a_lower_number_that_is_committed_late_arrives_too() {
    let _turn = beside_another().await;
    let redline = Plan::new("late-number").make().await;
    let events = stream();
    // A topic that nobody else writes or reads.
    let topic = format!("{}.late", redline.name);
    redline.kafka.create_topic(&topic, 1, &[]).await;
    let mut late = redline.pool.begin().await.expect("a transaction");
    let number: i64 = sqlx::query_scalar(
        "insert into redline.outbox (topic, key, value, headers) values ($1, 'late', 'still here', '[]')
         returning outbox_id",
    )
    .bind(&topic)
    .fetch_one(&mut *late)
    .await
    .expect("a message");

    let roles = vec![redline.relay(), redline.start("work", SMALL_BATCHES)];
    redline.produce_rows(&events).await;
    redline.wait_quiet(PATIENCE).await;
    let higher: bool = sqlx::query_scalar(
        "select nextval(pg_get_serial_sequence('redline.outbox', 'outbox_id')) > $1 + 1000",
    )
    .bind(number)
    .fetch_one(&redline.pool)
    .await
    .expect("the sequence");
    assert!(higher, "many messages with higher numbers were relayed meanwhile");
    assert!(
        redline.kafka.read(&topic).await.is_empty(),
        "it is not committed yet"
    );

    late.commit().await.expect("a commit");
    until("the late message arrives", PATIENCE, async || {
        let arrived = redline.kafka.read(&topic).await;
        match &arrived[..] {
            [] => Err("nothing arrived".to_owned()),
            [read, ..] => {
                let found = (read.key.as_deref(), read.value.as_deref());
                assert_eq!(found, (Some(&b"late"[..]), Some(&b"still here"[..])));
                Ok(())
            }
        }
    })
    .await;
    assert_undisturbed(redline, roles).await;
}
