//! Postgres: whether it is there, new enough, migrated and writable, and whether its clock is right.

use std::time::{SystemTime, UNIX_EPOCH};

use redline_store::health::{self, Server};
use redline_store::sqlx::PgConnection;
use redline_store::{StoreError, Timeouts};

use super::report::{Outcome, Report, Result as Checked};
use crate::commands::counted;
use crate::settings::Settings;

const SERVICE: &str = "postgres";
const LOOK: &str = "start Postgres, or mend database.url or its login; docs/guides/connections.md";
/// Microseconds that clocks may differ.
const CLOCKS: u64 = 2_000_000;
/// Connections that a worker, a relay and a door need, about.
const CONNECTIONS: i64 = 15;

/// Checks Postgres; answers with a connection if what is recorded can be asked about, else why it cannot.
pub(super) async fn check(
    report: &mut Report,
    settings: &Settings,
) -> anyhow::Result<Result<PgConnection, &'static str>> {
    let url = settings.database.url();
    let place = redline_store::place(url)?;
    let mut connected = None;
    report
        .ask(SERVICE, "server", LOOK, async {
            let connection = redline_store::recording_connection(url, "doctor", Timeouts::default()).await;
            let mut connection = match connection {
                Ok(connection) => connection,
                Err(error) => return Outcome::failed(format!("{place}: {error}"), LOOK),
            };
            match health::server(&mut connection).await {
                Ok(server) => {
                    let outcome = judge_server(&server, &place);
                    connected = Some((connection, server));
                    outcome
                }
                Err(error) => Outcome::failed(format!("{place}: {error}"), LOOK),
            }
        })
        .await?;
    let Some((mut connection, server)) = connected else {
        let why = "Postgres cannot be used";
        for name in ["clock", "migrations", "rights", "partitions"] {
            report.say(SERVICE, name, Outcome::skipped(why))?;
        }
        return Ok(Err(why));
    };
    report.say(
        SERVICE,
        "clock",
        judge_clock(now_microseconds(), server.clock_microseconds),
    )?;
    let migrated = report
        .ask(SERVICE, "migrations", LOOK, async {
            said(health::migrations(&mut connection).await.map(judge_migrations))
        })
        .await?;
    if migrated == Checked::Failed {
        let why = "the database is not migrated";
        for name in ["rights", "partitions"] {
            report.say(SERVICE, name, Outcome::skipped(why))?;
        }
        return Ok(Err(why));
    }
    report
        .ask(SERVICE, "rights", LOOK, async {
            said(
                health::missing_rights(&mut connection)
                    .await
                    .map(|missing| judge_rights(&missing)),
            )
        })
        .await?;
    report
        .ask(SERVICE, "partitions", LOOK, async {
            said(partitions(&mut connection).await)
        })
        .await?;
    Ok(Ok(connection))
}

/// What came of a question; that it could not be asked is a finding too.
pub(super) fn said(outcome: Result<Outcome, StoreError>) -> Outcome {
    outcome.unwrap_or_else(|error| Outcome::failed(error.to_string(), LOOK))
}

fn now_microseconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

fn judge_server(server: &Server, place: &str) -> Outcome {
    let version = format!("{}.{}", server.version / 10_000, server.version % 10_000);
    if server.version < 150_000 {
        let found = format!("{place} is Postgres {version}");
        return Outcome::failed(found, "use Postgres 15 or newer");
    }
    if server.is_read_only {
        return Outcome::failed(
            format!("{place} can only be read: it is a standby, or set so"),
            "name the primary in database.url, or unset default_transaction_read_only",
        );
    }
    let free = server.max_connections - server.connections;
    if free < CONNECTIONS {
        return Outcome::warning(
            format!(
                "Postgres {version}, {free} of {} connections are free",
                server.max_connections
            ),
            "raise max_connections, or end what holds them (pg_stat_activity)",
        );
    }
    Outcome::ok(format!("Postgres {version} at {place}"))
}

fn judge_clock(ours: i64, theirs: i64) -> Outcome {
    let apart = ours.abs_diff(theirs);
    if apart <= CLOCKS {
        return Outcome::ok("within two seconds of this machine's");
    }
    let direction = if theirs > ours { "ahead of" } else { "behind" };
    Outcome::warning(
        format!("{} s {direction} this machine's", apart / 1_000_000),
        "synchronise both machines (chrony, systemd-timesyncd)",
    )
}

fn judge_migrations(found: health::Migrations) -> Outcome {
    if found.damaged > 0 {
        return Outcome::failed(
            format!(
                "{} broken off, or of another text than this version's",
                counted(found.damaged as u64, "migration is", "migrations are")
            ),
            "run the `redline migrate` of the version that made the database; else restore a backup",
        );
    }
    if found.missing > 0 {
        let missing = counted(found.missing as u64, "migration is", "migrations are");
        return Outcome::failed(format!("{missing} missing"), "run `redline migrate`");
    }
    if found.unknown > 0 {
        return Outcome::failed(
            format!(
                "{} newer than this version",
                counted(found.unknown as u64, "migration is", "migrations are")
            ),
            "run the version of redline that migrated the database, or a newer one",
        );
    }
    Outcome::ok(format!("all {} are in place", found.applied))
}

fn judge_rights(missing: &[String]) -> Outcome {
    match missing {
        [] => Outcome::ok("all tables can be read and written"),
        some => Outcome::failed(
            format!("this user lacks: {}", some.join(", ")),
            "name the user that ran `redline migrate`, or grant it what is named",
        ),
    }
}

async fn partitions(connection: &mut PgConnection) -> Result<Outcome, StoreError> {
    let missing = health::missing_event_partitions(connection).await?;
    if health::has_misplaced_events(connection).await? {
        return Ok(Outcome::failed(
            "there are events in redline.events_default: no partition of their month can be made",
            "move them out of it in one transaction, and run `redline migrate`",
        ));
    }
    Ok(match missing.as_slice() {
        [] => Outcome::ok("events have one for this month and the next two"),
        some => Outcome::warning(
            format!("events have none for {}", some.join(", ").replace('_', "-")),
            "a worker that starts makes them, and so does `redline migrate`",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Server {
        Server {
            version: 150_008,
            clock_microseconds: 0,
            is_read_only: false,
            connections: 10,
            max_connections: 100,
        }
    }

    #[test]
    fn what_is_wrong_with_postgres_is_said_with_what_to_do() {
        let place = "127.0.0.1:5432/redline";
        let migrations = health::Migrations {
            applied: 4,
            missing: 0,
            unknown: 0,
            damaged: 0,
        };
        let told = [
            judge_server(&server(), place),
            judge_server(
                &Server {
                    version: 140_011,
                    ..server()
                },
                place,
            ),
            judge_server(
                &Server {
                    is_read_only: true,
                    ..server()
                },
                place,
            ),
            judge_server(
                &Server {
                    connections: 95,
                    ..server()
                },
                place,
            ),
            judge_clock(10_000_000, 11_000_000),
            judge_clock(10_000_000, 13_500_000),
            judge_clock(10_000_000, 0),
            judge_migrations(migrations),
            judge_migrations(health::Migrations {
                missing: 1,
                ..migrations
            }),
            judge_migrations(health::Migrations {
                unknown: 2,
                ..migrations
            }),
            judge_migrations(health::Migrations {
                damaged: 1,
                ..migrations
            }),
            judge_rights(&[]),
            judge_rights(&["outbox (delete)".to_owned()]),
        ];
        let told = told.map(|outcome| format!("{outcome:#?}"));
        insta::assert_snapshot!(told.join("\n"));
    }
}
