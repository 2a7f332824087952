//! `redline replay`: what is published again changes nothing and says so, and makes an empty installation the same.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use redline_schemas::{ContentHash, EventKind};
use redline_tests::{Ended, Installation, Raw, Read, checker, rows, until};
use serde_json::Value;

use crate::sheet::{self, files};
use crate::{REST, end, worker_and_relay};

const HEADER: &str = "redline-replay-of";

/// What everything that was found comes to.
async fn found(redline: &Installation) -> (String, String) {
    (
        checker::changes(redline).await,
        checker::standing_flags(redline).await,
    )
}

fn hash(text: &str) -> String {
    ContentHash::of(text.as_bytes()).to_string()
}

/// Records on all input topics.
async fn published(redline: &Installation) -> i64 {
    let mut count = 0;
    for kind in EventKind::ALL {
        let ends = redline.kafka.log_ends(redline.topics.of(kind)).await;
        count += ends.values().map(|(_, end)| end).sum::<i64>();
    }
    count
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", ended.stdout, ended.stderr))
}

#[tokio::test]
async fn what_is_replayed_into_the_system_that_recorded_it_changes_nothing_and_that_is_proven() {
    let simulation = sheet::sheet();
    let (redline, processes) = sheet::recorded("replay", &simulation).await;
    let schema_id = redline.schema_id(EventKind::Row).await;
    let garbage = Raw {
        value: Some(b"no Avro".to_vec()),
        ..redline.raw(&rows::row(&rows::billing("R-1", 1, 1)), schema_id)
    };
    redline.kafka.produce_all(vec![garbage]).await;
    redline.wait_quiet(REST).await;
    let before = found(&redline).await;
    assert!(before.0.lines().count() > 20 && before.1.lines().count() > 10);
    let (events, facts) = files(&simulation, redline.folder());
    let events = events.display().to_string();
    let rows = redline.topics.rows.clone();
    let original = redline.kafka.read(&rows).await;

    for (arguments, quarantined) in [
        (vec!["topic", &rows], 1),
        (vec!["topic", &rows, "--from", "2020-01-01T00:00:00Z"], 2),
        (vec!["topic", &redline.topics.facts], 0),
        (vec!["recorded"], 0),
        (vec!["recorded", "--source", "billing", "--kind", "row"], 0),
        (vec!["file", &events], 0),
        (vec!["file", facts.to_str().expect("UTF-8"), "--kind", "fact"], 0),
    ] {
        let earlier = published(&redline).await;
        let ended = redline.run(&[&["replay"], &arguments[..]].concat()).await;
        assert_eq!(ended.code, 0, "{arguments:?}: {}{}", ended.stdout, ended.stderr);
        let count = published(&redline).await - earlier;
        assert!(count > 5, "{arguments:?} publishes {count} records");
        let duplicates = count - quarantined;
        let told = match quarantined {
            0 => format!("{count} records were published, {duplicates} counted as duplicates"),
            _ => format!(
                "{count} records were published,\n{duplicates} counted as duplicates, {quarantined} quarantined again"
            ),
        };
        let expected = format!(
            "nothing changed: {told}\nchanges {}\nflags   {}\n",
            hash(&before.0),
            hash(&before.1)
        );
        assert_eq!(ended.stdout, expected, "{arguments:?}");
        assert!(found(&redline).await == before, "{arguments:?} changes something");
    }

    // The first replay has the same bytes, keys and headers, and names where each record stood.
    let copies = redline.kafka.read(&rows).await;
    let place = |record: &Read| format!("{rows}/{}/{}", record.partition, record.offset);
    for record in &original {
        let place = place(record);
        let copy = copies
            .iter()
            .find(|copy| copy.header(HEADER).as_ref() == Some(&place))
            .unwrap_or_else(|| panic!("{place} was not replayed"));
        assert_eq!((&copy.key, &copy.value), (&record.key, &record.value), "{place}");
    }
    checker::check(&redline).await;
    end(redline, processes).await;
}

#[tokio::test]
async fn a_replay_that_brings_something_new_says_what_changed_and_a_bad_line_ends_it() {
    let simulation = sheet::sheet();
    let (redline, processes) = sheet::recorded("replay-new", &simulation).await;
    let write = |name: &str, lines: &[Value]| {
        let path = redline.folder().join(name);
        let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        std::fs::write(&path, lines.join("\n")).expect("a file can be written");
        path.display().to_string()
    };
    let row = |version: i64| rows::billing("R-NEW", version, version);
    let new = write("new.ndjson", &[row(1), row(2)]);
    let ended = redline.run(&["replay", "file", &new]).await;
    assert_eq!(ended.code, 3, "{}{}", ended.stdout, ended.stderr);
    assert!(
        ended.stdout.starts_with(
            "something changed: 2 records were published,\n2 accepted as new, 0 counted as duplicates\nchanges "
        ),
        "{}",
        ended.stdout
    );
    let newer = write("newer.ndjson", &[row(3), row(3)]);
    let ended = redline
        .run(&["replay", "file", &newer, "--may-change", "--json"])
        .await;
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let told = json(&ended);
    assert_eq!(
        (&told["published"], &told["changed"]),
        (&2.into(), &true.into()),
        "{told}"
    );

    let mut bad = row(5);
    bad["version"] = "five".into();
    let bad = write("bad.ndjson", &[row(4), bad, row(6)]);
    let resume = redline.folder().join("bad.json").display().to_string();
    let ended = redline.run(&["replay", "file", &bad, "--resume", &resume]).await;
    assert_eq!(ended.code, 1, "{}{}", ended.stdout, ended.stderr);
    let told = &ended.stderr;
    assert!(told.contains("bad.ndjson, line 2: `version`"), "{told}");
    assert!(
        told.contains("1 record is in; mend the line, then give"),
        "{told}"
    );
    redline.wait_quiet(REST).await;
    let versions = redline
        .texts(
            "select v.version::text from redline.versions v join redline.entities using (entity)
             where entity_id = 'R-NEW' order by v.version",
        )
        .await;
    assert_eq!(versions, ["1", "2", "3", "4"], "nothing behind the bad line");
    write("bad.ndjson", &[row(4), row(5), row(6)]);
    let mended = redline
        .run(&[
            "replay",
            "file",
            &bad,
            "--resume",
            &resume,
            "--may-change",
            "--json",
        ])
        .await;
    assert_eq!(mended.code, 0, "{}{}", mended.stdout, mended.stderr);
    let told = json(&mended);
    let accepted = |when: &str| told[when]["accepted"].as_i64().expect("a number");
    assert_eq!(
        (&told["published"], accepted("after") - accepted("before")),
        (&3.into(), 3),
        "from before the line on: {told}"
    );
    end(redline, processes).await;
}

#[tokio::test]
async fn everything_replayed_into_an_empty_installation_ends_in_the_same_changes_and_flags() {
    let simulation = sheet::sheet();
    let (first, processes) = sheet::recorded("replay-old", &simulation).await;
    let expected = found(&first).await;
    let second = sheet::empty("replay-new", &simulation).await;
    let others = worker_and_relay(&second);
    let settings = first.settings().display().to_string();
    let ended = second
        .run(&["replay", "recorded", "--recorded-by", &settings, "--json"])
        .await;
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    assert!(!ended.stderr.contains("first rules"), "{}", ended.stderr);
    let told = json(&ended);
    let accepted = first.count("select count(*) from redline.versions").await;
    assert_eq!(told["published"], accepted);
    assert_eq!(told["before"]["changes"], hash(""));
    assert_eq!(told["after"]["changes"], hash(&expected.0));
    assert_eq!(told["after"]["flags"], hash(&expected.1));
    assert!(found(&second).await == expected);
    checker::check(&second).await;
    end(second, others).await;
    end(first, processes).await;
}

#[tokio::test]
async fn an_interrupted_replay_goes_on_where_it_stopped_and_keeps_its_rate() {
    let simulation = sheet::sheet();
    let (redline, processes) = sheet::recorded("replay-resume", &simulation).await;
    redline.stop(processes).await;
    let copy = format!("{}.copy", redline.name);
    redline.kafka.create_topic(&copy, 2, &[]).await;
    let resume = redline.folder().join("replay.json").display().to_string();
    let replay = [
        "replay", "recorded", "--kind", "row", "--into", &copy, "--resume", &resume,
    ];
    // So slow that it is interrupted, however slow the machine is.
    let slow = [&replay[..], &["--rate", "10"]].concat();
    let copied = async || -> (usize, BTreeSet<String>) {
        let read = redline.kafka.read(&copy).await;
        let places = read.iter().filter_map(|record| record.header(HEADER));
        (read.len(), places.collect())
    };
    let at_least = async |count: usize| {
        until("so many are copied", REST, async || match copied().await.0 {
            copied if copied >= count => Ok(()),
            copied => Err(format!("{copied} of {count}")),
        })
        .await;
    };
    let rows = redline
        .count("select count(*) from redline.versions join redline.entities using (entity) where entity_type = 'row'")
        .await;
    let rows = usize::try_from(rows).expect("a small number");
    assert!(rows > 150, "{rows} rows are too few to be interrupted twice");

    let told = redline.start_command(&slow);
    at_least(20).await;
    assert_eq!(told.terminate(REST).await, 1, "a part is not the whole");
    let (first, _) = copied().await;
    let died = redline.start_command(&slow);
    at_least(first + 30).await;
    died.kill9();

    let other = [
        "replay", "recorded", "--into", &copy, "--kind", "fact", "--resume", &resume,
    ];
    let refused = redline.run(&other).await;
    assert_eq!(refused.code, 2, "{}{}", refused.stdout, refused.stderr);
    assert!(
        refused
            .stderr
            .contains("belongs to another replay (kind: \"row\" there, \"fact\" here)"),
        "{}",
        refused.stderr
    );

    let ended = redline.run(&replay).await;
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    assert_eq!(
        ended.stdout,
        format!("{rows} records were published to {copy}\n"),
        "what died is not counted"
    );
    let (all, places) = copied().await;
    assert_eq!(places.len(), rows, "every row is there");
    assert!(
        all <= rows + 10,
        "{all} copies of {rows} rows; at most what was on its way comes twice"
    );
    let again = redline.run(&replay).await;
    assert_eq!((again.code, copied().await.0), (0, all), "nothing is left");

    let limited = [
        "replay", "recorded", "--kind", "row", "--into", &copy, "--rate", "100",
    ];
    let began = Instant::now();
    redline.succeed(&limited).await;
    let least = Duration::from_millis(u64::try_from(rows - 10).expect("a small number") * 10);
    assert!(
        began.elapsed() >= least,
        "{rows} records within {:?}",
        began.elapsed()
    );
    redline.kafka.delete_topics(&[&copy]).await;
    redline.remove().await;
}

/// A comparison without where the flagged rows are recorded, which only what is recorded has.
fn without_positions(ended: &Ended) -> Value {
    let mut told = json(ended);
    for flags in told["flags"].as_array_mut().expect("a list") {
        for group in ["more", "less", "differently"] {
            for example in flags[group]["examples"].as_array_mut().expect("a list") {
                example.as_object_mut().expect("a flag").remove("position");
            }
        }
    }
    told
}

#[tokio::test]
async fn a_dry_run_under_other_rules_shows_what_would_differ_and_writes_nothing() {
    let simulation = sheet::sheet();
    let (redline, processes) = sheet::recorded("replay-dry", &simulation).await;
    let before = (found(&redline).await, published(&redline).await);
    let (events, _) = files(&simulation, redline.folder());
    let events = events.display().to_string();
    let rows = redline.topics.rows.clone();
    let rules = |name: &str, text: &str| {
        let path = redline.folder().join(name);
        std::fs::write(&path, text).expect("rules can be written");
        path.display().to_string()
    };
    let same = rules("same.toml", &simulation.rules_toml);
    let other = simulation.rules_toml.replace("high = \"1000\"", "high = \"500\"");
    assert_ne!(other, simulation.rules_toml);
    let other = rules("other.toml", &other);
    let sources: [Vec<&str>; 3] = [vec!["recorded"], vec!["topic", &rows], vec!["file", &events]];
    for source in sources {
        let dry = |rules| [&["replay"], &source[..], &["--dry-run", "--rules", rules]].concat();
        let ended = redline.run(&dry(&same)).await;
        assert_eq!(ended.code, 0, "{source:?}: {}{}", ended.stdout, ended.stderr);
        assert!(ended.stdout.contains("No difference."), "{}", ended.stdout);
        let ended = redline.run(&dry(&other)).await;
        assert_eq!(ended.code, 3, "{source:?}: {}{}", ended.stdout, ended.stderr);
        assert!(
            ended.stdout.contains("THE FILE") && ended.stdout.contains("MEDIUM -> HIGH"),
            "{}",
            ended.stdout
        );
    }
    // What the topic holds is what is recorded, so that both come to the same.
    let arguments =
        |source: &[&'static str]| [&["replay"], source, &["--json", "--dry-run", "--rules"]].concat();
    let recorded = redline
        .run(&[&arguments(&["recorded"])[..], &[&other]].concat())
        .await;
    let topic = redline
        .run(&["replay", "topic", &rows, "--json", "--dry-run", "--rules", &other])
        .await;
    assert_eq!(without_positions(&recorded), without_positions(&topic));
    let refused = redline
        .run(&[
            "replay",
            "recorded",
            "--source",
            "billing",
            "--dry-run",
            "--rules",
            &other,
        ])
        .await;
    assert_eq!(refused.code, 2, "{}{}", refused.stdout, refused.stderr);
    assert!((found(&redline).await, published(&redline).await) == before);
    end(redline, processes).await;
}

#[tokio::test]
async fn a_span_is_chosen_by_offset_and_by_kafkas_time_and_ends_where_the_log_did() {
    let redline = redline_tests::Plan::new("replay-span").partitions(1).make().await;
    let schema_id = redline.schema_id(EventKind::Row).await;
    let row = |version: i64| redline.raw(&rows::row(&rows::billing("R-1", version, version)), schema_id);
    redline.kafka.produce_all((1..=5).map(row).collect()).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let between = redline
        .texts("select to_char(now() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')")
        .await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    redline.kafka.produce_all((6..=8).map(row).collect()).await;
    let rows = &redline.topics.rows;
    let copy = format!("{}.copy", redline.name);
    redline.kafka.create_topic(&copy, 1, &[]).await;
    let mut expected: Vec<i64> = Vec::new();
    for (span, offsets) in [
        (
            vec!["--partition", "0", "--from-offset", "2", "--to-offset", "4"],
            2..4,
        ),
        (vec!["--from", &between[0]], 5..8),
        (vec!["--to", &between[0]], 0..5),
        (vec!["--from", "2100-01-01T00:00:00Z"], 0..0),
    ] {
        let ended = redline
            .run(&[&["replay", "topic", rows, "--into", &copy], &span[..]].concat())
            .await;
        assert_eq!(ended.code, 0, "{span:?}: {}{}", ended.stdout, ended.stderr);
        expected.extend(offsets);
        let read = redline.kafka.read(&copy).await;
        let places: Vec<String> = read.iter().filter_map(|record| record.header(HEADER)).collect();
        let wanted: Vec<String> = expected
            .iter()
            .map(|offset| format!("{rows}/0/{offset}"))
            .collect();
        assert_eq!(places, wanted, "{span:?}");
    }
    // Into itself it ends where the log ended, although nobody reads and proves anything.
    redline.succeed(&["replay", "topic", rows, "--wait", "0"]).await;
    assert_eq!(redline.kafka.log_ends(rows).await[&0].1, 16);

    for (arguments, told) in [
        (vec!["topic", &copy], "say --into which topic it is to go"),
        (
            vec!["topic", rows, "--into", &redline.topics.facts],
            "every record would be quarantined",
        ),
        (vec!["recorded", "--into", &copy], "say --kind"),
        (
            vec!["recorded", "--into", &redline.topics.flagged],
            "what Redline itself publishes to",
        ),
        (vec!["topic", rows, "--from", "yesterday"], "--from yesterday"),
    ] {
        let ended = redline.run(&[&["replay"], &arguments[..]].concat()).await;
        assert_eq!(ended.code, 2, "{arguments:?}: {}{}", ended.stdout, ended.stderr);
        assert!(ended.stderr.contains(told), "{arguments:?}: {}", ended.stderr);
    }
    let nobody_reads = redline.run(&["replay", "topic", rows, "--wait", "1"]).await;
    assert_eq!(nobody_reads.code, 1, "{}", nobody_reads.stdout);
    assert!(
        nobody_reads.stderr.contains("nothing was published"),
        "{}",
        nobody_reads.stderr
    );
    assert_eq!(redline.kafka.log_ends(rows).await[&0].1, 16);
    redline.kafka.delete_topics(&[&copy]).await;
    redline.remove().await;
}
