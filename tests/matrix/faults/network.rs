//! What happens between workers and a service.

use std::time::Duration;

use super::Peer;
use crate::run::Run;

/// The registry is asked by those who start.
fn ask_again(run: &mut Run, peer: Peer) {
    if peer == Peer::Registry {
        let number = run.any_worker();
        run.replace_worker(number);
    }
}

pub(super) async fn cut(run: &mut Run, peer: Peer) {
    for _ in 0..2 {
        run.go_on(40, 150).await;
        for proxy in run.proxies(peer) {
            proxy.cut();
        }
        ask_again(run, peer);
        run.pause(2_000, 6_000).await;
        for proxy in run.proxies(peer) {
            proxy.mend();
        }
    }
}

pub(super) async fn slow(run: &mut Run, peer: Peer) {
    run.go_on(40, 100).await;
    let milliseconds = *run.random.choose(&[5, 20, 60, 300]);
    for proxy in run.proxies(peer) {
        proxy.delay(Duration::from_millis(milliseconds));
    }
    ask_again(run, peer);
    // Something new to judge the whole time, and not only repetitions.
    let recorded = run.recorded().await;
    run.feed.reach(recorded + 400);
    run.pause(3_000, 6_000).await;
    for proxy in run.proxies(peer) {
        proxy.delay(Duration::ZERO);
    }
}

pub(super) async fn reset(run: &mut Run, peer: Peer) {
    run.go_on(40, 100).await;
    for round in 0..10 {
        if round % 4 == 0 {
            ask_again(run, peer);
        }
        run.pause(50, 500).await;
        for proxy in run.proxies(peer) {
            proxy.reset();
        }
    }
}
