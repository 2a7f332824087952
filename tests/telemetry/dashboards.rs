//! Every panel's query, and every rule, against a real Prometheus that scrapes a system at work: each must parse and return
//! data. And what the system counts is what it recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use redline_schemas::EventKind;
use redline_tests::checker::{self, Totals};
use redline_tests::{Door, Installation, Plan, Process, Prometheus, Raw, Target, rows};
use serde_json::{Value, json};

use crate::queries;

/// How long the system may take to show everything.
const LIMIT: Duration = Duration::from_secs(180);
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

/// Starts a role that shows metrics; answers where.
pub(crate) async fn shown(
    redline: &Installation,
    role: &str,
    variables: &[(&str, &str)],
) -> (Process, String) {
    let key = format!("REDLINE_{}__METRICS_LISTEN", role.to_uppercase());
    let mut variables = variables.to_vec();
    variables.push((&key, "127.0.0.1:0"));
    let mut process = redline.start(role, &variables);
    let line = process
        .wait_for_log("GET /metrics is answered", Duration::from_secs(60))
        .await;
    let line: Value = serde_json::from_str(&line).expect("a log line is JSON");
    let address = line["address"].as_str().expect("the address").to_owned();
    (process, address)
}

/// What a process shows now.
pub(crate) async fn text(address: &str) -> String {
    let answer = reqwest::get(format!("http://{address}/metrics"))
        .await
        .expect("metrics");
    answer.text().await.expect("text")
}

/// The sum of the series whose names and labels contain all of these.
pub(crate) fn sum(text: &str, parts: &[&str]) -> f64 {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let values = lines
        .filter(|line| parts.iter().all(|part| line.contains(part)))
        .map(|line| {
            line.rsplit(' ')
                .next()
                .and_then(|value| value.parse::<f64>().ok())
        });
    values.map(|value| value.expect("a value")).sum()
}

/// Something of everything: flags, a duplicate, a refused line, a quarantined record, facts, a row that is moved, a read.
async fn send(redline: &Installation, door: &Door, round: i64) {
    let row = |id: &str, version: i64, quantity: i64, op: &str| {
        let mut row = rows::billing(id, version, quantity);
        row["op"] = op.into();
        row["columns"]["Work Order"] = format!("WO-{round}").into();
        row
    };
    let (kept, gone, back) = (
        format!("kept-{round}"),
        format!("gone-{round}"),
        format!("back-{round}"),
    );
    let mut history = vec![
        row(&kept, 1, 10, "create"),
        row(&kept, 2, 12, "update"),
        row(&gone, 1, 10, "create"),
        row(&gone, 2, 10, "delete"),
        row(&back, 1, 10, "create"),
    ];
    history.push(history[1].clone());
    door.accept("/v1/rows", &Value::Array(history)).await;
    let refused = door.post("/v1/rows", "application/json", "{}").await;
    assert_eq!(refused.status, 422, "{refused:?}");
    door.accept(
        "/v1/approvals",
        &json!({"id": format!("a-{round}"), "effective_at": "2026-03-01T10:00:00Z", "source": "billing",
            "row_id": kept, "column": "Quantity", "editor": "ann@example.com", "approver": "cfo@example.com",
            "value": 12}),
    )
    .await;
    door.accept(
        "/v1/orders",
        &json!({"order_id": format!("o-{round}"), "customer_id": "c-1", "amount": "19.90", "currency": "EUR",
            "status": "created", "created_at": "2026-03-31T23:30:00Z"}),
    )
    .await;
    let raw = Raw {
        topic: redline.topics.of(EventKind::Row).to_owned(),
        partition: Some(0),
        key: Some(b"billing/x".to_vec()),
        value: Some(b"no Avro".to_vec()),
        headers: Vec::new(),
    };
    redline.kafka.produce(raw).await;
    assert_eq!(door.get("/v1/flags?limit=1").await.status, 200);
}

/// What a query lacks: it does not parse, or it has no data, or nothing but what is no number.
async fn lacks(prometheus: &Prometheus, query: &str) -> Option<String> {
    let series = match prometheus.last_minute(query).await {
        Ok(series) => series,
        Err(error) => panic!("{query}: {error}"),
    };
    let mut values = series
        .iter()
        .flat_map(|one| one["values"].as_array().into_iter().flatten())
        .filter_map(|value| value[1].as_str());
    match values.any(|value| value != "NaN") {
        true => None,
        false => Some(format!("{query} answers {} series and no number", series.len())),
    }
}

#[tokio::test]
async fn every_panel_and_every_rule_has_data_of_a_system_at_work_and_counters_count_what_is_recorded() {
    let redline = Plan::new("dashboards").rules(RULES).make().await;
    let door = redline.ingest().await;
    let (worker, worker_at) = shown(&redline, "work", &[]).await;
    let (relay, relay_at) = shown(&redline, "relay", &[]).await;
    let door_at = door.address().trim_start_matches("http://").to_owned();
    let targets = [
        ("redline-ingest", &door_at),
        ("redline-work", &worker_at),
        ("redline-relay", &relay_at),
    ];
    let targets = targets.map(|(job, address)| Target {
        job,
        address: address.clone(),
    });
    let prometheus = Prometheus::start(redline.folder(), &targets).await;

    let mut wanted: BTreeMap<String, String> = queries::of_dashboards()
        .into_iter()
        .map(|query| (query.place, queries::substituted(&query.text)))
        .collect();
    for name in queries::rules("configs/prometheus/recording.yml", "record:") {
        wanted.insert(format!("the rule {name}"), name);
    }
    let mut round = 0;
    redline_tests::until("every panel and every rule has data", LIMIT, async || {
        round += 1;
        send(&redline, &door, round).await;
        let mut lacking = Vec::new();
        for (place, query) in &wanted {
            lacking.extend(
                lacks(&prometheus, query)
                    .await
                    .map(|lack| format!("{place}: {lack}")),
            );
        }
        if lacking.is_empty() {
            Ok(())
        } else {
            Err(lacking.join("\n"))
        }
    })
    .await;

    every_rule_can_be_evaluated(&prometheus).await;
    every_metric_is_the_references(&prometheus).await;
    redline.wait_quiet(LIMIT).await;
    let (worked, relayed) = (text(&worker_at).await, text(&relay_at).await);
    let recorded = checker::check(&redline).await;
    counters_are_what_is_recorded(&worked, recorded);
    let flags = redline.count("select count(*) from redline.flag_revisions").await;
    assert_eq!(whole(sum(&worked, &["redline_flags_total{"])), flags);
    let published = whole(sum(&relayed, &["messaging_client_sent_messages_total{"]));
    assert_eq!(published, flags + recorded.quarantined);
    prometheus.end();
    redline.stop(vec![worker, relay, door.process]).await;
    redline.remove().await;
}

#[expect(clippy::cast_possible_truncation, reason = "counts of a test are small")]
fn whole(value: f64) -> i64 {
    value as i64
}

fn counters_are_what_is_recorded(text: &str, recorded: Totals) {
    let outcome = |outcome: &str| {
        let label = format!("outcome=\"{outcome}\"");
        whole(sum(text, &["redline_records_total{", &label]))
    };
    let counted = [outcome("accepted"), outcome("duplicate"), outcome("quarantined")];
    assert_eq!(
        counted,
        [recorded.accepted, recorded.duplicate, recorded.quarantined]
    );
    assert_eq!(
        whole(sum(text, &["redline_quarantined_records_total{"])),
        recorded.quarantined
    );
    assert_eq!(
        whole(sum(text, &["redline_record_delay_seconds_count{"])),
        recorded.read
    );
    assert_eq!(
        whole(sum(text, &["messaging_client_consumed_messages_total{"])),
        recorded.read,
        "nothing was read twice here"
    );
}

async fn every_rule_can_be_evaluated(prometheus: &Prometheus) {
    let data = prometheus.ask("rules", &[]).await.expect("rules");
    let groups = data["groups"].as_array().expect("groups");
    let rules: Vec<&Value> = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().into_iter().flatten())
        .collect();
    assert!(rules.len() > 30, "{} rules", rules.len());
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
}

/// What the roles really show is what the reference has, and the other way round.
async fn every_metric_is_the_references(prometheus: &Prometheus) {
    let data = prometheus.ask("label/__name__/values", &[]).await.expect("names");
    let names: BTreeSet<&str> = data
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let of_ours = |name: &&str| {
        !name.contains(':')
            && !["process_", "scrape_", "up", "ALERTS"]
                .iter()
                .any(|of| name.starts_with(of))
    };
    let shown: BTreeSet<String> = names.iter().copied().filter(of_ours).map(str::to_owned).collect();
    assert_eq!(shown, queries::reference());
    for query in queries::of_dashboards() {
        for name in queries::metrics(&query.text) {
            assert!(
                names.contains(name.as_str()),
                "{}: nobody shows {name}",
                query.place
            );
        }
    }
}

#[tokio::test]
async fn all_roles_in_one_process_share_one_page_of_metrics() {
    let redline = Plan::new("one-page").make().await;
    let key = redline.key(&["rows"]).await;
    let mut process = redline.start("serve", &[]);
    let line = process
        .wait_for_log("the door is open", Duration::from_secs(60))
        .await;
    let line: Value = serde_json::from_str(&line).expect("a log line is JSON");
    let address = line["address"].as_str().expect("the address").to_owned();
    let client = reqwest::Client::new();
    let request = client.post(format!("http://{address}/v1/rows")).bearer_auth(&key);
    let answer = request.json(&rows::example()).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 202);
    redline.wait_quiet(LIMIT).await;
    redline_tests::until("all roles show what they measure", LIMIT, async || {
        let text = text(&address).await;
        let lines = [
            "redline_ingest_events_total{kind=\"row\",outcome=\"accepted\"} 1",
            "outcome=\"accepted\"} 1",
            "redline_relay_leads 1",
            "redline_outbox_messages 0",
            "redline_lag_records{",
            "redline_stopped_partitions{",
            "process_open_fds",
            "redline_build_info{",
        ];
        match lines.iter().find(|line| !text.contains(*line)) {
            None => Ok(()),
            Some(line) => Err(format!("{line} is not in {text}")),
        }
    })
    .await;
    redline.stop(vec![process]).await;
    redline.remove().await;
}
