//! Redis saves work and decides nothing.

use redis::AsyncCommands as _;
use redline_schemas::{ContentHash, Event};
use redline_tests::{Installation, Proxy};
use tokio::net::TcpListener;

use crate::running::{for_two_workers, small_batches_and, wait_midway};
use crate::stream::{assert_undisturbed, stream};
use crate::turns::beside_another;

/// A database of Redis that no other test uses, so that it can be flushed.
fn own_database(redline: &Installation, number: u8) -> String {
    format!("{}/{number}", redline.services.redis.trim_end_matches('/'))
}

async fn connect(url: &str) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(url).expect("an address of Redis");
    client
        .get_multiplexed_async_connection()
        .await
        .expect("Redis answers")
}

/// The mark of a content.
fn mark(redline: &Installation, event: &Event) -> Vec<u8> {
    let hash = ContentHash::of(event.canonical().as_bytes());
    [format!("{}:", redline.name).as_bytes(), &hash.0].concat()
}

#[tokio::test]
async fn redis_flushed_in_the_middle_changes_nothing() {
    let _turn = beside_another().await;
    let redline = for_two_workers("flushed", 4).await;
    let events = stream();
    let url = own_database(&redline, 5);
    let variables = small_batches_and(&[("REDIS_URL", &url)]);
    redline.produce_rows(&events).await;
    let roles = vec![
        redline.relay(),
        redline.start("work", &variables),
        redline.start("work", &variables),
    ];
    let mut connection = connect(&url).await;
    for at_least in [500, 1_500, 2_500, 3_500] {
        wait_midway(&redline, at_least, events.len()).await;
        let marks: usize = redis::cmd("DBSIZE")
            .query_async(&mut connection)
            .await
            .expect("Redis answers");
        assert!(marks > 0, "there are no marks to flush");
        let () = redis::cmd("FLUSHDB")
            .query_async(&mut connection)
            .await
            .expect("Redis answers");
    }
    assert_undisturbed(redline, roles).await;
}

#[tokio::test]
async fn redis_full_of_marks_for_events_that_were_never_recorded_loses_nothing() {
    let _turn = beside_another().await;
    let redline = for_two_workers("lies", 4).await;
    let events = stream();
    let url = own_database(&redline, 6);
    let mut connection = connect(&url).await;
    let lies: Vec<(Vec<u8>, &str)> = events.iter().map(|event| (mark(&redline, event), "1")).collect();
    for part in lies.chunks(1_000) {
        let () = connection.mset(part).await.expect("Redis answers");
    }
    // One that is never sent shows that the marks are the workers' own.
    let variables = small_batches_and(&[("REDIS_URL", &url)]);
    redline.produce_rows(&events).await;
    let roles = vec![
        redline.relay(),
        redline.start("work", &variables),
        redline.start("work", &variables),
    ];
    wait_midway(&redline, 500, events.len()).await;
    let lifetime: i64 = connection.ttl(&lies[0].0).await.expect("Redis answers");
    assert!(
        lifetime > 0,
        "the lie was no mark of the workers: they did not write it again with a lifetime"
    );
    assert_undisturbed(redline, roles).await;
}

#[tokio::test]
async fn redis_that_goes_away_or_never_answers_changes_nothing() {
    let _turn = beside_another().await;
    let redline = for_two_workers("no-redis", 4).await;
    let events = stream();
    let (mut proxy, leaving) = Proxy::before_url(&redline.services.redis).await;
    proxy.on().await;
    // Accepts, in the kernel, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let silent_url = format!("redis://{}/", silent.local_addr().expect("an address"));
    redline.produce_rows(&events).await;
    let roles = vec![
        redline.relay(),
        redline.start("work", &small_batches_and(&[("REDIS_URL", &leaving)])),
        redline.start("work", &small_batches_and(&[("REDIS_URL", &silent_url)])),
    ];
    wait_midway(&redline, 1_000, events.len()).await;
    proxy.off().await;
    assert_undisturbed(redline, roles).await;
}
