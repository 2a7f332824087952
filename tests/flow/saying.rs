//! What is said: over HTTP, by `rules activate` and by `reference load`.

use std::fs;

use redline_tests::checker;
use redline_tests::{Installation, Plan, rows};
use serde_json::{Value, json};

use crate::{REST, end, worker_and_relay};

/// Writes a file into the installation's folder; answers its path.
fn file(redline: &Installation, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = redline.folder().join(name);
    fs::write(&path, content).expect("a file can be written");
    path.display().to_string()
}

/// Kind and status of the flags, as often as they are there.
async fn flags(redline: &Installation) -> Vec<String> {
    redline
        .texts("select concat_ws(' ', kind, \"column\", status) from redline.flags order by kind, \"column\", status")
        .await
}

#[tokio::test]
async fn what_others_say_over_http_is_recorded_with_the_key_that_said_it() {
    let redline = Plan::new("said").make().await;
    let door = redline.ingest().await;
    let mut processes = worker_and_relay(&redline);
    let approval = json!({
        "id": "A-1", "effective_at": "2026-03-02T09:00:00Z", "source": "billing", "row_id": "R-1001",
        "column": "Quantity", "editor": "ann@example.com", "approver": "eve@example.com", "ceiling": "500",
        "recorded_by": "Eve",
    });
    door.accept("/v1/approvals", &approval).await;
    let period = json!({
        "id": "P-1", "effective_at": "2026-02-27T00:00:00Z", "source": "billing", "period": "2026-02-22",
        "state": "closed",
    });
    // The second is harmless.
    door.accept("/v1/periods", &json!([period, period])).await;
    let outcome = json!({
        "id": "O-1", "effective_at": "2026-03-09T00:00:00Z", "order_id": "O-1", "outcome": "fraud",
    });
    door.accept("/v1/outcomes", &outcome).await;
    redline.wait_quiet(REST).await;
    assert_eq!(
        redline
            .texts(
                "select concat_ws(' ', kind, id, version, regexp_replace(recorded_by, 'key-[0-9a-f]+', 'KEY'))
                 from redline.facts where kind <> 'rules' order by kind"
            )
            .await,
        ["approval A-1 0 Eve via KEY", "outcome O-1 0 KEY", "period P-1 0 KEY"]
    );
    checker::check(&redline).await;
    processes.push(door.process);
    end(redline, processes).await;
}

#[tokio::test]
async fn rules_that_are_effective_from_a_past_instant_judge_again_what_was_flagged_since_then() {
    let redline = Plan::new("activate").make().await;
    let door = redline.ingest().await;
    let mut processes = worker_and_relay(&redline);
    for (version, quantity) in [(1, 10), (2, 12)] {
        door.accept("/v1/rows", &rows::billing("R-1", version, quantity))
            .await;
    }
    redline.wait_quiet(REST).await;
    assert_eq!(
        flags(&redline).await,
        [
            "retroactive_change Quantity standing",
            "retroactive_change Redlined Total Price standing"
        ]
    );

    let shipped = redline.succeed(&["rules", "show", "initial"]).await;
    let lenient = shipped.replace("grace_days = 0", "grace_days = 30");
    assert_ne!(shipped, lenient, "the shipped rules have grace_days = 0");
    let lenient = file(&redline, "lenient.toml", lenient);
    let from = "2026-03-01T00:00:00Z";
    let activate = ["rules", "activate", &lenient, "--effective-at", from, "--json"];
    let told: Value = serde_json::from_str(&redline.succeed(&activate).await).expect("JSON");
    assert_eq!(
        told,
        json!({
            "sent": true, "id": from, "version": 0, "effective_at": from, "until": null,
            "sources": {"billing": from}, "judged_again_from": from,
        })
    );
    // It waits until the first one is recorded.
    let again: Value = serde_json::from_str(&redline.succeed(&activate).await).expect("JSON");
    assert_eq!(again, json!({"sent": false, "id": from}));
    redline.wait_quiet(REST).await;
    assert_eq!(
        flags(&redline).await,
        [
            "retroactive_change Quantity withdrawn",
            "retroactive_change Redlined Total Price withdrawn"
        ]
    );

    let broken = file(&redline, "broken.toml", "[sources.billing]\ngrace_days = \"x\"\n");
    let refused = redline.run(&["rules", "activate", &broken]).await;
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(
        refused
            .stderr
            .contains("broken.toml is refused, and nothing was activated: line 2"),
        "{}",
        refused.stderr
    );
    let list = redline.succeed(&["rules", "list", "--json"]).await;
    let states: Vec<String> = list
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            format!(
                "{} {}",
                line["id"].as_str().unwrap_or_default(),
                line["state"].as_str().unwrap_or_default()
            )
        })
        .collect();
    assert_eq!(states, ["initial over", "2026-03-01T00:00:00Z in force"]);
    checker::check(&redline).await;
    processes.push(door.process);
    end(redline, processes).await;
}

#[tokio::test]
async fn a_reference_table_is_loaded_whole_and_again_only_where_it_differs() {
    let redline = Plan::new("reference").make().await;
    let processes = worker_and_relay(&redline);
    let header = "Work Order,Task,price,valid_from,valid_until\n";
    let prices = format!("{header}WO-1,T-1,95.00,2026-01-01,2026-03-01\nWO-1,T-1,97.5,2026-03-01,\n");
    let load = async |content: &[u8]| {
        let file = file(&redline, "prices.csv", content);
        let keys = ["--key", "Work Order", "--key", "Task", "--json"];
        let arguments = [["reference", "load", "contract_prices", &file].as_slice(), &keys].concat();
        let ended = redline.run(&arguments).await;
        let told: Value = serde_json::from_str(&ended.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", ended.stdout, ended.stderr));
        (ended.code, told)
    };
    let numbers = |told: &Value| ["new", "changed", "unchanged", "sent"].map(|name| told[name].as_u64());

    let (code, told) = load(prices.as_bytes()).await;
    assert_eq!((code, numbers(&told)), (0, [Some(2), Some(0), Some(0), Some(2)]));
    let (_, told) = load(prices.as_bytes()).await;
    assert_eq!(numbers(&told), [Some(0), Some(0), Some(2), Some(0)]);
    let (_, told) = load(prices.replace("97.5", "98").as_bytes()).await;
    assert_eq!(numbers(&told), [Some(0), Some(1), Some(1), Some(1)]);

    let overlapping = format!("{header}WO-1,T-1,99,2026-06-01,\nWO-2,T-1,1,,\n");
    for bad in [
        [b"\xef\xbb\xbf".as_slice(), prices.as_bytes()].concat(),
        [prices.as_bytes(), b"WO-3,T-\xe9,1,,\n"].concat(),
        overlapping.into_bytes(),
    ] {
        let (code, told) = load(&bad).await;
        assert_eq!((code, told["refused"].as_u64()), (1, Some(1)), "{told}");
    }
    redline.wait_quiet(REST).await;
    assert_eq!(
        redline
            .texts(
                "select concat_ws(' ', id, version, content::jsonb -> 'values' ->> 'price', standing)
                 from redline.facts where kind = 'reference' order by id, version"
            )
            .await,
        [
            "contract_prices/[\"WO-1\",\"T-1\"]/2026-01-01 0 95 t",
            "contract_prices/[\"WO-1\",\"T-1\"]/2026-03-01 0 97.5 f",
            "contract_prices/[\"WO-1\",\"T-1\"]/2026-03-01 1 98 t",
        ]
    );
    let list = redline
        .succeed(&["reference", "list", "contract_prices", "--json"])
        .await;
    assert_eq!(list.lines().count(), 2);
    checker::check(&redline).await;
    end(redline, processes).await;
}

#[tokio::test]
async fn without_a_worker_nothing_is_said_that_depends_on_what_was_said_before() {
    let redline = Plan::new("unrecorded").make().await;
    let table = file(&redline, "table.csv", "key,price\nk,1\n");
    redline.succeed(&["reference", "load", "prices", &table]).await;
    let refused = redline.run(&["reference", "load", "prices", &table]).await;
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("1 fact is in Kafka and not recorded"),
        "{}",
        refused.stderr
    );
    redline.remove().await;
}
