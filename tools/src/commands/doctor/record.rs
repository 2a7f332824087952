//! What is recorded and what waits: rules in force, stopped partitions, quarantine, outbox, workers.

use redline_schemas::Timestamp;
use redline_store::health::{self, Outbox};
use redline_store::positions::{self, Listed};
use redline_store::sqlx::PgConnection;
use redline_store::{StoreError, recorded_rules};

use super::kafka::Brokers;
use super::postgres::said;
use super::report::{Outcome, Report};
use crate::commands::counted;
use crate::settings::Settings;

const SERVICE: &str = "record";
const LOOK: &str = "look at Postgres, and at database.url";
/// Seconds that a message may wait for the relay; it looks every tenth of a second.
const OUTBOX: i64 = 60;

/// Checks what is recorded.
pub(super) async fn check(
    report: &mut Report,
    settings: &Settings,
    connection: Result<PgConnection, &'static str>,
    brokers: Option<Brokers>,
) -> anyhow::Result<()> {
    match connection {
        Ok(connection) => recorded(report, settings, connection).await?,
        Err(why) => {
            for name in ["rules", "stopped partitions", "quarantine", "outbox"] {
                report.say(SERVICE, name, Outcome::skipped(why))?;
            }
        }
    }
    let Some(brokers) = brokers else {
        report.say(SERVICE, "workers", Outcome::skipped("Kafka cannot be used"))?;
        return Ok(());
    };
    let group = &settings.work.group;
    report
        .ask(SERVICE, "workers", "look at Kafka", async {
            match brokers.members(group).await {
                Ok(members) => judge_workers(group, members),
                Err(reason) => Outcome::warning(
                    format!("Kafka does not tell who is in the group {group}: {reason}"),
                    "allow this client to DESCRIBE the group (work.group)",
                ),
            }
        })
        .await?;
    Ok(())
}

async fn recorded(
    report: &mut Report,
    settings: &Settings,
    mut connection: PgConnection,
) -> anyhow::Result<()> {
    let pool = redline_store::pool(settings.database.url(), "doctor", 1)?;
    report
        .ask(SERVICE, "rules", LOOK, async {
            said(recorded_rules::list(&pool).await.map(|all| {
                let now = Timestamp::now();
                let in_force = all
                    .iter()
                    .rev()
                    .find(|rules| rules.stands && rules.fact.effective_at <= now);
                match in_force {
                    Some(rules) => Outcome::ok(format!(
                        "{} version {} in force since {}, by {}",
                        rules.fact.id, rules.fact.version, rules.fact.effective_at, rules.fact.recorded_by
                    )),
                    None => Outcome::failed("none are in force", "`redline migrate` records the first ones"),
                }
            }))
        })
        .await?;
    report
        .ask(SERVICE, "stopped partitions", LOOK, async {
            said(positions::list(&pool).await.map(|listed| judge_stopped(&listed)))
        })
        .await?;
    report
        .ask(SERVICE, "quarantine", LOOK, async {
            said(health::quarantined(&mut connection).await.map(judge_quarantine))
        })
        .await?;
    report
        .ask(SERVICE, "outbox", LOOK, async {
            let outbox: Result<_, StoreError> = health::outbox(&mut connection).await;
            said(outbox.map(judge_outbox))
        })
        .await?;
    Ok(())
}

fn judge_stopped(listed: &[Listed]) -> Outcome {
    let stopped: Vec<&Listed> = listed.iter().filter(|line| line.status == "stopped").collect();
    let Some(first) = stopped.first() else {
        return Outcome::ok("none");
    };
    let named: Vec<String> = stopped
        .iter()
        .map(|line| format!("partition {} of {}", line.partition, line.topic))
        .collect();
    Outcome::failed(
        format!(
            "{}: {}",
            named.join(", "),
            first.detail.as_deref().unwrap_or_default()
        ),
        "decide as it says there; what each choice does: docs/guides/operations.md, \"A partition is stopped\"",
    )
}

fn judge_quarantine(records: i64) -> Outcome {
    match records {
        0 => Outcome::ok("nothing waits"),
        some => Outcome::warning(
            counted(
                some,
                "record waits, and is not counted",
                "records wait, and are not counted",
            ),
            "`redline quarantine list` says why; `redline quarantine retry` publishes them again",
        ),
    }
}

fn judge_outbox(outbox: Outbox) -> Outcome {
    let messages = counted(outbox.messages, "message waits", "messages wait");
    let found = format!("{messages}, the oldest for {} s", outbox.oldest_seconds);
    match outbox {
        Outbox { messages: 0, .. } => Outcome::ok("nothing waits"),
        Outbox { oldest_seconds, .. } if oldest_seconds <= OUTBOX => Outcome::ok(found),
        _ => Outcome::failed(
            found,
            "start `redline relay`, or read in its log why it does not publish",
        ),
    }
}

fn judge_workers(group: &str, members: usize) -> Outcome {
    match members {
        0 => Outcome::warning(
            format!("nobody is in the group {group}: nothing is recorded"),
            "start `redline work` (or `redline serve`)",
        ),
        some => Outcome::ok(format!(
            "{} in the group {group}",
            counted(some as u64, "worker", "workers")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_said_with_what_to_do() {
        let line = |status: &str, detail: Option<&str>| Listed {
            topic: "redline.rows".to_owned(),
            partition: 3,
            incarnation: "x".to_owned(),
            next_offset: Some(7),
            watermark: None,
            status: status.to_owned(),
            detail: detail.map(str::to_owned),
        };
        let outbox = |messages, oldest_seconds| Outbox {
            messages,
            oldest_seconds,
        };
        let told = [
            judge_stopped(&[line("idle", None)]),
            judge_stopped(&[
                line("recording", None),
                line("stopped", Some("the topic was made again")),
            ]),
            judge_quarantine(0),
            judge_quarantine(1),
            judge_outbox(outbox(0, 0)),
            judge_outbox(outbox(5, 2)),
            judge_outbox(outbox(1, 3_600)),
            judge_workers("redline", 0),
            judge_workers("redline", 3),
        ];
        let told = told.map(|outcome| format!("{outcome:#?}"));
        insta::assert_snapshot!(told.join("\n"));
    }
}
