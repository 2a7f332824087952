//! Facts: whenever they come, what is recorded ends as if they had come first.

use redline_schemas::{Event, EventKind};
use redline_tests::{Installation, Plan, checker, rows};
use serde_json::{Value, json};

use crate::{REST, end, worker_and_relay};

const RULES: &str = r#"
[sources.billing]
amount = "Redlined Total Price"
natural_key = ["Work Order"]
editors = ["*@example.com"]
[sources.billing.tracked]
"Quantity" = { type = "amount", unit = "Unit Price" }
[sources.billing.thresholds]
USD = { medium = "100", high = "1000" }
"#;

fn fact(json: &Value) -> Event {
    rows::event(EventKind::Fact, json)
}

/// Allows the change of a billing row to this quantity, a day before it is made.
pub(crate) fn approval(id: &str, row_id: &str, quantity: i64) -> Event {
    fact(&json!({
        "kind": "approval", "id": id, "effective_at": "2026-03-01T10:00:00Z", "recorded_by": "cfo@example.com",
        "source": "billing", "row_id": row_id, "column": "Quantity", "editor": "ann@example.com",
        "approver": "cfo@example.com", "value": quantity,
    }))
}

fn rules(id: &str, version: i64, effective_at: &str, text: &str) -> Event {
    fact(&json!({
        "kind": "rules", "id": id, "version": version, "effective_at": effective_at, "recorded_by": "test",
        "text": text,
    }))
}

fn row(json: &Value) -> Event {
    rows::row(json)
}

/// Two versions of a row, of which the second changes the quantity days after the period's end.
fn changed(row_id: &str) -> Vec<Event> {
    vec![
        row(&rows::billing(row_id, 1, 10)),
        row(&rows::billing(row_id, 2, 12)),
    ]
}

/// Kind, row, column and authorisation of what stands.
async fn standing(redline: &Installation) -> Vec<String> {
    redline
        .texts(
            "select concat_ws(' ', kind, entity_id, \"column\") from redline.flags where status = 'standing' order by 1",
        )
        .await
}

async fn authorised(redline: &Installation) -> Vec<String> {
    redline
        .texts(
            "select concat_ws(' ', entity_id, column_name, authorised, approval) from redline.changes order by 1",
        )
        .await
}

#[tokio::test]
async fn an_approval_authorises_the_same_change_whether_it_comes_before_or_after_it() {
    let redline = Plan::new("approval").rules(RULES).make().await;
    let processes = worker_and_relay(&redline);
    redline.produce(&[approval("a-early", "early", 12)]).await;
    redline.wait_quiet(REST).await;
    redline
        .produce(&[changed("early"), changed("late"), changed("never")].concat())
        .await;
    redline.wait_quiet(REST).await;
    assert_eq!(
        standing(&redline).await,
        [
            "retroactive_change late Quantity",
            "retroactive_change never Quantity"
        ]
    );
    redline
        .produce(&[approval("a-late", "late", 12), approval("a-other", "never", 13)])
        .await;
    redline.wait_quiet(REST).await;
    assert_eq!(standing(&redline).await, ["retroactive_change never Quantity"]);
    assert_eq!(
        authorised(&redline).await,
        [
            "early Quantity t a-early",
            "late Quantity t a-late",
            "never Quantity f"
        ]
    );
    let listed = redline.succeed(&["approvals", "list"]).await;
    let lines: Vec<&str> = listed.lines().collect();
    for (line, (begin, end)) in lines.iter().zip([
        (
            "a-early: Quantity of billing/early by ann@example.com, allowed by cfo@example.com at 2026-03-01T10:00:00Z",
            "; used by version 2",
        ),
        ("a-late: Quantity of billing/late", "; used by version 2"),
        (
            "a-other: Quantity of billing/never",
            "; without effect: version 2 made it 12, and 13 was approved",
        ),
    ]) {
        assert!(line.starts_with(begin) && line.ends_with(end), "{line}");
    }
    assert_eq!(lines.len(), 3, "{listed}");
    let without_effect = redline.run(&["approvals", "list", "--without-effect"]).await;
    assert_eq!(
        (without_effect.code, without_effect.stdout.lines().count()),
        (3, 1)
    );
    let withdrawn = redline
        .texts("select entity_id || ' ' || revision from redline.flags where status = 'withdrawn'")
        .await;
    assert_eq!(withdrawn, ["late 2"], "it was withdrawn, and not deleted");
    // A higher version of the same approval is about another row: the first one loses it.
    let mut moved = approval("a-late", "never", 12);
    if let Event::Fact(fact) = &mut moved {
        fact.version = 1;
    }
    redline.produce(&[moved]).await;
    redline.wait_quiet(REST).await;
    assert_eq!(standing(&redline).await, ["retroactive_change late Quantity"]);
    checker::check(&redline).await;
    end(redline, processes).await;
}

#[tokio::test]
async fn rules_that_are_activated_late_judge_again_what_they_touch_and_nothing_else() {
    let redline = Plan::new("rules-late").rules(RULES).make().await;
    let processes = worker_and_relay(&redline);
    redline.produce(&[changed("one"), changed("two")].concat()).await;
    redline.wait_quiet(REST).await;
    assert_eq!(standing(&redline).await.len(), 2);
    let recorded =
        || redline.count("select sum(revision)::bigint from redline.entities where entity_type = 'row'");
    let revisions = recorded().await;
    // In force only after everything that is recorded.
    let graceful = RULES.replace("amount =", "grace_days = 30\namount =");
    redline
        .produce(&[rules("r", 1, "2026-03-03T00:00:00Z", &graceful)])
        .await;
    redline.wait_quiet(REST).await;
    assert_eq!(recorded().await, revisions, "no row was judged again");
    // The same rules from the beginning of the month on: within thirty days nothing is retroactive.
    redline
        .produce(&[rules("r", 2, "2026-03-01T00:00:00Z", &graceful)])
        .await;
    redline.wait_quiet(REST).await;
    assert!(standing(&redline).await.is_empty());
    // A source that no rules named is recorded, and judged once rules name it.
    let mut other = rows::billing("three", 1, 10);
    other["source"] = "labour".into();
    let mut later = rows::billing("three", 2, 12);
    later["source"] = "labour".into();
    redline.produce(&[row(&other), row(&later)]).await;
    redline.wait_quiet(REST).await;
    assert!(standing(&redline).await.is_empty());
    let both = format!("{graceful}\n{}", RULES.replace("billing", "labour"));
    redline
        .produce(&[rules("r", 3, "2026-03-01T00:00:00Z", &both)])
        .await;
    redline.wait_quiet(REST).await;
    assert_eq!(standing(&redline).await, ["retroactive_change three Quantity"]);
    // The rules under which a flag was raised can be read, by the hash that it carries.
    let hash = redline
        .texts("select rules_hash from redline.flags where status = 'standing'")
        .await;
    assert_eq!(redline.succeed(&["rules", "show", &hash[0]]).await, both);
    checker::check(&redline).await;
    end(redline, processes).await;
}

/// A version of a row of a work order.
fn of_work_order(row_id: &str, version: i64, op: &str, day: u8) -> Event {
    let mut json = rows::billing(row_id, version, 10);
    json["op"] = op.into();
    json["modified_at"] = format!("2026-02-{day:02}T12:00:00Z").into();
    json["columns"]["Work Order"] = "WO-1".into();
    row(&json)
}

#[tokio::test]
async fn a_row_that_is_deleted_and_created_elsewhere_is_moved_in_whichever_order_that_is_learnt() {
    let created = of_work_order("old", 1, "create", 10);
    let deleted = of_work_order("old", 2, "delete", 12);
    let again = of_work_order("new", 1, "create", 14);
    let mut results = Vec::new();
    for (name, order) in [
        ("moved-forth", [&created, &deleted, &again]),
        ("moved-back", [&again, &deleted, &created]),
        ("moved-mixed", [&deleted, &again, &created]),
    ] {
        let redline = Plan::new(name).rules(RULES).make().await;
        let processes = worker_and_relay(&redline);
        for event in order {
            redline.produce(&[(*event).clone()]).await;
            redline.wait_quiet(REST).await;
        }
        assert_eq!(standing(&redline).await, ["row_moved new"], "{name}");
        results.push(checker::standing_flags(&redline).await);
        // The delete turns out to be older than seven days: nothing was moved then.
        let mut earlier = of_work_order("old", 2, "delete", 1);
        if let Event::Row(row) = &mut earlier {
            row.version = 0;
            row.op = "create".into();
        }
        let undone = of_work_order("new", 0, "create", 5);
        redline.produce(&[earlier, undone]).await;
        redline.wait_quiet(REST).await;
        assert!(
            standing(&redline).await.is_empty(),
            "the new row was there before the old one went"
        );
        checker::check(&redline).await;
        end(redline, processes).await;
    }
    results.dedup();
    assert_eq!(results.len(), 1, "byte for byte the same");
}

#[tokio::test]
async fn a_fact_that_cannot_be_used_is_quarantined_with_its_field_and_the_partition_goes_on() {
    let redline = Plan::new("bad-facts").rules(RULES).make().await;
    let processes = worker_and_relay(&redline);
    let mut nobody = approval("a-1", "r", 1);
    if let Event::Fact(fact) = &mut nobody {
        fact.approver = None;
    }
    redline
        .produce(&[
            nobody,
            rules("broken", 0, "2026-03-01T00:00:00Z", "[sources.a]\ncolour = 1"),
            approval("a-2", "r", 1),
        ])
        .await;
    redline.wait_quiet(REST).await;
    let quarantined = redline
        .texts("select reason || ': ' || detail from redline.quarantine order by \"offset\", partition")
        .await;
    assert_eq!(quarantined.len(), 2, "{quarantined:?}");
    assert!(
        quarantined
            .iter()
            .any(|line| line.contains("invalid_field: `approver`"))
            && quarantined
                .iter()
                .any(|line| line.contains("`text`") && line.contains("colour")),
        "{quarantined:?}"
    );
    let facts = redline
        .texts("select kind || '/' || id from redline.facts where kind = 'approval'")
        .await;
    assert_eq!(facts, ["approval/a-2"]);
    checker::check(&redline).await;
    end(redline, processes).await;
}

#[tokio::test]
async fn quiet_can_be_asked_for() {
    let redline = Plan::new("quiet").rules(RULES).make().await;
    redline.produce(&changed("one")).await;
    let ended = redline.run(&["doctor", "--quiet"]).await;
    assert_eq!(ended.code, 3, "{}", ended.stdout);
    assert!(
        ended.stdout.contains("not quiet: 2 offsets are to be recorded"),
        "{}",
        ended.stdout
    );
    let mut worker = redline.start("work", &[("REDLINE_WORK__METRICS_LISTEN", "127.0.0.1:0")]);
    let relay = redline.relay();
    let said = redline.succeed(&["doctor", "--quiet", "--wait", "60"]).await;
    assert_eq!(said, "quiet: everything is recorded, judged and published\n");
    assert_eq!(standing(&redline).await.len(), 1);

    let line = worker.wait_for_log("GET /metrics is answered", REST).await;
    let line: Value = serde_json::from_str(&line).expect("a log line is JSON");
    let address = line["address"].as_str().expect("the address").to_owned();
    redline.produce(&[approval("a-1", "one", 12)]).await;
    redline.wait_quiet(REST).await;
    let metrics = async || {
        let answer = reqwest::get(format!("http://{address}/metrics"))
            .await
            .expect("metrics");
        answer.text().await.expect("text")
    };
    redline_tests::until("the metrics say so", REST, async || {
        let text = metrics().await;
        let lines = [
            "redline_dirty_keys{kind=\"entity\"} 0",
            "redline_dirty_keys{kind=\"state_key\"} 0",
            "redline_derived_entities_total 1",
        ];
        match lines.iter().find(|line| !text.contains(*line)) {
            None => Ok(()),
            Some(line) => Err(format!("{line} is not in {text}")),
        }
    })
    .await;
    end(redline, vec![worker, relay]).await;
}

#[tokio::test]
async fn a_backtest_of_the_rules_in_force_finds_no_difference_and_of_others_says_which() {
    let redline = Plan::new("backtest").rules(RULES).make().await;
    let processes = worker_and_relay(&redline);
    redline
        .produce(&[changed("one"), vec![of_work_order("old", 1, "create", 10)]].concat())
        .await;
    redline.wait_quiet(REST).await;
    let file = |name: &str, text: &str| {
        let path = redline.folder().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let same = redline
        .succeed(&["rules", "backtest", "--rules", &file("same.toml", RULES)])
        .await;
    assert!(same.contains("No difference."), "{same}");
    let strict = RULES
        .replace(
            "medium = \"100\", high = \"1000\"",
            "medium = \"1\", high = \"2\"",
        )
        .replace("*@example.com", "bob@example.com");
    let before = checker::standing_flags(&redline).await;
    let ended = redline
        .run(&[
            "rules",
            "backtest",
            "--rules",
            &file("strict.toml", &strict),
            "--json",
        ])
        .await;
    assert_eq!(ended.code, 3, "{}", ended.stdout);
    let found: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let counts: Vec<String> = found["flags"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|line| {
            format!(
                "{} {}: {} more, {} less, {} differently",
                line["kind"].as_str().expect("a kind"),
                line["risk"].as_str().expect("a risk"),
                line["more"]["count"],
                line["less"]["count"],
                line["differently"]["count"]
            )
        })
        .collect();
    assert_eq!(
        counts,
        [
            "retroactive_change HIGH: 0 more, 0 less, 1 differently",
            "retroactive_change MEDIUM: 0 more, 0 less, 0 differently",
            "unauthorized_editor HIGH: 1 more, 0 less, 0 differently",
        ]
    );
    assert_eq!(
        checker::standing_flags(&redline).await,
        before,
        "nothing was written"
    );
    end(redline, processes).await;
}
