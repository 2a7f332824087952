//! Nothing personal and nothing secret is in logs, spans or metrics: values with unique marks are sent through every
//! path, and what the processes said of themselves is searched for them.
//!
//! Marked are values of events and facts (people, columns, customers, instruments, ids of rows too), bytes and headers
//! of records that are refused, everything that a client can put into a request, and every password and key.

use std::fs;
use std::time::Duration;

use redline_tests::rows::{billing, row};
use redline_tests::{Door, Installation, Plan, Process, Raw, http_client};
use serde_json::json;

use crate::receiver::{Receiver, Span};
use crate::{REST, traced};

/// Unique texts, each with what it stands for.
#[derive(Default)]
struct Marks(Vec<(String, String)>);

impl Marks {
    /// A text that is nowhere else.
    fn mark(&mut self, what: &str) -> String {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let mark = format!("zq{}", &unique[..14]);
        self.0.push((what.to_owned(), mark.clone()));
        mark
    }

    /// What of it stands in a text: as it is, or as numbers of its bytes.
    fn found_in(&self, text: &str) -> Vec<&str> {
        let text = text.to_ascii_lowercase();
        let is_in = |mark: &str| {
            let numbers: Vec<String> = mark.bytes().map(|byte| byte.to_string()).collect();
            text.contains(mark) || text.contains(&numbers.join(", "))
        };
        let found = self.0.iter().filter(|(_, mark)| is_in(mark));
        found.map(|(what, _)| what.as_str()).collect()
    }
}

/// An address with a user and a password.
fn with_password(address: &str, user: &str, password: &str) -> String {
    let (scheme, rest) = address.split_once("://").expect("an address");
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    format!("{scheme}://{user}:{password}@{place}")
}

/// Everything that a process says of itself beside its log.
async fn metrics(address: &str) -> String {
    let answer = http_client().get(format!("{address}/metrics")).send().await;
    let answer = answer.expect("the process answers");
    answer.text().await.expect("metrics are text")
}

/// Lines of a log; what else a command writes is its answer to whoever asked it.
fn log_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('{')).collect();
    lines.join("\n")
}

async fn over_http(redline: &Installation, door: &Door, marks: &mut Marks) {
    let mut good = billing(&marks.mark("row id"), 1, 10);
    good["modified_by"] = format!("{}@example.com", marks.mark("editor")).into();
    good["link"] = format!("https://example.com/{}", marks.mark("link")).into();
    good["columns"]["Foreman"] = marks.mark("column's text").into();
    good["columns"][marks.mark("column's name")] = marks.mark("other column's text").into();
    door.accept("/v1/rows", &good).await;
    good["version"] = 2.into();
    good["columns"]["Quantity"] = marks.mark("text instead of an amount").into();
    good["columns"]["Foreman"] = marks.mark("column's new text").into();
    good["modified_by"] = format!("{}@elsewhere.example", marks.mark("other editor")).into();
    door.accept("/v1/rows", &good).await;
    let payout = json!({
        "system": "video", "payout_id": marks.mark("payout id"), "period": "2026-02", "amount": "12.50", "currency": "USD",
        "reported_at": "2026-03-02T10:00:00Z", "custom_id": marks.mark("custom id"), "channel_id": marks.mark("channel"),
    });
    door.accept("/v1/payouts", &payout).await;
    let order = json!({
        "order_id": marks.mark("order id"), "customer_id": marks.mark("customer"), "amount": 12, "currency": "USD",
        "status": "created", "created_at": "2026-03-02T10:00:00Z", "merchant_id": marks.mark("merchant"),
        "instrument": marks.mark("instrument"),
    });
    door.accept("/v1/orders", &order).await;
    let approval = json!({
        "id": marks.mark("approval's id"), "effective_at": "2026-03-02T09:00:00Z", "source": "billing",
        "row_id": good["row_id"], "column": "Foreman", "editor": marks.mark("approved editor"),
        "approver": marks.mark("approver"), "value": marks.mark("approved value"), "recorded_by": marks.mark("recorder"),
    });
    door.accept("/v1/approvals", &approval).await;
    // Of what is recorded already, so that it is judged again.
    redline.wait_quiet(REST).await;
    let again = json!({
        "id": marks.mark("later approval's id"), "effective_at": "2026-03-02T09:00:00Z", "source": "billing",
        "row_id": good["row_id"], "column": "Foreman", "editor": marks.mark("later approved editor"),
        "approver": marks.mark("later approver"), "value": marks.mark("later approved value"),
    });
    door.accept("/v1/approvals", &again).await;

    // What is refused.
    let json = "application/json";
    for body in [
        format!("{{\"source\": \"{}\", broken", marks.mark("broken JSON")),
        json!([{ "source": marks.mark("source of a bad row"), "row_id": 7 }]).to_string(),
        json!({ marks.mark("unknown field"): marks.mark("unknown field's value") }).to_string(),
        format!("{{\"version\":\"{}\"}}", marks.mark("version")),
    ] {
        for path in ["/v1/rows", "/v1/orders", "/v1/approvals"] {
            assert!(door.post(path, json, body.clone()).await.status >= 400);
        }
    }
    let lines = format!("{{\"a\":1}}\n{}\n", marks.mark("broken line"));
    assert_eq!(
        door.post("/v1/rows", "application/x-ndjson", lines).await.status,
        422
    );
    let own: Vec<(String, String)> = [
        "user-agent",
        "x-forwarded-for",
        "cookie",
        "referer",
        "x-request-id",
        "baggage",
        "traceparent",
    ]
    .map(|name| (name.to_owned(), marks.mark(name)))
    .into();
    let own: Vec<(&str, &str)> = own
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let _ = door.post_with("/v1/rows", json, &own, "{}").await;
    let _ = door
        .post_with(
            "/v1/rows",
            &format!("text/{}", marks.mark("media type")),
            &own,
            "{}",
        )
        .await;
    for path in [
        format!("/v1/flags?source=billing&entity_id={}", marks.mark("filter")),
        format!("/v1/flags?after={}", marks.mark("cursor")),
        format!("/v1/flags?{}=1", marks.mark("unknown parameter")),
        format!("/v1/changes?from={}", marks.mark("time")),
        format!("/v1/flags/{}", marks.mark("flag id")),
        format!("/v1/entities/row/billing/{}/history", marks.mark("asked row")),
        format!("/{}", marks.mark("path")),
    ] {
        let _ = door.get(&path).await;
        let _ = door.get_with(&path, Some(&marks.mark("wrong API key"))).await;
        let key = format!("rk_{}_{}", marks.mark("key's id"), marks.mark("key's secret"));
        let _ = door.get_with(&path, Some(&key)).await;
    }
}

async fn over_kafka(redline: &Installation, marks: &mut Marks) {
    let schema_id = redline.schema_id(redline_schemas::EventKind::Row).await;
    let mut accepted = billing(&marks.mark("row id over Kafka"), 1, 3);
    accepted["modified_by"] = marks.mark("editor over Kafka").into();
    let mut accepted = redline.raw(&row(&accepted), schema_id);
    let headers = |marks: &mut Marks| {
        vec![
            ("any".to_owned(), marks.mark("header over Kafka").into_bytes()),
            (
                "traceparent".to_owned(),
                marks.mark("malformed trace").into_bytes(),
            ),
        ]
    };
    accepted.headers = headers(marks);
    let other_key = Raw {
        key: Some(marks.mark("other key").into_bytes()),
        ..accepted.clone()
    };
    let framed = |text: String| [&[0], &schema_id.to_be_bytes()[..], text.as_bytes()].concat();
    let of_bytes = |marks: &mut Marks, value: Vec<u8>| Raw {
        topic: redline.topics.rows.clone(),
        partition: Some(0),
        key: Some(marks.mark("bad record's key").into_bytes()),
        value: Some(value),
        headers: headers(marks),
    };
    let bytes = marks.mark("bad record's bytes").into_bytes();
    let no_frame = of_bytes(marks, bytes);
    let datum = framed(marks.mark("bad record's datum"));
    let no_row = of_bytes(marks, datum);
    let mut unknown = framed(marks.mark("datum of an unknown schema"));
    unknown[1..5].copy_from_slice(&987_654_u32.to_be_bytes());
    let unknown = of_bytes(marks, unknown);
    redline
        .kafka
        .produce_all(vec![accepted, other_key, no_frame, no_row, unknown])
        .await;
}

/// Commands, also such that fail; answers their log lines.
async fn commands(redline: &Installation, marks: &mut Marks, variables: &[(&str, &str)]) -> String {
    let file = |name: &str, content: String| {
        let path = redline.folder().join(name);
        fs::write(&path, content).expect("a file can be written");
        path.display().to_string()
    };
    let csv = file(
        "rows.ndjson",
        format!(
            "{}\n{{\"row_id\":\"{}\"\n",
            billing(&marks.mark("collected row"), 1, 5),
            marks.mark("broken collected line")
        ),
    );
    let table = file(
        "prices.csv",
        format!(
            "key,valid_from,price\n{},2026-01-01,1.5\n{},never,2\n",
            marks.mark("reference key"),
            marks.mark("bad reference key")
        ),
    );
    let mut logs = String::new();
    for arguments in [
        vec!["collect", "files", &csv, "--source", "billing"],
        vec!["reference", "load", "prices", &table],
        vec!["quarantine", "list", "--all"],
        vec!["approvals", "list"],
        vec!["position", "list"],
        vec!["key", "list"],
    ] {
        logs += &log_lines(&redline.run_with(&arguments, variables).await.stderr);
    }
    logs
}

/// Processes that do not reach a service whose address holds a password, until they have said so.
async fn without_services(redline: &Installation, marks: &mut Marks, filter: &[(&str, &str)]) -> String {
    let mut said = String::new();
    for (name, scheme, words) in [
        ("SCHEMA_REGISTRY_URL", "http", "waiting for the schema registry"),
        ("DATABASE_URL", "postgres", "waiting for Postgres"),
    ] {
        let password = marks.mark(&format!("password of a {name} that is away"));
        let address = format!("{scheme}://redline:{password}@127.0.0.1:9/x");
        let mut variables = filter.to_vec();
        variables.push((name, &address));
        let mut worker = redline.start("work", &variables);
        worker.wait_for_log(words, Duration::from_secs(30)).await;
        said += &worker.log();
        worker.kill9();
    }
    let password = marks.mark("password in a command's address");
    let address = format!("postgres://redline:{password}@127.0.0.1:9/x");
    let ended = redline
        .run_with(&["key", "list"], &[("DATABASE_URL", &address)])
        .await;
    assert_ne!(ended.code, 0);
    // Not even to whoever asked.
    said + &ended.stderr + &ended.stdout
}

async fn nothing_is_told(filter: Option<&str>) {
    let receiver = Receiver::start().await;
    let mut marks = Marks::default();
    let redline = Plan::new("silence")
        .settings(&format!(
            "[kafka.client]\n\"sasl.username\" = \"{}\"\n\"sasl.password\" = \"{}\"",
            marks.mark("Kafka's user"),
            marks.mark("Kafka's password")
        ))
        .make()
        .await;
    let endpoint = receiver.endpoint();
    let database = with_password(
        &redline.database_url,
        "postgres",
        &marks.mark("database password"),
    );
    let registry = with_password(
        &redline.services.registry,
        "redline",
        &marks.mark("registry password"),
    );
    // Redis has no password here and refuses this one, of which it tells.
    let redis = with_password(&redline.services.redis, "", &marks.mark("Redis password"));
    let collector = format!("authorization=Bearer {}", marks.mark("collector's key"));
    let mut variables = traced(
        &endpoint,
        &[
            ("DATABASE_URL", &database),
            ("SCHEMA_REGISTRY_URL", &registry),
            ("REDIS_URL", &redis),
            ("OTEL_EXPORTER_OTLP_HEADERS", &collector),
        ],
    );
    let filter: Vec<(&str, &str)> = filter.map(|filter| ("RUST_LOG", filter)).into_iter().collect();
    variables.extend(&filter);

    let door = redline.ingest_with(&variables).await;
    marks
        .0
        .push(("API key".to_owned(), door.key().to_ascii_lowercase()));
    let mut with_metrics = variables.clone();
    with_metrics.push(("REDLINE_WORK__METRICS_LISTEN", "127.0.0.1:0"));
    let mut worker: Process = redline.start("work", &with_metrics);
    let relay = redline.start("relay", &variables);
    over_http(&redline, &door, &mut marks).await;
    over_kafka(&redline, &mut marks).await;
    redline.wait_quiet(REST).await;
    let mut said = commands(&redline, &mut marks, &variables).await;
    redline.wait_quiet(REST).await;
    said += &without_services(&redline, &mut marks, &filter).await;

    said += &metrics(door.address()).await;
    let line = worker.wait_for_log("GET /metrics is answered", REST).await;
    let line: serde_json::Value = serde_json::from_str(&line).expect("logs are JSON");
    let address = line["address"].as_str().expect("the log names the address");
    let of_worker = metrics(&format!("http://{address}")).await;
    assert!(!of_worker.is_empty());
    said += &of_worker;
    let quarantined = redline.count("select count(*) from redline.quarantine").await;
    assert!(quarantined >= 4, "{quarantined} were refused behind the door");
    for process in [&door.process, &worker, &relay] {
        said += &process.log();
    }
    let spans = receiver.spans();
    for name in ["POST /v1/rows", "GET /v1/flags", "derive"] {
        assert!(
            spans.iter().any(|span| span.name == name),
            "no span {name} arrived"
        );
    }
    for role in ["ingest", "work", "relay", "collect"] {
        let is_of = |span: &&Span| span.resource.get("redline.role").is_some_and(|of| of == role);
        assert!(spans.iter().any(|span| is_of(&span)), "no span of {role} arrived");
    }
    for span in spans {
        said += &span.everything;
    }
    let found = marks.found_in(&said);
    let told: Vec<&str> = said
        .lines()
        .filter(|line| !marks.found_in(line).is_empty())
        .collect();
    assert!(found.is_empty(), "{found:?} can be read:\n{}", told.join("\n"));
    redline.stop(vec![door.process, worker, relay]).await;
    redline.remove().await;
}

#[tokio::test]
async fn nothing_personal_or_secret_is_told() {
    nothing_is_told(None).await;
}

#[tokio::test]
async fn nothing_personal_or_secret_is_told_when_our_own_lines_are_all_wanted() {
    nothing_is_told(Some("info,redline=trace")).await;
}
