//! What happens to Postgres.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redline_tests::{harness, until};
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinHandle;

use crate::run::{PATIENCE, Run};

pub(super) async fn crashed(run: &mut Run) {
    for _ in 0..3 {
        run.go_on(40, 150).await;
        harness(&["restart", "postgres", "--immediate"]).await;
    }
}

async fn execute(connection: &mut PgConnection, statement: &str) {
    sqlx::raw_sql(statement)
        .execute(connection)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// Gives every new connection of the installation a setting, and ends the old ones.
async fn set_for_all(run: &Run, setting: &str) {
    let mut administrator = run.administrator().await;
    let statement = format!("alter database \"{}\" {setting}", run.redline.name);
    execute(&mut administrator, &statement).await;
    run.end_connections(&mut administrator).await;
}

pub(super) async fn read_only(run: &mut Run) {
    for _ in 0..2 {
        run.go_on(40, 150).await;
        set_for_all(run, "set default_transaction_read_only = on").await;
        run.pause(500, 3_000).await;
        set_for_all(run, "reset default_transaction_read_only").await;
    }
}

pub(super) async fn out_of_connections(run: &mut Run) {
    /// More than the harness's Postgres has.
    const MOST: usize = 300;
    run.go_on(40, 150).await;
    let mut administrator = run.administrator().await;
    let mut taken = Vec::new();
    for _ in 0..2 {
        run.end_connections(&mut administrator).await;
        while taken.len() < MOST
            && let Ok(connection) = PgConnection::connect(&run.redline.services.database).await
        {
            taken.push(connection);
        }
    }
    assert!(taken.len() < MOST, "Postgres runs out of connections");
    run.pause(500, 3_000).await;
    for connection in taken {
        let _ = connection.close().await;
    }
}

pub(super) async fn out_of_disk(run: &mut Run) {
    run.go_on(40, 150).await;
    let before = recording_failures(run);
    let disk = run.disk.as_ref().expect("the fault asks for a small disk");
    disk.fill();
    let recorded = run.recorded().await;
    run.feed.reach(recorded + 400);
    until(
        "the disk is noticed to be full",
        PATIENCE,
        async || match recording_failures(run) {
            found if found > before => Ok(()),
            _ => Err("nobody says so".to_owned()),
        },
    )
    .await;
    run.pause(0, 2_000).await;
    run.disk.as_ref().expect("the fault asks for a small disk").free();
}

/// How often workers said that there is no space.
fn recording_failures(run: &Run) -> usize {
    let logs = run.workers.iter().map(|worker| worker.log());
    logs.map(|log| log.matches("No space left on device").count())
        .sum()
}

/// Workers find a deadlock sooner than the one who causes it, and so it is they who lose.
pub(super) async fn notice_deadlocks_soon(run: &mut Run) {
    set_for_all(run, "set deadlock_timeout = '10ms'").await;
}

/// Somebody who locks rows of the installation until told to stop.
struct Nuisance {
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Nuisance {
    /// Runs a script again and again; what fails is tried again.
    fn begin(run: &Run, settings: &'static str, script: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, url) = (Arc::clone(&stop), run.redline.database_url.clone());
        let task = tokio::spawn(async move {
            let mut connection = PgConnection::connect(&url).await.expect("Postgres answers");
            let set = sqlx::query(settings).execute(&mut connection).await;
            set.expect("the settings are taken");
            while !told.load(Ordering::Relaxed) {
                let _ = sqlx::query(script).execute(&mut connection).await;
            }
            let _ = connection.close().await;
        });
        Self { stop, task }
    }

    async fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        (&mut self.task).await.expect("it ends by itself");
    }
}

impl Drop for Nuisance {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) async fn deadlocks(run: &mut Run) {
    run.go_on(40, 100).await;
    let nuisances = [0, 1].map(|_| {
        Nuisance::begin(
            run,
            "set deadlock_timeout = '20s'",
            "do $$ declare one bigint; begin
                perform pg_sleep(0.05 + random() * 0.1);
                for one in select entity from redline.entities order by random() limit 8 loop
                    perform 1 from redline.entities where entity = one for update;
                    perform pg_sleep(0.005);
                end loop;
             end $$",
        )
    });
    let forced = "select deadlocks from pg_stat_database where datname = current_database()";
    until("there was a deadlock", PATIENCE, async || {
        let recorded = run.recorded().await;
        run.feed.reach(recorded + 400);
        match run.redline.count(forced).await {
            0 => Err("there was none".to_owned()),
            _ => Ok(()),
        }
    })
    .await;
    for nuisance in nuisances {
        nuisance.end().await;
    }
}

pub(super) async fn serialization_failures(run: &mut Run) {
    run.go_on(40, 100).await;
    set_for_all(run, "set default_transaction_isolation = 'serializable'").await;
    let nuisance = Nuisance::begin(
        run,
        "set deadlock_timeout = '20ms'",
        "do $$ declare one bigint; begin
            for one in select entity from redline.entities order by random() limit 5 loop
                update redline.entities set source = source where entity = one;
            end loop;
         end $$",
    );
    run.go_on(150, 300).await;
    nuisance.end().await;
    set_for_all(run, "reset default_transaction_isolation").await;
}
