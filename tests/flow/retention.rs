//! Retention: contents go, identity stays, and nothing is ever derived from a part of a history.

use redline_schemas::Event;
use redline_tests::{Installation, Plan, Process, checker, rows, until};
use serde_json::Value;

use crate::facts::approval;
use crate::{REST, end, worker_and_relay};

const RULES: &str = r#"
[sources.billing]
amount = "Redlined Total Price"
natural_key = ["Work Order"]
[sources.billing.tracked]
"Quantity" = { type = "amount", unit = "Unit Price" }
[sources.billing.thresholds]
USD = { medium = "100", high = "1000" }
"#;

fn plan(name: &str) -> Plan {
    Plan::new(name)
        .rules(RULES)
        .settings("[retention]\nevents_months = 3\n")
}

/// A version of a row with this quantity.
fn row(row_id: &str, version: i64, quantity: i64) -> Event {
    rows::row(&rows::billing(row_id, version, quantity))
}

/// Makes versions of a row as if they had been recorded so many months ago: the time stands in both tables, and the
/// month's partition is one as Redline makes it; without it rows land where Redline's would.
async fn backdate(redline: &Installation, row_id: &str, versions: &str, months: i32, with_partition: bool) {
    let begin = format!(
        "date_trunc('month', now() at time zone 'UTC') at time zone 'UTC' - make_interval(months => {months})"
    );
    let partition = format!(
        "do $$
         declare begins timestamptz := {begin}; name text := 'events_' || to_char(begins at time zone 'UTC', 'YYYY_MM');
         begin
            if to_regclass('redline.' || name) is null then
                execute format('create table redline.%I partition of redline.events for values from (%L) to (%L)',
                    name, begins, begins + interval '1 month');
            end if;
         end $$;"
    );
    let moving = format!(
        "update redline.events o set recorded_at = {begin} + interval '1 day' from redline.entities e
         where e.entity = o.entity and e.entity_id = '{row_id}' and o.version in ({versions});
         update redline.versions v set recorded_at = {begin} + interval '1 day' from redline.entities e
         where e.entity = v.entity and e.entity_id = '{row_id}' and v.version in ({versions})"
    );
    let statements = if with_partition {
        partition + &moving
    } else {
        moving
    };
    sqlx::raw_sql(&statements)
        .execute(&redline.pool)
        .await
        .expect("the test may do everything");
}

/// The removable tables and their numbers of rows, as the command says.
async fn removable(redline: &Installation, arguments: &[&str]) -> Vec<(String, i64)> {
    let told = redline
        .succeed(&[&["retention", "--json"], arguments].concat())
        .await;
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let tables = told["tables"].as_array().expect("tables");
    tables
        .iter()
        .map(|table| {
            let name = table["table"].as_str().expect("a name").to_owned();
            (name, table["events"].as_i64().expect("a number"))
        })
        .collect()
}

/// A worker whose marks in Redis are none.
fn worker_without_marks(redline: &Installation) -> Vec<Process> {
    let forgotten = format!("{}:forgotten:", redline.name);
    vec![
        redline.start("work", &[("REDLINE_WORK__MARK_PREFIX", &forgotten)]),
        redline.relay(),
    ]
}

const OUTCOMES: &str = "select sum(accepted) || ' ' || sum(duplicate) || ' ' || sum(quarantined)
    from redline.control_totals where topic like '%rows'";

#[tokio::test]
async fn old_months_go_and_what_was_in_them_is_a_duplicate_when_it_is_sent_again() {
    let redline = plan("retention").make().await;
    let processes = worker_and_relay(&redline);
    // Of R-2's contents at version 1 the one stands that was modified later; its hash need not be the greater one.
    let contested = (0..4).map(|quantity| {
        let mut content = rows::billing("R-2", 1, quantity);
        content["modified_at"] = format!("2026-03-02T09:0{}:00Z", (quantity + 2) % 4).into();
        rows::row(&content)
    });
    let sent: Vec<Event> = [
        row("R-1", 1, 10),
        row("R-1", 2, 12),
        row("R-3", 1, 10),
        row("R-4", 1, 10),
        row("R-5", 1, 10),
    ]
    .into_iter()
    .chain(contested)
    .collect();
    redline.produce_rows(&sent).await;
    redline.wait_quiet(REST).await;
    redline.stop(processes).await;
    let door = redline.ingest().await;
    let standing = async || {
        let items = door.pages("/v1/entities/row/billing/R-2/history").await.concat();
        let of = |item: &Value| (item["content_hash"].to_string(), item["standing"].clone());
        (items.iter().map(of).collect::<Vec<_>>(), items)
    };
    let stood_before = standing().await.0;

    backdate(&redline, "R-1", "1, 2", 5, true).await;
    backdate(&redline, "R-2", "1", 4, true).await;
    backdate(&redline, "R-3", "1", 3, true).await;
    backdate(&redline, "R-4", "1", 24, false).await;
    let tables = removable(&redline, &["--dry-run"]).await;
    let rows: Vec<i64> = tables.iter().map(|(_, rows)| *rows).collect();
    assert_eq!(rows, [2, 4, 1], "{tables:?}");
    assert_eq!(tables[2].0, "events_default");
    let told = redline.succeed(&["retention", "--dry-run"]).await;
    assert!(
        told.contains(&tables[0].0) && told.ends_with("Nothing was removed.\n"),
        "{told}"
    );
    let for_ever = redline
        .run_with(&["retention"], &[("REDLINE_RETENTION__EVENTS_MONTHS", "0")])
        .await;
    assert!(for_ever.stdout.contains("kept for ever"), "{}", for_ever.stdout);
    assert_eq!(redline.count("select count(*) from redline.events").await, 9);

    // What waits to be judged has to be judged before its history goes.
    redline
        .execute("insert into redline.dirty_entities (entity) select entity from redline.entities")
        .await;
    let ended = redline.run(&["retention"]).await;
    assert_eq!(ended.code, 1, "{}", ended.stdout);
    assert!(
        ended.stderr.contains("redline doctor --quiet"),
        "{}",
        ended.stderr
    );
    redline.execute("delete from redline.dirty_entities").await;

    let told = redline.succeed(&["retention"]).await;
    assert!(told.contains(&format!("removed {}", tables[0].0)), "{told}");
    assert_eq!(redline.count("select count(*) from redline.events").await, 2);
    assert_eq!(redline.count("select count(*) from redline.versions").await, 9);
    assert_eq!(removable(&redline, &[]).await, []);
    let (stands, items) = standing().await;
    assert_eq!(stands, stood_before, "the same content stands");
    assert!(items.iter().all(|item| item["event"].is_null()), "{items:?}");

    let flags = redline
        .texts("select flag_id || revision from redline.flags order by 1")
        .await;
    let mut processes = worker_without_marks(&redline);
    redline.produce_rows(&sent).await;
    redline.wait_quiet(REST).await;
    assert_eq!(redline.texts(OUTCOMES).await, ["9 9 0"]);
    assert_eq!(
        redline
            .texts("select flag_id || revision from redline.flags order by 1")
            .await,
        flags
    );
    let told = redline.succeed(&["doctor", "--totals"]).await;
    assert!(told.contains("retention removed 7 contents"), "{told}");
    let told = redline.succeed(&["rederive"]).await;
    assert!(
        told.contains("3 of them were derived only from a horizon on"),
        "{told}"
    );
    let rules = redline.folder().join("other.toml");
    std::fs::write(&rules, RULES).expect("the folder can be written");
    let rules = rules.to_str().expect("text");
    let told = redline.run(&["rules", "backtest", "--rules", rules]).await;
    assert!(
        told.stdout
            .contains("3 of them were judged only from a horizon on"),
        "{}{}",
        told.stdout,
        told.stderr
    );
    let report = redline
        .run(&["report", "completeness", "--period", "2026-02", "--json"])
        .await;
    assert!(
        report.stdout.contains("\"removed_by_retention\":7"),
        "{}",
        report.stdout
    );
    // What disappears in another way is no retention.
    redline
        .execute(
            "create table kept as select * from redline.events; delete from redline.events where version = 1",
        )
        .await;
    let ended = redline.run(&["doctor", "--totals"]).await;
    assert_eq!(ended.code, 3);
    assert!(
        ended
            .stdout
            .contains("redline.events has 0 contents, and retention removed 7"),
        "{}",
        ended.stdout
    );
    redline
        .execute("insert into redline.events select * from kept; drop table kept")
        .await;
    checker::check(&redline).await;
    processes.push(door.process);
    end(redline, processes).await;
}

#[tokio::test]
async fn a_removal_that_is_killed_or_finds_a_reader_removes_nothing_and_is_run_again() {
    let redline = plan("halfway").make().await;
    let processes = worker_and_relay(&redline);
    redline
        .produce_rows(&[row("R-1", 1, 10), row("R-2", 1, 10), row("R-2", 2, 12)])
        .await;
    redline.wait_quiet(REST).await;
    backdate(&redline, "R-1", "1", 5, true).await;
    backdate(&redline, "R-2", "1", 4, true).await;
    let left =
        "select (select count(*) from redline.events) * 10 + (select count(*) from redline.removed_events)";
    let mut reader = redline.pool.begin().await.expect("Postgres answers");
    sqlx::query("select count(*) from redline.events")
        .execute(&mut *reader)
        .await
        .expect("events can be read");

    let killed = redline.start_command(&["retention"]);
    until("the first horizon is set", REST, async || {
        let set = "select count(*) from redline.entities where horizon is not null";
        match redline.count(set).await {
            0 => Err("there is none".to_owned()),
            _ => Ok(()),
        }
    })
    .await;
    killed.kill9();
    assert_eq!(redline.count(left).await, 30);
    redline.succeed(&["rederive"]).await;

    let ended = redline.run(&["retention"]).await;
    assert_eq!(ended.code, 1, "{}", ended.stdout);
    assert!(
        ended
            .stderr
            .contains("cannot be removed while somebody reads the events"),
        "{}",
        ended.stderr
    );
    assert_eq!(redline.count(left).await, 30);

    reader.rollback().await.expect("Postgres answers");
    assert_eq!(removable(&redline, &[]).await.len(), 2);
    assert_eq!(redline.count(left).await, 12);
    redline.succeed(&["doctor", "--totals"]).await;
    redline.succeed(&["rederive"]).await;
    end(redline, processes).await;
}

/// The changes of a row with what stands of its flags, from a version on.
async fn findings(redline: &Installation, row_id: &str, from: i64) -> Vec<String> {
    sqlx::query_scalar(
        "select concat_ws(' ', version, column_name, before, after, impact, authorised, (select count(*)
            from redline.flags f where f.entity = c.entity and f.version = c.version and status = 'standing'))
         from redline.changes c where entity_id = $1 and version >= $2 order by version, column_name",
    )
    .bind(row_id)
    .bind(from)
    .fetch_all(&redline.pool)
    .await
    .expect("changes can be read")
}

#[tokio::test]
async fn a_history_whose_beginning_is_gone_is_derived_from_its_horizon_on_as_if_it_were_whole() {
    let redline = plan("horizon").make().await;
    let mut processes = worker_and_relay(&redline);
    // `whole` is never removed: what is found of it is what has to be found of the others.
    for id in ["whole", "old", "quiet"] {
        redline.produce_rows(&[row(id, 2, 10), row(id, 4, 12)]).await;
    }
    for id in ["whole", "old"] {
        redline.produce_rows(&[row(id, 8, 10)]).await;
        // The change of version 4 takes it.
        redline.produce(&[approval(&format!("used-{id}"), id, 12)]).await;
    }
    redline.wait_quiet(REST).await;
    let final_before = findings(&redline, "old", 0).await;
    backdate(&redline, "old", "2, 4", 6, true).await;
    backdate(&redline, "quiet", "2, 4", 7, true).await;
    // While a worker remembers these rows.
    redline.succeed(&["retention"]).await;
    assert_eq!(
        redline
            .texts("select entity_id || ' ' || horizon from redline.entities where horizon is not null order by 1")
            .await,
        ["old 4", "quiet 4"]
    );
    assert_eq!(
        redline.texts("select version::text from redline.horizons").await,
        ["4"],
        "what is still the latest version is not kept twice"
    );

    // Newer than the latest, then late, but above the horizon.
    redline.produce_rows(&[row("quiet", 8, 10)]).await;
    redline.wait_quiet(REST).await;
    let late = |id: &str| [row(id, 6, 11), row(id, 10, 13)];
    for id in ["whole", "old", "quiet"] {
        redline.produce_rows(&late(id)).await;
    }
    redline.wait_quiet(REST).await;
    let whole = findings(&redline, "whole", 5).await;
    assert_eq!(whole.len(), 3, "{whole:?}");
    assert!(whole[0].starts_with("6 Quantity 12 11 "), "{whole:?}");
    assert_eq!(findings(&redline, "old", 5).await, whole);
    assert_eq!(findings(&redline, "quiet", 5).await, whole);

    // Up to the horizon: known contents are duplicates, unknown ones are refused with their bytes, each of them.
    assert_eq!(redline.texts(OUTCOMES).await, ["15 0 0"]);
    let refused = [row("old", 3, 11), row("old", 4, 99), row("old", 3, 11)];
    redline
        .produce_rows(&[&refused[..], &[row("old", 2, 10), row("old", 4, 12)]].concat())
        .await;
    redline.wait_quiet(REST).await;
    assert_eq!(redline.texts(OUTCOMES).await, ["15 2 3"]);
    assert_eq!(
        redline
            .texts("select distinct reason from redline.quarantine")
            .await,
        ["late_beyond_horizon"]
    );
    let told = redline.run(&["quarantine", "show", "1"]).await;
    assert!(
        told.stdout.contains("up to version 4"),
        "{}{}",
        told.stdout,
        told.stderr
    );
    assert_eq!(findings(&redline, "old", 0).await[..1], final_before[..1]);

    // Facts judge again what is above the horizon, and nothing of what is final.
    let approvals = ["whole", "old", "quiet"].map(|id| approval(&format!("above-{id}"), id, 13));
    redline.produce(&approvals).await;
    redline.produce(&[approval("below", "quiet", 12)]).await;
    redline.wait_quiet(REST).await;
    let whole = findings(&redline, "whole", 5).await;
    assert!(whole[2].starts_with("10 Quantity 10 13 285 t "), "{whole:?}");
    assert_eq!(findings(&redline, "old", 5).await, whole);
    assert_eq!(findings(&redline, "quiet", 5).await, whole);
    assert_eq!(findings(&redline, "old", 0).await[..1], final_before[..1]);
    let of_quiet = findings(&redline, "quiet", 0).await;
    assert!(
        of_quiet[0].starts_with("4 Quantity 10 12 190 f 1"),
        "version 4 is final: {of_quiet:?}"
    );

    // An approval that a final change took is no other one's.
    for id in ["whole", "old"] {
        redline.produce_rows(&[row(id, 12, 12)]).await;
    }
    redline.wait_quiet(REST).await;
    let whole = findings(&redline, "whole", 12).await;
    assert!(whole[0].starts_with("12 Quantity 13 12 -95 f "), "{whole:?}");
    assert_eq!(findings(&redline, "old", 12).await, whole);

    // A second removal goes on from the first horizon.
    backdate(&redline, "old", "6, 8", 5, true).await;
    redline.succeed(&["retention"]).await;
    redline
        .produce_rows(&[row("whole", 9, 20), row("old", 9, 20)])
        .await;
    redline.wait_quiet(REST).await;
    let whole = findings(&redline, "whole", 9).await;
    assert_eq!((whole.len(), findings(&redline, "old", 9).await), (3, whole));
    let told = redline.succeed(&["rederive"]).await;
    assert!(
        told.contains("No difference.") && told.contains("2 of them were"),
        "{told}"
    );
    redline.succeed(&["doctor", "--totals"]).await;
    checker::check(&redline).await;
    redline.stop(std::mem::take(&mut processes)).await;
    redline.remove().await;
}
