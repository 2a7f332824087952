//! What happens to the door, the relay and the registry.

use redline_tests::{harness, until};

use crate::run::{PATIENCE, Run};

pub(super) async fn relay_killed(run: &mut Run) {
    for _ in 0..5 {
        run.go_on(40, 150).await;
        run.pause(0, 60).await;
        run.replace_relay();
    }
}

pub(super) async fn relay_stopped(run: &mut Run) {
    run.go_on(40, 150).await;
    let stopped = run.relay.replace(run.redline.relay()).expect("a relay runs");
    stopped.stop();
    run.go_on(100, 200).await;
    let waiting = "select coalesce(min(outbox_id), 0)::bigint from redline.outbox";
    let oldest = run.redline.count(waiting).await;
    until("another relay publishes", PATIENCE, async || {
        match run.redline.count(waiting).await {
            found if found != oldest || found == 0 => Ok(()),
            found => Err(format!("message {found} still waits")),
        }
    })
    .await;
    stopped.cont();
    run.go_on(40, 100).await;
    // It goes on as the one that stands by, or leads again.
    run.workers.push(stopped);
}

pub(super) async fn ingest_killed(run: &mut Run) {
    for _ in 0..5 {
        run.go_on(30, 90).await;
        run.pause(0, 30).await;
        run.replace_door().await;
    }
}

pub(super) async fn registry_crashed(run: &mut Run) {
    run.go_on(40, 150).await;
    harness(&["stop", "registry", "--immediate"]).await;
    // This one knows no schema yet; the other one goes on with what it knows.
    let victim = run.any_worker();
    run.replace_worker(victim);
    run.pause(500, 3_000).await;
    harness(&["start", "registry"]).await;
}
