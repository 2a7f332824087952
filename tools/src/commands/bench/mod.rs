//! `redline bench`: where the recording path stands against its floors, measured in one run.
//!
//! Floors: consuming and decoding the events, and copying the same events into the tables that identity needs,
//! each with nothing else to do. Then the worker end to end, with everything that it is for. What matters is the
//! ratio of their CPU seconds, servers included: it holds on a noisy machine, where events per second do not.

mod cpu;
mod floors;
mod generate;

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rdkafka::admin::AdminOptions;
use redline_consumer::deduplicate::RedisMarks;
use redline_consumer::worker::Worker;
use redline_producer::kafka::{self, KafkaSettings};
use redline_schemas::topics::Topics;
use redline_store::sqlx::{self, Connection, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::commands::migrate;
use crate::settings::Settings;
use cpu::{Clock, Used};

#[derive(clap::Args)]
pub(crate) struct BenchArguments {
    /// Rows of the sheet.
    #[arg(long, default_value_t = 10_184)]
    rows: u32,
    /// Versions of each row; all but the first are edits.
    #[arg(long, default_value_t = 20)]
    versions: u32,
    /// Of a thousand edits, how many come after their period's end and are flagged.
    #[arg(long, default_value_t = 10)]
    late_per_mille: u32,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 4)]
    partitions: i32,
    /// A server whose CPU time is counted, such as `postgres=4711`. May be given several times.
    #[arg(long = "server", value_name = "NAME=PID")]
    servers: Vec<String>,
}

/// One line of the table.
struct Measured {
    step: &'static str,
    elapsed: Duration,
    used: Vec<(String, Used)>,
}

impl Measured {
    /// CPU seconds of all processes.
    fn cpu_seconds(&self) -> Duration {
        self.used.iter().map(|(_, used)| used.0).sum()
    }
}

/// Measures on databases and topics of its own, which it removes at the end.
pub(crate) async fn run(settings: Settings, arguments: &BenchArguments) -> anyhow::Result<()> {
    let events = u64::from(arguments.rows) * u64::from(arguments.versions);
    if events == 0 {
        bail!("--rows and --versions must be at least 1");
    }
    let clock = Clock::new(&arguments.servers)?;
    let floor = Stage::begin(&settings, "floor", arguments.partitions).await?;
    let worker = Stage::begin(&settings, "worker", arguments.partitions).await?;
    say(&format!(
        "{events} events: {} rows, {} versions each",
        arguments.rows, arguments.versions
    ));

    let result = measure(&clock, &floor, &worker, arguments, events).await;
    // The servers are left as they were found, also after a failure.
    let ended = floor.end().await.and(worker.end().await);
    report(&result?, events)?;
    ended
}

async fn measure(
    clock: &Clock,
    floor: &Stage,
    worker: &Stage,
    arguments: &BenchArguments,
    events: u64,
) -> anyhow::Result<Vec<Measured>> {
    let topic = worker.settings.topics.rows.clone();
    let average = generate::publish(&worker.settings, arguments).await?;
    say(&format!("published, {average} bytes each on average"));

    let kafka = &worker.settings.kafka;
    let mut measured = Vec::new();
    let mut step = |step: &'static str, started: Instant, before: &cpu::Reading| -> anyhow::Result<()> {
        measured.push(Measured {
            step,
            elapsed: started.elapsed(),
            used: clock.since(before)?,
        });
        say(step);
        Ok(())
    };

    let (started, before) = (Instant::now(), clock.read()?);
    floors::consume(kafka, &topic, arguments.partitions, events, None).await?;
    step("consume", started, &before)?;

    let (started, before) = (Instant::now(), clock.read()?);
    floors::consume(
        kafka,
        &topic,
        arguments.partitions,
        events,
        Some(worker.writer()?),
    )
    .await?;
    step("consume, decode", started, &before)?;

    let batches = floors::prepare(arguments, worker.settings.work.batch_records);
    let (started, before) = (Instant::now(), clock.read()?);
    floors::copy(floor.settings.database.url(), batches).await?;
    step("copy", started, &before)?;

    let (started, before) = (Instant::now(), clock.read()?);
    work(&worker.settings, events).await?;
    step("worker", started, &before)?;
    Ok(measured)
}

/// Runs a worker in this process until it has recorded all events.
async fn work(settings: &Settings, events: u64) -> anyhow::Result<()> {
    let lifetime = Duration::from_secs(3_600);
    let stop = CancellationToken::new();
    let worker = Worker {
        kafka: settings.kafka.clone(),
        topics: settings.topics.clone(),
        database_url: settings.database.url().to_owned(),
        registry: settings.registry.client()?,
        marks: RedisMarks::new(settings.redis.client()?, &settings.work.mark_prefix, lifetime),
        settings: settings.work.clone(),
        meter: redline_telemetry::metrics::Meter::new(),
        health: redline_telemetry::health::Health::default(),
    };
    let working = tokio::spawn(worker.run(stop.clone()));
    let mut connection = PgConnection::connect(settings.database.url()).await?;
    loop {
        let recorded: i64 = sqlx::query_scalar(
            "select coalesce(sum(read), 0)::bigint from redline.control_totals where topic = $1",
        )
        .bind(&settings.topics.rows)
        .fetch_one(&mut connection)
        .await?;
        if u64::try_from(recorded)? >= events {
            break;
        }
        if working.is_finished() {
            working.await??;
            bail!("the worker ended before all events were recorded");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    working.await??;
    Ok(())
}

/// A database and topics of the bench's own.
struct Stage {
    settings: Settings,
    admin_url: String,
    database: String,
}

impl Stage {
    async fn begin(settings: &Settings, role: &str, partitions: i32) -> anyhow::Result<Self> {
        let name = format!("redline_bench_{role}_{}", std::process::id());
        let mut own = settings.clone();
        let topic = |part: &str| format!("{}.{part}", name.replace('_', "-"));
        own.topics = Topics {
            rows: topic("rows"),
            payouts: topic("payouts"),
            orders: topic("orders"),
            facts: topic("facts"),
            flagged: topic("flagged"),
            quarantine: topic("quarantine"),
        };
        own.migrate.partitions = partitions;
        own.work.group.clone_from(&name);
        own.work.mark_prefix = format!("{name}:");
        let admin_url = settings.database.url().to_owned();
        execute(&admin_url, format!("create database {name}")).await?;
        own.database = own
            .database
            .with_database(&name)
            .context("database.url has no database to replace")?;
        migrate::run_quietly(&own, generate::RULES).await?;
        Ok(Self {
            settings: own,
            admin_url,
            database: name,
        })
    }

    /// The schema that the events were written under.
    fn writer(&self) -> anyhow::Result<redline_schemas::avro::WriterSchema> {
        use redline_schemas::{EventKind, avro};
        Ok(avro::WriterSchema::new(0, EventKind::Row, avro::ROW_SCHEMA)?)
    }

    async fn end(self) -> anyhow::Result<()> {
        execute(
            &self.admin_url,
            format!("drop database {} with (force)", self.database),
        )
        .await?;
        delete_topics(&self.settings.kafka, &self.settings.topics).await
    }
}

async fn delete_topics(kafka: &KafkaSettings, topics: &Topics) -> anyhow::Result<()> {
    let admin = kafka::admin(kafka).await?;
    let Topics {
        rows,
        payouts,
        orders,
        facts,
        flagged,
        quarantine,
    } = topics;
    let names = [rows, payouts, orders, facts, flagged, quarantine].map(String::as_str);
    admin.delete_topics(&names, &AdminOptions::new()).await?;
    Ok(())
}

async fn execute(url: &str, statement: String) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    // The only variable part is a name that this process made.
    sqlx::raw_sql(&statement).execute(&mut connection).await?;
    Ok(())
}

fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "bench: {line}");
}

/// The table, and the one figure that matters.
fn report(measured: &[Measured], events: u64) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let names: Vec<&str> = measured.first().map_or_else(Vec::new, |first| {
        first.used.iter().map(|(name, _)| name.as_str()).collect()
    });
    write!(out, "{:16} {:>8} {:>10}", "step", "seconds", "events/s")?;
    for name in &names {
        write!(out, " {:>14}", format!("{name} us/event"))?;
    }
    writeln!(out, " {:>14}", "all us/event")?;
    let per_event = |used: Duration| micros(used) * 10 / u128::from(events);
    for line in measured {
        let rate = u128::from(events) * 1_000_000 / micros(line.elapsed).max(1);
        let seconds = tenths(micros(line.elapsed) / 100_000);
        write!(out, "{:16} {seconds:>8} {rate:>10}", line.step)?;
        for (_, used) in &line.used {
            write!(out, " {:>14}", tenths(per_event(used.0)))?;
        }
        writeln!(out, " {:>14}", tenths(per_event(line.cpu_seconds())))?;
    }
    let cpu = |step: &str| {
        measured
            .iter()
            .find(|line| line.step == step)
            .map_or(0, |line| micros(line.cpu_seconds()))
    };
    let floors = cpu("consume, decode") + cpu("copy");
    let ratio = floors * 100 / cpu("worker").max(1);
    writeln!(
        out,
        "floors (consume, decode + copy) / worker: {}.{:02} of the budget; the goal is 0.60",
        ratio / 100,
        ratio % 100
    )?;
    Ok(())
}

fn micros(duration: Duration) -> u128 {
    duration.as_micros()
}

/// Tenths with a point.
fn tenths(value: u128) -> String {
    format!("{}.{}", value / 10, value % 10)
}
