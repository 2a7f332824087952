//! `redline demo`: the first minute of whoever tries it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use redline_tests::{Demo, Ended, Services, until};

/// How long a small sheet may take until it is judged.
const JUDGED: Duration = Duration::from_secs(180);
/// A demo that is told to stop ends at once, on a machine that has other things to do as well.
const STOPPED: Duration = Duration::from_secs(10);

fn found_everything(ended: &Ended) {
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    for words in [
        "Everything that was planted was found",
        "retroactive_change",
        "in plain words",
    ] {
        assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
    }
    assert_eq!(ended.stderr, "", "nothing is said but what is to be read");
}

#[tokio::test]
async fn a_demo_finds_what_it_planted_and_the_next_one_says_that_it_did_before() {
    let demo = Demo::default();
    let first = demo.run(&["--once"], &[]).await;
    found_everything(&first);
    assert!(first.stdout.contains("Flagged first, after"), "{}", first.stdout);

    let mut second = demo.start(&[]);
    second.wait_for_log("It goes on with an edit", JUDGED).await;
    let told = second.log();
    assert!(
        told.contains("An earlier start has recorded this sheet"),
        "{told}"
    );
    assert!(!told.contains("Flagged first, after"), "nothing is new: {told}");
    assert!(told.contains("Everything that was planted was found"), "{told}");
    assert_eq!(second.terminate(STOPPED).await, 0);

    for from_nothing in [&["--once"][..], &["--once", "--seed", "2"]] {
        let ended = demo.run(from_nothing, &[]).await;
        found_everything(&ended);
        assert!(ended.stdout.contains("Flagged first, after"), "{}", ended.stdout);
    }
}

#[tokio::test]
async fn everything_that_a_demo_tells_to_look_at_is_there_and_it_stops_when_told() {
    let demo = Demo::default();
    let mut process = demo.start(&[]);
    process.wait_for_log("It goes on with an edit", JUDGED).await;
    let told = process.log();
    let behind = |words: &str| {
        let line = told
            .lines()
            .find_map(|line| line.split_once(words))
            .map(|(_, rest)| rest.trim());
        line.unwrap_or_else(|| panic!("{words}: {told}")).to_owned()
    };
    let (address, key) = (behind("HTTP      "), behind("KEY="));
    let history = told
        .lines()
        .find_map(|line| {
            line.trim()
                .strip_prefix(&address)
                .filter(|path| path.ends_with("/history"))
        })
        .expect("a history is named");
    let client = redline_tests::http_client();
    for path in ["/v1/flags?risk=HIGH&limit=5", history] {
        let answer = client
            .get(format!("{address}{path}"))
            .bearer_auth(&key)
            .send()
            .await
            .expect("it answers");
        assert_eq!(answer.status(), 200, "{path}");
        let body: serde_json::Value = answer.json().await.expect("JSON");
        assert!(
            !body["items"].as_array().expect("items").is_empty(),
            "{path}: {body}"
        );
    }
    let metrics = client
        .get(format!("{address}/metrics"))
        .send()
        .await
        .expect("it answers");
    assert!(metrics.text().await.expect("text").contains("# TYPE"));

    let second = demo.run(&["--once"], &[]).await;
    assert_eq!(second.code, 1, "{}", second.stdout);
    assert!(
        second.stderr.contains("another demo (process"),
        "{}",
        second.stderr
    );
    assert!(second.stderr.contains("--folder"), "{}", second.stderr);

    until("a live edit is flagged", JUDGED, async || {
        let log = process.log();
        let (_, live) = log.split_once("New flags:").expect("it went on");
        match live.trim().is_empty() {
            true => Err("there is none yet".to_owned()),
            false => Ok(()),
        }
    })
    .await;
    assert_eq!(process.terminate(STOPPED).await, 0);
    let lock = demo.folder().join("demo/postgres/data/postmaster.pid");
    assert!(!lock.exists(), "the demo's Postgres ended with it");
}

#[tokio::test]
async fn a_demo_that_is_stopped_while_it_starts_leaves_nothing_running_and_says_that_nothing_was_judged() {
    let demo = Demo::default();
    let process = demo.start_with(&["--once"], &[]);
    let lock = demo.folder().join("demo/postgres/data/postmaster.pid");
    until("its Postgres runs", JUDGED, async || match lock.exists() {
        true => Ok(()),
        false => Err("it does not".to_owned()),
    })
    .await;
    assert_eq!(process.terminate(STOPPED).await, 1);
    until("its Postgres has ended too", STOPPED, async || {
        match lock.exists() {
            true => Err("it runs on".to_owned()),
            false => Ok(()),
        }
    })
    .await;
}

#[tokio::test]
async fn a_demo_that_was_killed_is_no_hindrance_to_the_next_one() {
    let demo = Demo::default();
    let mut process = demo.start(&[]);
    process.wait_for_log("Flagged first", JUDGED).await;
    process.kill9();
    found_everything(&demo.run(&["--once"], &[]).await);
}

#[tokio::test]
async fn a_demo_leaves_a_postgres_alone_that_is_not_its_own_whatever_its_lock_says() {
    let demo = Demo::default();
    let other = Demo::default();
    let mut running = other.start(&[]);
    running.wait_for_log("Redline, all of it", JUDGED).await;
    found_everything(&demo.run(&["--once"], &[]).await);
    // As if the demo had been killed, and the number of its Postgres were another one's now.
    let lock = |demo: &Demo| demo.folder().join("demo/postgres/data/postmaster.pid");
    fs::copy(lock(&other), lock(&demo)).expect("the lock of the other one");
    found_everything(&demo.run(&["--once"], &[]).await);
    assert!(running.is_alive(), "{}", running.log());
    assert!(lock(&other).exists(), "the other Postgres runs on");
    assert_eq!(running.terminate(STOPPED).await, 0);
}

#[tokio::test]
async fn a_demo_whose_port_is_taken_takes_another_one() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let demo = Demo::default();
    let ended = demo
        .run(&["--once"], &[("REDLINE_INGEST__LISTEN", &address)])
        .await;
    found_everything(&ended);
    assert!(!ended.stdout.contains(&address), "{}", ended.stdout);
}

#[tokio::test]
async fn a_demo_uses_the_server_that_is_named_and_touches_nothing_of_it_but_a_database_of_its_own() {
    let services = Services::from_environment();
    let demo = Demo::default();
    let ended = demo
        .run(&["--once"], &[("DATABASE_URL", &services.database)])
        .await;
    found_everything(&ended);
    assert!(
        ended
            .stdout
            .contains("redline_demo, on the server of DATABASE_URL"),
        "{}",
        ended.stdout
    );
    assert!(
        !demo.folder().join("demo/postgres").exists(),
        "it makes no Postgres of its own"
    );
    let named = [("DATABASE_URL", services.database.as_str())];
    let mut running = demo.start(&named);
    running.wait_for_log("Redline, all of it", JUDGED).await;
    let other = Demo::default();
    let refused = other.run(&["--once"], &named).await;
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert!(
        refused
            .stderr
            .contains("another demo uses the database redline_demo"),
        "{}",
        refused.stderr
    );
    assert!(running.is_alive(), "{}", running.log());
    assert_eq!(running.terminate(STOPPED).await, 0);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_named_with_what_to_do() {
    let demo = Demo::default();
    fs::create_dir(demo.folder()).expect("a temporary folder");
    fs::write(demo.folder().join("demo"), "in the way").expect("a file");
    let ended = demo.run(&["--once"], &[]).await;
    assert_eq!(ended.code, 1, "{}", ended.stdout);
    assert!(ended.stderr.contains("--folder"), "{}", ended.stderr);
    let long = format!("{}/{}", demo.folder().display(), "long".repeat(30));
    let ended = demo.run(&["--once", "--folder", &long], &[]).await;
    assert!(
        ended.stderr.contains("too long a name for a socket"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn whoever_looks_into_the_folder_of_a_demo_finds_no_key() {
    let demo = Demo::default();
    found_everything(&demo.run(&["--once"], &[]).await);
    let mode = |name: &str| {
        let found = fs::metadata(demo.folder().join(name)).expect("it is there");
        found.permissions().mode() & 0o777
    };
    assert_eq!(mode("demo/key"), 0o600);
    assert_eq!(mode("demo") & 0o066, 0, "others may pass through at most");
}
