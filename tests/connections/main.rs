//! Connections over TLS with a login, to real servers: what works with good settings, and what is told with bad ones.

#![allow(clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

mod doctor;
mod kafka;
mod pooler;
mod postgres;
mod redis;
mod registry;
mod whole;

use redline_tests::{Ended, Installation, Plan, Secure};

/// An installation whose test talks to the encrypted servers in plain text; its processes are told to do otherwise.
fn plan(name: &str) -> Plan {
    Plan::new(&format!("connections-{name}")).on(Secure::services().in_plain_text())
}

async fn unmigrated(name: &str) -> Installation {
    plan(name).unmigrated().await
}

/// It ended by itself with one sentence that has all these parts, and told no secret.
fn assert_told(ended: &Ended, parts: &[&str]) {
    let secure = Secure::services();
    assert_eq!(ended.code, 1, "{ended:?}");
    let sentence = ended.stderr.lines().find(|line| line.starts_with("redline: "));
    let sentence = sentence.unwrap_or_else(|| panic!("nothing is told: {ended:?}"));
    for part in parts {
        assert!(sentence.contains(part), "`{part}` is not in: {sentence}");
    }
    for secret in ["password", "client_secret", "token"] {
        let told = ended.stderr.contains(secure.text(secret)) || ended.stdout.contains(secure.text(secret));
        assert!(
            !told && !ended.stderr.contains("a-bad-"),
            "a secret is told: {ended:?}"
        );
    }
}
