//! Schemas that are not known yet, and a registry that is away.

use std::time::{Duration, Instant};

use redline_schemas::avro::ROW_SCHEMA;
use redline_schemas::topics::subject;
use redline_schemas::{Event, EventKind};
use redline_tests::checker;
use redline_tests::{Installation, Plan, Proxy, Raw, Read, rows, until};
use serde_json::{Value, json};

use crate::{REST, end, worker_and_relay};

/// Ids that are named at once, and how far ahead they lie: other tests register schemas meanwhile.
const IDS: u32 = 8;
const AHEAD: u32 = 300;

/// Our schema of rows with one more field, which nobody sets; its name makes it another schema each time.
fn evolved(installation: &Installation, number: u32) -> String {
    let name = format!("{}_{number}", installation.name.replace('-', "_"));
    let mut schema: Value = serde_json::from_str(ROW_SCHEMA).expect("our schema is JSON");
    let fields = schema["fields"].as_array_mut().expect("a record has fields");
    fields.push(json!({"name": name, "type": ["null", "string"], "default": null}));
    schema.to_string()
}

/// A row as a producer with the evolved schema writes it: the additional field is null.
fn by_newer_writer(redline: &Installation, event: &Event, schema_id: u32) -> Raw {
    let mut raw = redline.raw(event, schema_id);
    raw.value.as_mut().expect("a row has a value").push(0);
    raw
}

/// Our schema of rows before `legal_entity` came, its last field.
fn before_ours() -> String {
    let mut schema: Value = serde_json::from_str(ROW_SCHEMA).expect("our schema is JSON");
    let fields = schema["fields"].as_array_mut().expect("a record has fields");
    let last = fields.pop().expect("a record has fields");
    assert_eq!(last["name"], "legal_entity");
    schema.to_string()
}

/// A row as a producer with that schema writes it: without the last field, which would be null.
fn by_older_writer(redline: &Installation, event: &Event, schema_id: u32) -> Raw {
    let mut raw = redline.raw(event, schema_id);
    let value = raw.value.as_mut().expect("a row has a value");
    assert_eq!(value.pop(), Some(0), "nobody sets the last field");
    raw
}

#[tokio::test]
async fn producers_with_an_older_schema_go_on_and_the_same_version_of_a_newer_one_counts_once() {
    let redline = Plan::new("older").partitions(1).unmigrated().await;
    let subject = subject(&redline.topics.rows);
    let older = redline.registry.register(&subject, &before_ours()).await;
    let older = older.expect("a new subject takes any schema");
    redline.migrate().await;
    let ours = redline.schema_id(EventKind::Row).await;
    assert_ne!(older, ours, "ours is the next schema of the subject");

    let processes = worker_and_relay(&redline);
    let versions = [(1, 10), (2, 12), (3, 15)]
        .map(|(version, quantity)| rows::row(&rows::billing("R-1", version, quantity)));
    let [first, second, third] = &versions;
    let records = vec![
        by_older_writer(&redline, first, older),
        redline.raw(second, ours),
        by_older_writer(&redline, second, older),
        by_older_writer(&redline, third, older),
    ];
    redline.kafka.produce_all(records).await;
    redline.wait_quiet(REST).await;
    let totals = checker::check(&redline).await;
    assert_eq!((totals.accepted, totals.duplicate, totals.quarantined), (3, 1, 0));
    assert_eq!(
        redline.count("select count(*) from redline.changes").await,
        4,
        "the quantity and the price, twice"
    );
    end(redline, processes).await;
}

/// Takes half a minute by the contract: that is how long an unknown id is asked for.
#[tokio::test]
async fn an_unknown_schema_id_is_asked_for_half_a_minute_then_quarantined_and_retried_with_success() {
    let redline = Plan::new("unknown").partitions(2).make().await;
    let processes = worker_and_relay(&redline);
    let subject = subject(&redline.topics.rows);
    // The registry numbers schemas one after the other, so the next ones are known before they exist.
    let scratch = format!("{}-scratch", redline.name);
    let last = redline.registry.register(&scratch, &evolved(&redline, 0)).await;
    let first = last.expect("a new subject takes any schema") + AHEAD;
    let of_id = |id: u32| rows::row(&rows::billing(&format!("R-{id}"), 1, 10));
    let mut records: Vec<Raw> = (first..first + IDS)
        .map(|id| by_newer_writer(&redline, &of_id(id), id))
        .collect();
    let known = redline.schema_id(EventKind::Row).await;
    let of_name = |name: &str| redline.raw(&rows::row(&rows::billing(name, 1, 10)), known);
    records.insert(0, of_name("before"));
    records.push(of_name("behind"));
    for record in &mut records {
        record.partition = Some(0);
    }
    let mut elsewhere = of_name("elsewhere");
    elsewhere.partition = Some(1);
    records.push(elsewhere);
    let began = Instant::now();
    redline.kafka.produce_all(records).await;

    let accepted = "select entity_id from redline.entities order by 1";
    until(
        "what does not wait goes on",
        Duration::from_secs(15),
        async || match redline.texts(accepted).await {
            found if found == ["before", "elsewhere"] => Ok(()),
            found => Err(format!("{found:?} were accepted")),
        },
    )
    .await;
    assert_eq!(redline.count("select count(*) from redline.quarantine").await, 0);

    redline.wait_quiet(Duration::from_secs(90)).await;
    let waited = began.elapsed();
    assert!(
        waited >= Duration::from_secs(29),
        "unknown ids are asked for 30 s, not {waited:?}"
    );
    assert!(
        waited < Duration::from_secs(50),
        "they are asked for together, not {waited:?}"
    );
    let totals = checker::check(&redline).await;
    assert_eq!((totals.accepted, totals.quarantined), (3, i64::from(IDS)));
    assert_eq!(
        redline
            .texts("select distinct reason from redline.quarantine")
            .await,
        ["unknown_schema_id"]
    );

    // Subjects of their own, which nothing is compared with, use up the ids before.
    let mut id = 0;
    let mut number = 0;
    while !(first..first + IDS).contains(&id) {
        assert!(
            id < first,
            "other tests took all of the ids {first} and following"
        );
        number += 1;
        assert!(
            number <= AHEAD + IDS,
            "the registry does not number its schemas one after the other"
        );
        let filler = format!("{scratch}-{number}");
        let taker = if id + 1 >= first { &subject } else { &filler };
        let registered = redline.registry.register(taker, &evolved(&redline, number)).await;
        id = registered.expect("an optional field may be added");
    }
    let quarantine_id = id - first + 1;
    redline
        .succeed(&["quarantine", "retry", &quarantine_id.to_string()])
        .await;
    redline.wait_quiet(REST).await;
    let totals = checker::check(&redline).await;
    assert_eq!((totals.accepted, totals.quarantined), (4, i64::from(IDS)));
    let retried = format!("R-{id}");
    assert_eq!(
        redline.texts(accepted).await,
        [&retried, "before", "behind", "elsewhere"]
    );
    assert_eq!(
        redline
            .texts("select quarantine_id::text from redline.quarantine where status = 'retried'")
            .await,
        [quarantine_id.to_string()]
    );
    let records = redline.kafka.read(&redline.topics.rows).await;
    let names_its_original = |record: &&Read| {
        let mut names = record.headers.iter().map(|(name, _)| name);
        names.any(|name| name.starts_with("redline-"))
    };
    assert_eq!(records.iter().filter(names_its_original).count(), 1);
    let again = redline
        .run(&["quarantine", "retry", &quarantine_id.to_string()])
        .await;
    assert_eq!(
        again.code, 1,
        "what was retried is not retried again: {}",
        again.stdout
    );
    end(redline, processes).await;
}

#[tokio::test]
async fn a_registry_that_is_away_is_waited_for_at_the_start_and_before_an_unknown_id() {
    let redline = Plan::new("away").partitions(1).make().await;
    let (mut proxy, url) = Proxy::before_url(&redline.services.registry).await;
    let mut worker = redline.start("work", &[("SCHEMA_REGISTRY_URL", &url)]);
    let relay = redline.relay();
    redline
        .produce_rows(&[rows::row(&rows::billing("R-1", 1, 10))])
        .await;
    worker.wait_for_log("waiting for the schema registry", REST).await;
    assert_eq!(
        redline.count("select count(*) from redline.control_totals").await,
        0
    );
    proxy.on().await;
    redline.wait_quiet(REST).await;

    // The worker knows one id; the next record names another one, which the registry knows.
    proxy.off().await;
    let subject = subject(&redline.topics.rows);
    let registered = redline.registry.register(&subject, &evolved(&redline, 1)).await;
    let id = registered.expect("an optional field may be added");
    let before = worker.log().matches("waiting for the schema registry").count();
    let row = rows::row(&rows::billing("R-1", 2, 12));
    redline.kafka.produce(by_newer_writer(&redline, &row, id)).await;
    until("the worker waits for the registry again", REST, async || {
        let waits = worker.log().matches("waiting for the schema registry").count();
        if waits > before + 1 {
            Ok(())
        } else {
            Err(worker.log())
        }
    })
    .await;
    let counts = "select sum(read)::bigint from redline.control_totals";
    assert_eq!(
        redline.count(counts).await,
        1,
        "nothing is decided about the record yet"
    );
    proxy.on().await;
    redline.wait_quiet(REST).await;
    let totals = checker::check(&redline).await;
    assert_eq!((totals.accepted, totals.quarantined), (2, 0));
    assert_eq!(redline.count("select count(*) from redline.changes").await, 2);
    end(redline, vec![worker, relay]).await;
}
