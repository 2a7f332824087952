//! Redis saves work and decides nothing.

use redline_tests::{Installation, Proxy, until};
use tokio::net::TcpListener;

use crate::feed::Feed;
use crate::running::{PATIENCE, for_two_workers, small_batches_and};
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

#[tokio::test]
async fn redis_flushed_in_the_middle_changes_nothing() {
    let _turn = beside_another().await;
    let redline = for_two_workers("flushed", 4).await;
    let url = own_database(&redline, 5);
    let variables = small_batches_and(&[("REDIS_URL", &url)]);
    let feed = Feed::of(&redline, &stream()).await;
    let roles = vec![
        redline.relay(),
        redline.start("work", &variables),
        redline.start("work", &variables),
    ];
    let mut connection = connect(&url).await;
    for at_least in [500, 1_500, 2_500, 3_500] {
        feed.midway(&redline, at_least).await;
        // Marks follow what is recorded.
        until("there are marks to flush", PATIENCE, async || {
            let marks: usize = redis::cmd("DBSIZE")
                .query_async(&mut connection)
                .await
                .expect("Redis answers");
            match marks {
                0 => Err("there are none".to_owned()),
                _ => Ok(()),
            }
        })
        .await;
        let () = redis::cmd("FLUSHDB")
            .query_async(&mut connection)
            .await
            .expect("Redis answers");
    }
    feed.end().await;
    assert_undisturbed(redline, roles).await;
}

#[tokio::test]
async fn redis_that_goes_away_or_never_answers_changes_nothing() {
    let _turn = beside_another().await;
    let redline = for_two_workers("no-redis", 4).await;
    let (mut proxy, leaving) = Proxy::before_url(&redline.services.redis).await;
    proxy.on().await;
    // Accepts, in the kernel, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let silent_url = format!("redis://{}/", silent.local_addr().expect("an address"));
    let feed = Feed::of(&redline, &stream()).await;
    let roles = vec![
        redline.relay(),
        redline.start("work", &small_batches_and(&[("REDIS_URL", &leaving)])),
        redline.start("work", &small_batches_and(&[("REDIS_URL", &silent_url)])),
    ];
    feed.midway(&redline, 1_000).await;
    proxy.off().await;
    feed.end().await;
    assert_undisturbed(redline, roles).await;
}
