//! What happens to Redis.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::AsyncCommands as _;
use redline_tests::{Services, harness, until};
use serde_json::Value;

use super::Peer;
use crate::run::{PATIENCE, Run};

async fn connect(url: &str) -> redis::aio::MultiplexedConnection {
    until("Redis answers", PATIENCE, async || {
        let client = redis::Client::open(url).map_err(|error| error.to_string())?;
        client
            .get_multiplexed_async_connection()
            .await
            .map_err(|error| error.to_string())
    })
    .await
}

async fn tell(connection: &mut redis::aio::MultiplexedConnection, words: &[&str]) {
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(*word);
    }
    let () = command
        .query_async(connection)
        .await
        .unwrap_or_else(|error| panic!("{words:?}: {error}"));
}

pub(super) async fn crashed(run: &mut Run) {
    for _ in 0..3 {
        run.go_on(40, 150).await;
        harness(&["restart", "redis", "--immediate"]).await;
    }
}

pub(super) async fn flushed(run: &mut Run) {
    let mut redis = connect(&run.redline.services.redis).await;
    for _ in 0..5 {
        run.go_on(40, 150).await;
        tell(&mut redis, &["FLUSHALL"]).await;
    }
}

/// Marks for every content of the stream, before any of them is sent.
pub(super) async fn lie(run: &mut Run) {
    let mut redis = connect(&run.redline.services.redis).await;
    let prefix = format!("{}:", run.redline.name);
    for part in run.known.messages.chunks(500) {
        let lies: Vec<(Vec<u8>, &str)> = part
            .iter()
            .map(|sent| ([prefix.as_bytes(), &sent.hash()].concat(), "1"))
            .collect();
        let () = redis.mset(&lies).await.expect("Redis takes marks");
    }
}

pub(super) async fn refusing_writes(run: &mut Run) {
    let mut redis = connect(&run.redline.services.redis).await;
    run.go_on(40, 150).await;
    tell(&mut redis, &["CONFIG", "SET", "maxmemory", "1"]).await;
    run.go_on(100, 250).await;
    run.pause(500, 2_500).await;
    tell(&mut redis, &["CONFIG", "SET", "maxmemory", "0"]).await;
}

/// A second Redis, which dies with this value.
struct Replica {
    child: Child,
    address: String,
}

impl Replica {
    fn start(run: &Run) -> Self {
        let state =
            fs::read_to_string(Services::folder().join("redis.json")).expect("the harness started Redis");
        let state: Value = serde_json::from_str(&state).expect("JSON");
        let binary = state["command"][0].as_str().expect("the binary's path");
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let child = Command::new(binary)
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args([
                "--save",
                "",
                "--appendonly",
                "no",
                "--repl-diskless-sync-delay",
                "0",
            ])
            .arg("--dir")
            .arg(run.redline.folder())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a second Redis starts");
        Self {
            child,
            address: format!("127.0.0.1:{port}"),
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) async fn failed_over(run: &mut Run) {
    let replica = Replica::start(run);
    let mut redis = connect(&format!("redis://{}/", replica.address)).await;
    let (_, first) = run.redline.services.redis.split_once("://").expect("an address");
    let first = first.trim_end_matches('/').to_owned();
    let (host, port) = first.split_once(':').expect("a host and a port");
    tell(&mut redis, &["REPLICAOF", host, port]).await;
    run.go_on(60, 150).await;
    run.proxy(Peer::Redis).lead_to(&replica.address);
    run.go_on(40, 150).await;
    run.pause(0, 2_000).await;
    tell(&mut redis, &["REPLICAOF", "NO", "ONE"]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    run.go_on(40, 150).await;
    // The replica ends with this run, and the first one is empty of what it marked since.
    run.proxy(Peer::Redis).lead_to(&first);
}
