//! Reading what was recorded: `/v1/flags`, `/v1/changes` and histories.

mod access;
mod history;

use std::collections::BTreeSet;
use std::time::Duration;

use redline_tests::{Door, Installation, Plan, Process, Proxy, rows, until};
use serde_json::{Value, json};

use crate::{REST, end, worker_and_relay};

/// Replaces what differs from run to run.
fn stable(mut value: Value) -> Value {
    fn walk(value: &mut Value) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    match name.as_str() {
                        "topic" | "incarnation" | "rules_hash" | "recorded_at" | "first_detected_at"
                        | "revised_at" => {
                            assert!(member.is_string(), "{name} is {member}");
                            *member = format!("[{name}]").into();
                        }
                        _ => walk(member),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(walk),
            _ => {}
        }
    }
    walk(&mut value);
    value
}

fn pretty(value: Value) -> String {
    serde_json::to_string_pretty(&stable(value)).expect("JSON can be written")
}

fn texts(items: &[Value], name: &str) -> Vec<String> {
    items
        .iter()
        .map(|item| item[name].as_str().expect("a text").to_owned())
        .collect()
}

/// A version of a billing row whose flags have this time.
fn row_at(row_id: &str, version: i64, quantity: i64, modified_at: &str) -> Value {
    let mut row = rows::billing(row_id, version, quantity);
    row["modified_at"] = modified_at.into();
    row
}

async fn started(plan: Plan) -> (Installation, Door, Vec<Process>) {
    let redline = plan.make().await;
    let door = redline.ingest().await;
    let processes = worker_and_relay(&redline);
    (redline, door, processes)
}

async fn done(redline: Installation, door: Door, mut processes: Vec<Process>) {
    processes.push(door.process);
    end(redline, processes).await;
}

/// Ids of flags in the order in which they are to be shown.
const IN_ORDER: &str =
    "select flag_id from redline.flags order by coalesce(modified_at, '-infinity') desc, flag_id desc";

#[tokio::test]
async fn paging_gives_every_flag_exactly_once_while_new_ones_come() {
    let (redline, door, processes) = started(Plan::new("paging")).await;
    // Half of the flags are of one instant, so that pages end in the middle of it.
    let versions: Vec<Value> = (0..20)
        .flat_map(|number| {
            let id = format!("R-{number}");
            let day = if number < 10 { 5 } else { number };
            let time = format!("2026-03-{day:02}T09:58:11Z");
            [row_at(&id, 1, 10, &time), row_at(&id, 2, 12, &time)]
        })
        .collect();
    door.accept("/v1/rows", &Value::from(versions)).await;
    redline.wait_quiet(REST).await;
    let expected = redline.texts(IN_ORDER).await;
    assert!(expected.len() >= 40, "each row has flags of two columns");

    let mut seen = Vec::new();
    let mut next = String::new();
    let mut rounds = 0;
    loop {
        let page = door.read(&format!("/v1/flags?limit=7{next}")).await;
        let items = page["items"].as_array().expect("items");
        assert!(items.len() <= 7);
        seen.extend(texts(items, "flag_id"));
        let Some(cursor) = page["next"].as_str() else {
            break;
        };
        next = format!("&after={cursor}");
        // More come: before everything, in the midst of one instant, and behind everything.
        for day in ["28", "05", "01"] {
            let id = format!("new-{rounds}-{day}");
            let time = format!("2026-03-{day}T09:58:11Z");
            let both = json!([row_at(&id, 1, 10, &time), row_at(&id, 2, 12, &time)]);
            if rounds < 3 {
                door.accept("/v1/rows", &both).await;
            }
        }
        redline.wait_quiet(REST).await;
        rounds += 1;
    }
    let distinct: BTreeSet<&String> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len(), "no flag comes twice");
    let old: BTreeSet<&String> = expected.iter().collect();
    let of_old: Vec<&String> = seen.iter().filter(|id| old.contains(id)).collect();
    assert_eq!(
        of_old,
        expected.iter().collect::<Vec<_>>(),
        "and none is left out"
    );

    let all = door.pages("/v1/flags?limit=1000").await;
    assert_eq!(all.len(), 1);
    assert_eq!(texts(&all[0], "flag_id"), redline.texts(IN_ORDER).await);
    done(redline, door, processes).await;
}

#[tokio::test]
async fn a_flag_a_change_and_a_history_are_shown_with_the_contracts_names() {
    let (redline, door, processes) = started(Plan::new("shown")).await;
    let mut before = rows::before_example();
    before["columns"]["Quantity"] = 10.5.into();
    before["columns"]["Redlined Total Price"] = "997.50".into();
    // One after the other, so that the offsets are known.
    door.accept("/v1/rows", &before).await;
    door.accept("/v1/rows", &rows::example()).await;
    redline.wait_quiet(REST).await;

    let path = "/v1/flags?kind=retroactive_change&source=billing&entity_id=R-1001";
    let flags = door.read(path).await;
    insta::assert_snapshot!("flags", pretty(flags.clone()));
    let flag_id = flags["items"][0]["flag_id"].as_str().expect("a flag").to_owned();
    insta::assert_snapshot!(
        "one_flag",
        pretty(door.read(&format!("/v1/flags/{flag_id}")).await)
    );
    insta::assert_snapshot!("changes", pretty(door.read("/v1/changes").await));
    let history = door.read("/v1/entities/row/billing/R-1001/history").await;
    insta::assert_snapshot!("history", pretty(history));
    done(redline, door, processes).await;
}

#[tokio::test]
async fn a_revised_flag_shows_its_latest_revision_and_all_of_them_newest_first() {
    let (redline, door, processes) = started(Plan::new("revised")).await;
    let row = |version: i64, quantity: i64| {
        let mut row = rows::billing("R-1", version, quantity);
        row["columns"] = json!({"Quantity": quantity, "Unit Price": 95});
        row
    };
    door.accept("/v1/rows", &json!([row(1, 10), row(4, 12)])).await;
    redline.wait_quiet(REST).await;
    for (version, quantity) in [(2, 11), (3, 12)] {
        door.accept("/v1/rows", &row(version, quantity)).await;
        redline.wait_quiet(REST).await;
    }
    let withdrawn = door.read("/v1/flags?status=withdrawn").await;
    let ids = texts(withdrawn["items"].as_array().expect("items"), "flag_id");
    assert_eq!(ids.len(), 1, "{withdrawn}");
    let path = format!("/v1/flags/{}", ids[0]);
    let flag = door.read(&path).await;
    let revision = |value: &Value| {
        let told = ["revision", "status", "before", "after", "impact"];
        told.map(|name| value[name].to_string()).join(" ")
    };
    let newest_first = [
        r#"3 "withdrawn" "11" "12" "95""#,
        r#"2 "standing" "11" "12" "95""#,
        r#"1 "standing" "10" "12" "190""#,
    ];
    assert_eq!(revision(&flag), newest_first[0]);
    let revisions = flag["revisions"].as_array().expect("revisions");
    assert_eq!(revisions.iter().map(revision).collect::<Vec<_>>(), newest_first);
    assert_eq!(flag["next"], Value::Null);
    let first = door.read(&format!("{path}?limit=2")).await;
    let next = first["next"].as_str().expect("there is one more");
    let second = door.read(&format!("{path}?limit=2&after={next}")).await;
    let rest = second["revisions"].as_array().expect("revisions");
    assert_eq!(rest.iter().map(revision).collect::<Vec<_>>(), newest_first[2..]);
    let standing = door.read("/v1/flags?status=standing").await;
    assert!(!standing.to_string().contains(&ids[0]));
    let all = door.read("/v1/flags").await;
    assert!(
        all.to_string().contains(&ids[0]),
        "without `status` both are shown"
    );
    done(redline, door, processes).await;
}

/// Flags without a time, as those about matches will be; and answers that are to be small.
#[tokio::test]
async fn flags_without_a_time_come_last_and_small_answers_lose_nothing() {
    let redline = Plan::new("untimed")
        .settings("[console]\nmax_answer_bytes = 1024\n")
        .make()
        .await;
    let door = redline.ingest().await;
    sqlx::query(
        "insert into redline.flags
         select encode(sha256(n::text::bytea), 'hex'), 1, case when n % 5 = 0 then 'withdrawn' else 'standing' end,
            'amount_mismatch', 'LOW', 'match', 'pair', 'c-' || n % 7, 0, null, null, null, n + 0.500, 'USD', null, null,
            case when n % 3 > 0 then '2026-03-01T00:00:00Z'::timestamptz + n % 4 * interval '1 hour' end, null, null,
            null, 'They differ.', '{}', 'rules', 'topic', 'incarnation', 0, n, null, now(), now()
         from generate_series(1, 60) n",
    )
    .execute(&redline.pool)
    .await
    .expect("flags can be made up");
    let expected = redline.texts(IN_ORDER).await;
    for limit in [1, 7, 1000] {
        let pages = door.pages(&format!("/v1/flags?limit={limit}")).await;
        assert_eq!(texts(&pages.concat(), "flag_id"), expected, "limit {limit}");
        assert!(
            pages.iter().all(|page| page.len() < 4),
            "an answer has 1024 bytes or so"
        );
    }
    let items = door.pages("/v1/flags?source=pair").await.concat();
    assert_eq!(items.len(), 60);
    assert!(items[40..].iter().all(|item| item["modified_at"].is_null()));
    assert_eq!(
        items[0]["impact"].as_str().map(|impact| impact.ends_with(".5")),
        Some(true)
    );
    let timed = door.pages("/v1/flags?to=2200-01-01T00:00:00Z").await.concat();
    assert_eq!(timed.len(), 40, "a flag without a time lies in no span of time");
    let timed = door.pages("/v1/flags?from=1900-01-01T00:00:00Z").await.concat();
    assert_eq!(timed.len(), 40);
    let withdrawn = door
        .pages("/v1/flags?status=withdrawn&kind=amount_mismatch")
        .await;
    assert_eq!(withdrawn.concat().len(), 12);
    done(redline, door, Vec::new()).await;
}

#[tokio::test]
async fn while_postgres_is_away_readers_are_told_to_come_again() {
    let redline = Plan::new("away").make().await;
    let (mut proxy, url) = Proxy::before_url(&redline.database_url).await;
    proxy.on().await;
    let door = redline.ingest_with(&[("DATABASE_URL", &url)]).await;
    assert_eq!(door.read("/v1/flags").await, json!({"items": [], "next": null}));
    proxy.off().await;
    let answer = door.get("/v1/flags").await;
    assert_eq!(
        (answer.status, &answer.body["type"]),
        (503, &json!("urn:redline:problem:away"))
    );
    proxy.on().await;
    until(
        "flags are read again",
        Duration::from_secs(30),
        async || match door.get("/v1/flags").await {
            answer if answer.status == 200 => Ok(()),
            answer => Err(format!("the door answers {answer:?}")),
        },
    )
    .await;
    done(redline, door, Vec::new()).await;
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_ended_and_says_so() {
    let redline = Plan::new("slow")
        .settings("[console]\nstatement_timeout_milliseconds = 200\n")
        .make()
        .await;
    let door = redline.ingest().await;
    assert_eq!(door.get("/v1/flags").await.status, 200);
    let mut transaction = redline.pool.begin().await.expect("Postgres answers");
    sqlx::query("lock table redline.flags in access exclusive mode")
        .execute(&mut *transaction)
        .await
        .expect("nobody else locks the flags");
    let answer = door.get("/v1/flags").await;
    assert_eq!(
        (answer.status, &answer.body["type"]),
        (503, &json!("urn:redline:problem:too-slow"))
    );
    assert_eq!(door.get("/v1/changes").await.status, 200);
    transaction.rollback().await.expect("Postgres answers");
    assert_eq!(door.get("/v1/flags").await.status, 200);
    done(redline, door, Vec::new()).await;
}
