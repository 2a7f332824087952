//! What a question leaves out, and what a key may ask.

use std::collections::BTreeSet;

use redline_tests::{Plan, rows};
use serde_json::{Value, json};

use super::{done, row_at, started, texts};
use crate::REST;

#[tokio::test]
async fn filters_leave_out_what_they_name_and_bad_ones_are_refused() {
    let (redline, door, processes) = started(Plan::new("filters")).await;
    let mut versions = Vec::new();
    for (id, day) in [("R-1", 1), ("R-2", 2), ("R-3", 3)] {
        let time = format!("2026-03-{day:02}T00:00:00Z");
        // The impact is 190, 380 and 1900.
        let quantity = [12, 14, 30][day - 1];
        versions.extend([row_at(id, 1, 10, &time), row_at(id, 2, quantity, &time)]);
    }
    door.accept("/v1/rows", &Value::from(versions)).await;
    redline.wait_quiet(REST).await;
    let of = async |path: &str| -> BTreeSet<String> {
        let pages = door.pages(path).await;
        pages.iter().flat_map(|page| texts(page, "entity_id")).collect()
    };
    let ids = |ids: &[&str]| -> BTreeSet<String> { ids.iter().map(|id| (*id).to_owned()).collect() };
    for list in ["flags", "changes"] {
        for (filter, expected) in [
            ("limit=1", &["R-1", "R-2", "R-3"][..]),
            ("limit=1&from=2026-03-02T00:00:00Z", &["R-2", "R-3"]),
            ("limit=1&to=2026-03-02T00:00:00Z", &["R-1"]),
            (
                "limit=1&from=2026-03-02T01:00:00%2B01:00&to=2026-03-03T00:00:00Z",
                &["R-2"],
            ),
            ("limit=1&entity_id=R-3", &["R-3"]),
            ("limit=1&source=billing", &["R-1", "R-2", "R-3"]),
            ("limit=1&source=outages", &[]),
            (
                "limit=1&source=billing&entity_id=R-1&from=2026-03-02T00:00:00Z",
                &[],
            ),
        ] {
            assert_eq!(
                of(&format!("/v1/{list}?{filter}")).await,
                ids(expected),
                "{list} {filter}"
            );
        }
    }
    assert_eq!(of("/v1/flags?risk=HIGH").await, ids(&["R-3"]));
    assert_eq!(of("/v1/flags?kind=late_row").await, ids(&[]));
    assert_eq!(
        of("/v1/flags?kind=retroactive_change&risk=MEDIUM").await,
        ids(&["R-1", "R-2"])
    );
    assert_eq!(of("/v1/changes?authorised=true").await, ids(&[]));
    assert_eq!(of("/v1/changes?authorised=false").await.len(), 3);

    let page = door.read("/v1/flags?limit=1").await;
    let cursor = page["next"].as_str().expect("there is more");
    for (path, parameter) in [
        ("/v1/flags?colour=red".to_owned(), "colour"),
        ("/v1/flags?limit=5000".to_owned(), "limit"),
        ("/v1/flags?from=yesterday".to_owned(), "from"),
        ("/v1/flags?status=open".to_owned(), "status"),
        ("/v1/flags?offset=10".to_owned(), "offset"),
        ("/v1/changes?kind=late_row".to_owned(), "kind"),
        (format!("/v1/flags?limit=1&risk=HIGH&after={cursor}"), "after"),
        (format!("/v1/changes?limit=1&after={cursor}"), "after"),
        ("/v1/entities/match/video/c-1/history".to_owned(), "type"),
        (
            "/v1/entities/row/billing/R-1/history?kind=late_row".to_owned(),
            "kind",
        ),
    ] {
        let answer = door.get(&path).await;
        assert_eq!(answer.status, 400, "{path} is answered {}", answer.body);
        assert_eq!(answer.body["parameter"], parameter, "{path}");
        assert_eq!(answer.body["type"], "urn:redline:problem:bad-parameter");
    }
    done(redline, door, processes).await;
}

#[tokio::test]
async fn a_key_needs_the_scope_and_sees_only_its_source() {
    let (redline, door, processes) = started(Plan::new("access")).await;
    for row_id in ["R-1", "R-2"] {
        let both = json!([rows::billing(row_id, 1, 10), rows::billing(row_id, 2, 12)]);
        door.accept("/v1/rows", &both).await;
    }
    let outage = json!({"source": "outages", "row_id": "O-1", "version": 1, "op": "snapshot",
        "observed_at": "2026-03-02T10:00:00Z", "columns": {"crew_status": "assigned"}});
    let mut later = outage.clone();
    later["version"] = 2.into();
    later["columns"]["crew_status"] = "on site".into();
    door.accept("/v1/rows", &json!([outage, later])).await;
    redline.wait_quiet(REST).await;
    let writer = redline.key(&["rows", "facts", "approvals"]).await;
    let outages = redline.key_of_source(&["read"], "outages").await;
    let billing = redline.key_of_source(&["read", "rows"], "billing").await;
    let flag_id = door.read("/v1/flags?source=billing&limit=1").await["items"][0]["flag_id"]
        .as_str()
        .expect("a flag")
        .to_owned();
    let one = format!("/v1/flags/{flag_id}");
    let own = "/v1/entities/row/outages/O-1/history";
    for (path, key, status) in [
        ("/v1/flags", None, 401),
        ("/v1/flags", Some("rl_x"), 401),
        ("/v1/flags", Some(writer.as_str()), 403),
        ("/v1/changes", Some(&writer), 403),
        (own, Some(&writer), 403),
        (&one, Some(&writer), 403),
        // Who may not come in is not told what is wrong with the question.
        ("/v1/flags?colour=red", None, 401),
        ("/v1/flags", Some(&outages), 200),
        ("/v1/flags?source=outages", Some(&outages), 200),
        ("/v1/flags?source=billing", Some(&outages), 403),
        ("/v1/changes?source=billing", Some(&outages), 403),
        ("/v1/entities/row/billing/R-1/history", Some(&outages), 403),
        ("/v1/entities/row/billing/none/history", Some(&outages), 403),
        (own, Some(&outages), 200),
        (&one, Some(&outages), 404),
        (&one, Some(&billing), 200),
        ("/v1/flags/none", Some(&billing), 404),
    ] {
        let answer = door.get_with(path, key).await;
        assert_eq!(
            answer.status, status,
            "{path} with {key:?} is answered {}",
            answer.body
        );
    }
    let sources = async |path: &str, key: &str| -> BTreeSet<String> {
        let body = door.get_with(path, Some(key)).await.body;
        texts(body["items"].as_array().expect("items"), "source")
            .into_iter()
            .collect()
    };
    for path in ["/v1/flags", "/v1/changes"] {
        assert!(sources(path, &billing).await.iter().eq(["billing"]), "{path}");
    }
    assert!(sources("/v1/changes", &outages).await.iter().eq(["outages"]));
    assert!(
        sources("/v1/changes", door.key())
            .await
            .iter()
            .eq(["billing", "outages"])
    );
    // A cursor of all sources is none of one source.
    let page = door.read("/v1/flags?limit=1").await;
    let path = format!("/v1/flags?limit=1&after={}", page["next"].as_str().expect("more"));
    assert_eq!(door.get_with(&path, Some(&outages)).await.status, 400);
    let method = door.post("/v1/flags", "application/json", "{}").await;
    assert_eq!((method.status, &method.body["status"]), (405, &json!(405)));
    done(redline, door, processes).await;
}
