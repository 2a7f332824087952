//! From an HTTP request to a flag on the topic.

use std::time::Duration;

use redline_schemas::flag::Flag;
use redline_tests::checker::{self, Totals};
use redline_tests::{Plan, rows};
use serde_json::{Value, json};

use crate::{REST, end, worker_and_relay};

fn totals(accepted: i64, duplicate: i64, quarantined: i64) -> Totals {
    Totals {
        read: accepted + duplicate + quarantined,
        accepted,
        duplicate,
        quarantined,
    }
}

/// Version, column, revision, status, before and after of each flag on the topic, in a fixed order.
fn shown(flags: &[Flag]) -> Vec<String> {
    let mut lines: Vec<String> = flags
        .iter()
        .map(|flag| {
            format!(
                "{} v{} {} r{} {} {}->{}",
                flag.kind,
                flag.version,
                flag.column.as_deref().unwrap_or("-"),
                flag.revision,
                flag.status,
                flag.before.as_deref().unwrap_or("-"),
                flag.after.as_deref().unwrap_or("-")
            )
        })
        .collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn the_contracts_example_row_goes_from_an_http_request_to_a_flag_on_the_topic() {
    let redline = Plan::new("path").make().await;
    let door = redline.ingest().await;
    let mut processes = worker_and_relay(&redline);
    let mut before = rows::before_example();
    before["columns"]["Redlined Total Price"] = "950.00".into();
    door.accept("/v1/rows", &before).await;
    door.accept("/v1/rows", &rows::example()).await;
    redline.wait_quiet(REST).await;

    assert_eq!(
        redline
            .texts(
                "select concat_ws(' ', column_name, before, after, impact, currency, risk, editor)
                 from redline.changes order by 1"
            )
            .await,
        [
            "Quantity 10 12 190 USD MEDIUM ann@example.com",
            "Redlined Total Price 950 1140 190 USD MEDIUM ann@example.com",
        ]
    );
    let mut flags = checker::published_flags(&redline).await;
    // The example row is completed, so that each change is flagged as that too.
    flags.sort_by(|one, other| (&other.kind, &one.column).cmp(&(&one.kind, &other.column)));
    // printf '%s' '["retroactive_change","row","billing","R-1001",7,"Quantity"]' | sha256sum, and the other column
    let ids: Vec<&str> = flags.iter().map(|flag| flag.flag_id.as_str()).collect();
    assert_eq!(
        ids,
        [
            QUANTITY_FLAG,
            TOTAL_FLAG,
            COMPLETED_QUANTITY_FLAG,
            COMPLETED_TOTAL_FLAG
        ]
    );
    let flag: Value = serde_json::from_str(&flags[0].to_json()).expect("a flag is JSON");
    let mut stable = flag.clone();
    for changing in ["position", "rules_hash", "reason", "details"] {
        stable.as_object_mut().expect("an object").remove(changing);
    }
    assert_eq!(
        stable,
        json!({
            "flag_id": QUANTITY_FLAG, "revision": 1, "status": "standing", "kind": "retroactive_change",
            "risk": "MEDIUM", "entity_type": "row", "source": "billing", "entity_id": "R-1001", "version": 7,
            "column": "Quantity", "before": "10", "after": "12", "impact": flag["impact"], "currency": "USD",
            "editor": "ann@example.com", "modified_at": "2026-03-02T09:58:11Z", "period": "2026-02-22",
            "link": "https://sheets.example.com/r/1001",
        })
    );
    assert_eq!(flag["impact"].to_string().trim_matches('"'), "190");
    let position = &flags[0].position;
    assert_eq!(
        (position.topic.as_str(), position.offset),
        (redline.topics.rows.as_str(), 1)
    );
    assert_eq!(checker::check(&redline).await, totals(2, 0, 0));
    processes.push(door.process);
    end(redline, processes).await;
}

const QUANTITY_FLAG: &str = "c106cb6333cee2814d629a3c09af42e7d016a1ee19904e52a3f5967c9ffb2556";
const TOTAL_FLAG: &str = "bfb4c41b21a5dff8319abafacebaa9d33bad9013ce12e93e72468235ad6329a8";
// The same with completed_row_change.
const COMPLETED_QUANTITY_FLAG: &str = "3704ac149b32a7ba43c4b9e7232102b38faacf30cb78bdc8acf8bf4ddca3787e";
const COMPLETED_TOTAL_FLAG: &str = "f5a9e35c0a3276480061d79665f025dc46790cc99844f048ce539b9a9ee60ad5";

#[tokio::test]
async fn a_change_is_retroactive_from_midnight_of_the_sources_own_time_zone_on() {
    let redline = Plan::new("midnight").make().await;
    let processes = worker_and_relay(&redline);
    let mut versions = Vec::new();
    for (row_id, modified_at) in [
        ("in-time", "2026-02-23T04:59:59Z"),
        ("late", "2026-02-23T05:00:00Z"),
    ] {
        for version in 1..3 {
            let mut row = rows::billing(row_id, version, 10 + version);
            row["modified_at"] = modified_at.into();
            row["columns"] = json!({"Quantity": 10 + version, "Unit Price": 95});
            versions.push(rows::row(&row));
        }
    }
    redline.produce_rows(&versions).await;
    redline.wait_quiet(REST).await;
    let flagged: Vec<String> = checker::published_flags(&redline)
        .await
        .into_iter()
        .map(|flag| flag.entity_id)
        .collect();
    assert_eq!(flagged, ["late"]);
    assert_eq!(redline.count("select count(*) from redline.changes").await, 2);
    assert_eq!(checker::check(&redline).await, totals(4, 0, 0));
    end(redline, processes).await;
}

#[tokio::test]
async fn a_late_version_takes_its_place_and_revises_or_withdraws_what_was_flagged() {
    let redline = Plan::new("late").make().await;
    let door = redline.ingest().await;
    let mut processes = worker_and_relay(&redline);
    // Of "revised" the late version lies between; of "withdrawn" it made the change already.
    let row = |row_id: &str, version: i64, quantity: i64| {
        let mut row = rows::billing(row_id, version, quantity);
        row["columns"] = json!({"Quantity": quantity, "Unit Price": 95});
        row
    };
    for row_id in ["revised", "withdrawn"] {
        door.accept("/v1/rows", &json!([row(row_id, 1, 10), row(row_id, 3, 12)]))
            .await;
    }
    redline.wait_quiet(REST).await;
    door.accept("/v1/rows", &row("revised", 2, 11)).await;
    door.accept("/v1/rows", &row("withdrawn", 2, 12)).await;
    redline.wait_quiet(REST).await;

    let flags = checker::published_flags(&redline).await;
    let of = |row_id: &str| -> Vec<Flag> {
        flags
            .iter()
            .filter(|flag| flag.entity_id == row_id)
            .cloned()
            .collect()
    };
    assert_eq!(
        shown(&of("revised")),
        [
            "retroactive_change v2 Quantity r1 standing 10->11",
            "retroactive_change v3 Quantity r1 standing 10->12",
            "retroactive_change v3 Quantity r2 standing 11->12",
        ]
    );
    assert_eq!(
        shown(&of("withdrawn")),
        [
            "retroactive_change v2 Quantity r1 standing 10->12",
            "retroactive_change v3 Quantity r1 standing 10->12",
            "retroactive_change v3 Quantity r2 withdrawn 10->12",
        ],
        "a withdrawn flag repeats its last standing content"
    );
    assert_eq!(
        redline
            .texts("select concat_ws(' ', entity_id, version, before, after) from redline.changes order by 1")
            .await,
        ["revised 2 10 11", "revised 3 11 12", "withdrawn 2 10 12"]
    );
    assert_eq!(checker::check(&redline).await, totals(6, 0, 0));
    processes.push(door.process);
    end(redline, processes).await;
}

#[tokio::test]
async fn a_duplicate_changes_nothing_and_is_counted() {
    let redline = Plan::new("duplicate").make().await;
    let door = redline.ingest().await;
    let mut processes = worker_and_relay(&redline);
    let history = json!([rows::billing("R-1", 1, 10), rows::billing("R-1", 2, 12)]);
    door.accept("/v1/rows", &history).await;
    redline.wait_quiet(REST).await;
    let before = (
        checker::changes(&redline).await,
        checker::standing_flags(&redline).await,
        checker::published_flags(&redline).await,
    );
    assert_eq!(before.2.len(), 2, "quantity and total are flagged");

    // The same, in another order, and observed again later: the time of observation is no content.
    let mut later = rows::billing("R-1", 2, 12);
    later["observed_at"] = "2026-03-05T00:00:00Z".into();
    door.accept("/v1/rows", &json!([later, rows::billing("R-1", 1, 10)]))
        .await;
    redline.wait_quiet(REST).await;
    let after = (
        checker::changes(&redline).await,
        checker::standing_flags(&redline).await,
        checker::published_flags(&redline).await,
    );
    assert_eq!(before, after);
    assert_eq!(checker::check(&redline).await, totals(2, 2, 0));
    processes.push(door.process);
    end(redline, processes).await;
}

#[tokio::test]
async fn orders_and_payouts_are_recorded_counted_and_summed() {
    let redline = Plan::new("orders").make().await;
    let door = redline.ingest().await;
    let mut processes = worker_and_relay(&redline);
    let order = json!({"order_id": "o-1", "customer_id": "c-1", "amount": "19.90", "currency": "EUR",
        "status": "created", "created_at": "2026-03-31T23:30:00Z"});
    let payout = json!({"system": "video", "payout_id": "p-1", "period": "2026-02", "amount": 1000.000000001,
        "currency": "USD", "reported_at": "2026-03-10T00:00:00Z"});
    for _ in 0..2 {
        door.accept("/v1/orders", &order).await;
        door.accept("/v1/payouts", &payout).await;
    }
    redline.wait_quiet(REST).await;
    assert_eq!(
        redline
            .texts(
                "select concat_ws(' ', period, currency, outcome, sum(records), sum(amount))
                 from redline.control_sums group by period, currency, outcome order by 1"
            )
            .await,
        [
            "2026-02 USD accepted 1 1000.000000001",
            "2026-02 USD duplicate 1 1000.000000001",
            "2026-03 EUR accepted 1 19.9",
            "2026-03 EUR duplicate 1 19.9",
        ]
    );
    assert_eq!(
        redline
            .texts("select concat_ws(' ', entity_type, source, entity_id, version) from redline.entities order by 1")
            .await,
        ["order orders o-1 0", "payout video p-1 0"]
    );
    assert_eq!(checker::check(&redline).await, totals(2, 2, 0));
    processes.push(door.process);
    end(redline, processes).await;
}

/// Rows are most of what there is: a second worker that only gets the partitions of other topics helps nobody.
#[tokio::test]
async fn two_workers_share_the_partitions_of_rows() {
    let redline = Plan::new("share").partitions(6).make().await;
    let mut first = redline.work();
    first.wait_for_log("partitions are read", REST).await;
    let second = redline.work();
    redline.wait_for_owners(2, Duration::from_secs(20)).await;
    end(redline, vec![first, second]).await;
}

#[tokio::test]
async fn one_process_of_all_roles_takes_a_row_to_its_flag_and_stops_when_told() {
    let redline = Plan::new("serve").make().await;
    let door = redline.serve().await;
    door.accept("/v1/rows", &rows::before_example()).await;
    door.accept("/v1/rows", &rows::example()).await;
    redline.wait_quiet(REST).await;

    assert_eq!(checker::check(&redline).await, totals(2, 0, 0));
    let flags = door.read("/v1/flags?status=standing").await;
    assert!(
        !flags["items"].as_array().expect("a list of flags").is_empty(),
        "{flags}"
    );
    end(redline, vec![door.process]).await;
}
