//! The history of one entity.

use redline_tests::{Plan, rows};
use serde_json::{Value, json};

use super::{done, started, texts};
use crate::REST;

#[tokio::test]
async fn a_history_has_every_content_in_order_whatever_its_id_looks_like() {
    let (redline, door, processes) = started(Plan::new("history")).await;
    for (id, path) in [
        ("R/1", "R%2F1"),
        ("50%", "50%25"),
        ("Zürich 1?", "Z%C3%BCrich%201%3F"),
        ("a+b", "a+b"),
    ] {
        let versions = json!([
            rows::billing(id, 3, 12),
            rows::billing(id, 1, 10),
            rows::billing(id, 2, 11)
        ]);
        door.accept("/v1/rows", &versions).await;
        redline.wait_quiet(REST).await;
        let pages = door
            .pages(&format!("/v1/entities/row/billing/{path}/history?limit=2"))
            .await;
        let items = pages.concat();
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1], "{id}");
        let versions: Vec<i64> = items.iter().filter_map(|item| item["version"].as_i64()).collect();
        assert_eq!(versions, [1, 2, 3], "{id}");
        assert_eq!(items[2]["event"]["row_id"], id);
        assert_eq!(items[0]["changes"], json!([]), "the first sight makes no change");
        let change = &items[2]["changes"][0];
        assert_eq!(
            (
                &change["column_name"],
                &change["before"],
                &change["after"],
                &change["impact"]
            ),
            (&json!("Quantity"), &json!("11"), &json!("12"), &json!("95"))
        );
        assert!(items[2]["flags"].as_array().is_some_and(|flags| flags.len() >= 2));
    }
    // Of two contents of one version, changes and flags hang on the one that stands, on whichever page it is.
    let mut other = rows::billing("R/1", 2, 20);
    other["modified_at"] = "2026-03-01T00:00:00Z".into();
    door.accept("/v1/rows", &other).await;
    redline.wait_quiet(REST).await;
    for limit in [1, 2, 3, 100] {
        let path = format!("/v1/entities/row/billing/R%2F1/history?limit={limit}");
        let items = door.pages(&path).await.concat();
        let shown: Vec<(i64, i64, bool, bool)> = items
            .iter()
            .map(|item| {
                (
                    item["version"].as_i64().unwrap_or(-1),
                    item["event"]["columns"]["Quantity"].as_i64().unwrap_or(-1),
                    item["standing"] == true,
                    item["flags"] != json!([]),
                )
            })
            .collect();
        let mut two = [(2, 11, true, true), (2, 20, false, false)];
        if texts(&items, "content_hash")[1] > texts(&items, "content_hash")[2] {
            panic!("contents of one version come in the order of their hashes");
        }
        if shown[1].1 == 20 {
            two.reverse();
        }
        assert_eq!(shown, [(1, 10, true, false), two[0], two[1], (3, 12, true, true)]);
    }
    let order = json!({"order_id": "o/1", "customer_id": "c-1", "amount": "19.90", "currency": "EUR",
        "status": "created", "created_at": "2026-03-31T23:30:00Z"});
    door.accept("/v1/orders", &order).await;
    redline.wait_quiet(REST).await;
    let history = door.read("/v1/entities/order/orders/o%2F1/history").await;
    assert_eq!(history["items"][0]["event"]["amount"], 19.9);
    assert_eq!(history["items"][0]["observed_at"], Value::Null);
    for path in [
        "/v1/entities/row/billing/none/history",
        "/v1/entities/row/none/R%2F1/history",
        "/v1/entities/payout/billing/R%2F1/history",
        "/v1/entities/row/billing/%00/history",
        "/v1/entities/row/billing/%FF/history",
        "/v1/entities/row/billing/R/1/history",
    ] {
        let answer = door.get(path).await;
        assert_eq!(answer.status, 404, "{path} is answered {}", answer.body);
        assert_eq!(answer.body["type"], "urn:redline:problem:not-found");
    }
    done(redline, door, processes).await;
}
