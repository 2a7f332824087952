//! What happens to workers.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redline_tests::{Stop, until};
use sqlx::Row as _;
use tokio::sync::oneshot;

use super::{Peer, Point};
use crate::run::{PATIENCE, Run};

pub(super) async fn killed(run: &mut Run) {
    for _ in 0..5 {
        run.go_on(40, 150).await;
        let victim = run.any_worker();
        run.replace_worker(victim);
    }
}

/// Whether a worker says something in these bytes.
type Recognise = fn(&[u8]) -> bool;

/// Whether bytes are said in an exchange.
fn says(bytes: &[u8], words: &[u8]) -> bool {
    bytes.windows(words.len()).any(|window| window == words)
}

/// A request to Kafka begins with its length and the number of what is asked; 8 is OffsetCommit.
fn commits_offsets(bytes: &[u8]) -> bool {
    bytes.get(4..6) == Some(&[0, 8])
}

fn commits(bytes: &[u8]) -> bool {
    says(bytes, b"COMMIT\0")
}

fn begins_copy(bytes: &[u8]) -> bool {
    says(bytes, b"copy redline.") || says(bytes, b"COPY redline.")
}

async fn has_tripped(tripped: oneshot::Receiver<()>) {
    tokio::time::timeout(PATIENCE, tripped)
        .await
        .expect("the point is reached")
        .expect("the proxy lives");
}

/// The first worker is killed where it is.
pub(super) async fn killed_at(run: &mut Run, point: Point) {
    for _ in 0..3 {
        run.go_on(20, 80).await;
        let spared = run.random.below(6);
        let (peer, stop, recognises): (Peer, Stop, Recognise) = match point {
            Point::BeforeCommit => (Peer::Postgres, Stop::Before, commits),
            Point::BeforeMark => (Peer::Postgres, Stop::After, commits),
            Point::InsideCopy => (Peer::Postgres, Stop::Within, begins_copy),
            Point::BeforeOffsets => (Peer::Kafka, Stop::Before, commits_offsets),
        };
        // One of Kafka's brokers coordinates the group, and it may be any.
        let tripped: Vec<_> = run
            .proxies(peer)
            .map(|proxy| Box::pin(has_tripped(proxy.trip(stop, spared, recognises))))
            .collect();
        let recorded = run.recorded().await;
        run.feed.reach(recorded + 400);
        futures_util::future::select_all(tripped).await;
        run.kill_worker(0);
        for (_, proxy) in &run.proxies {
            proxy.reset();
        }
        run.start_worker_at(0);
    }
}

/// What the first worker numbered first is committed last, and the other one's flags are published meanwhile.
pub(super) async fn held_at_commit(run: &mut Run) {
    /// New messages for a commit to hold, and for the other worker while it is held.
    const SOME: usize = 40;
    for _ in 0..3 {
        let commits_flags = commits_behind(run.redline.topics.flagged.clone());
        let held = run.proxy(Peer::Postgres).trip(Stop::Before, 0, commits_flags);
        run.feed.more(SOME);
        has_tripped(held).await;
        run.feed.more(SOME);
        // Less than its transaction may be idle.
        run.pause(400, 800).await;
        run.proxy(Peer::Postgres).release();
    }
}

/// Whether a worker commits, after it has said these words.
fn commits_behind(words: String) -> impl Fn(&[u8]) -> bool {
    let has_said = AtomicBool::new(false);
    move |bytes| {
        if says(bytes, words.as_bytes()) {
            has_said.store(true, Ordering::Relaxed);
        }
        has_said.load(Ordering::Relaxed) && commits(bytes)
    }
}

pub(super) async fn stopped(run: &mut Run) {
    for _ in 0..2 {
        run.go_on(40, 150).await;
        let victim = run.any_worker();
        run.workers[victim].stop();
        run.pause(2_000, 6_000).await;
        run.workers[victim].cont();
    }
}

pub(super) async fn stopped_inside_copy(run: &mut Run) {
    run.go_on(20, 80).await;
    let spared = run.random.below(6);
    let tripped = run.proxy(Peer::Postgres).trip(Stop::Within, spared, begins_copy);
    let recorded = run.recorded().await;
    run.feed.reach(recorded + 400);
    has_tripped(tripped).await;
    run.workers[0].stop();
    until("another worker records all partitions", PATIENCE, async || {
        let owners = sqlx::query(
            "select count(distinct owner), count(*) from redline.positions
             where topic = $1 and superseded_at is null and owner is not null",
        )
        .bind(&run.redline.topics.rows)
        .fetch_one(&run.redline.pool)
        .await
        .map_err(|error| error.to_string())?;
        match (owners.get::<i64, _>(0), owners.get::<i64, _>(1)) {
            (1, 4) => Ok(()),
            (owners, partitions) => Err(format!("{owners} workers record {partitions} partitions")),
        }
    })
    .await;
    run.go_on(20, 80).await;
    run.proxy(Peer::Postgres).release();
    run.workers[0].cont();
}

/// All workers die while entities wait to be derived again.
pub(super) async fn killed_while_deriving(run: &mut Run) {
    for _ in 0..3 {
        let recorded = run.recorded().await;
        run.feed.reach(recorded + 400);
        until("entities wait to be derived again", PATIENCE, async || {
            let dirty = run
                .redline
                .count(
                    "select (select count(*) from redline.dirty_entities)
                        + (select count(*) from redline.state_keys where dirty_since is not null)",
                )
                .await;
            match dirty {
                0 => Err("none does".to_owned()),
                _ => Ok(()),
            }
        })
        .await;
        for number in 0..run.workers.len() {
            run.replace_worker(number);
        }
        run.go_on(10, 60).await;
    }
}

pub(super) async fn come_and_go(run: &mut Run) {
    for _ in 0..8 {
        run.start_worker();
        run.pause(100, 900).await;
        let leaving = run.any_worker();
        let leaving = run.workers.remove(leaving);
        if run.random.one_in(2) {
            leaving.kill9();
        } else {
            let code = leaving.terminate(Duration::from_secs(30)).await;
            assert_eq!(code, 0, "a worker that is told to stop fails");
        }
    }
}

pub(super) async fn clocks_jump(run: &mut Run) {
    const HOUR: i64 = 3_600;
    for _ in 0..4 {
        run.go_on(30, 100).await;
        let seconds = *run
            .random
            .choose(&[-48 * HOUR, -HOUR, -1, 1, HOUR, 48 * HOUR, 400 * 24 * HOUR]);
        run.clock
            .as_ref()
            .expect("the fault asks for a clock")
            .set(seconds);
    }
    run.go_on(30, 100).await;
    run.clock.as_ref().expect("the fault asks for a clock").set(0);
}

/// Workers of the version before and of this one take turns.
pub(super) async fn side_by_side(run: &mut Run, previous: Option<PathBuf>) {
    for round in 0..4 {
        run.go_on(40, 150).await;
        run.use_binary(if round % 2 == 0 { previous.clone() } else { None });
        let number = run.any_worker();
        run.replace_worker(number);
    }
    run.use_binary(None);
}
