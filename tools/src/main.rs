//! The `redline` binary: reads its arguments and settings, and wires the crates together. Nothing else.

mod commands;
#[cfg(test)]
mod help;
mod roles;
mod settings;
mod topics;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use redline_store::StoreError;
use redline_store::keys::KeyError;
use redline_telemetry::logs::Destination;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::commands::{
    approvals, bench, collect, demo, doctor, ingest, key, migrate, position, quarantine, rederive, reference,
    relay, replay, report, retention, rules, serve, simulate, work,
};
use crate::settings::{Origin, Settings};

/// Change detection for money: from producers over Kafka to flags, counted once.
#[derive(Parser)]
#[command(
    version,
    about,
    arg_required_else_help = true,
    after_help = "Example: redline migrate && redline serve\n\n\
        Exit codes: 0 done, 1 failed, 2 wrong use, 3 checked and found something."
)]
struct Arguments {
    /// Settings file; default configs/redline.toml, or REDLINE_CONFIG.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// See it work: everything in one process, nothing to install, and a sheet with findings to be found. Where DATABASE_URL
    /// names a server, it uses a database `redline_demo` there; else a Postgres of its own.
    #[command(after_help = "Example: redline demo --once")]
    Demo(demo::Demo),
    /// Make or update topics, schemas, database and first rules.
    #[command(after_help = "Example: redline migrate")]
    Migrate,
    /// Run all roles in one process: ingest, work and relay.
    #[command(after_help = "Example: redline migrate && redline serve")]
    Serve,
    /// Take events over HTTP and publish them.
    #[command(after_help = "Example: REDLINE_INGEST__LISTEN=127.0.0.1:8080 redline ingest")]
    Ingest,
    /// Record events and detect changes. More workers share the partitions.
    #[command(after_help = "Example: redline work")]
    Work,
    /// Publish flags and quarantined records.
    #[command(after_help = "Example: redline relay")]
    Relay,
    /// Collect events from other places.
    #[command(
        subcommand,
        after_help = "Example: redline collect files outages.csv.gz --source outages"
    )]
    Collect(CollectCommand),
    /// What could not be accepted.
    #[command(subcommand, after_help = "Example: redline quarantine list")]
    Quarantine(quarantine::QuarantineCommand),
    /// Where reading stands.
    #[command(subcommand, after_help = "Example: redline position list")]
    Position(PositionCommand),
    /// API keys for the HTTP door.
    #[command(
        subcommand,
        after_help = "Example: redline key create billing-export --scope rows --source billing"
    )]
    Key(KeyCommand),
    /// Rule files, and the rules in force.
    #[command(subcommand, after_help = "Example: redline rules check configs/rules.toml")]
    Rules(rules::RulesCommand),
    /// Reference tables, such as contract prices, holidays or editors.
    #[command(subcommand, after_help = "Example: redline reference list")]
    Reference(reference::ReferenceCommand),
    /// Check every connection and setting, and say what to mend; exit 3 when there is something.
    #[command(
        after_help = "Examples:\n  redline doctor\n  redline doctor --quiet --wait 60\n  redline doctor --totals"
    )]
    Doctor(DoctorArguments),
    /// Approvals, and what came of them.
    #[command(subcommand, after_help = "Example: redline approvals list")]
    Approvals(approvals::ApprovalsCommand),
    /// Make a billing sheet with planted findings and the truth about it, as files or published; then check what was found.
    #[command(after_help = "Example: redline simulate sheet --seed 7 --publish")]
    Simulate(simulate::Simulate),
    /// Publish again what a topic, a file or the record holds, and prove what that changed; or judge it under other rules.
    #[command(
        subcommand,
        after_help = "Example: redline replay recorded --resume replay.json"
    )]
    Replay(replay::ReplayCommand),
    /// Derive everything that is recorded again from the recorded events and facts, and say what differs; exit 3 when
    /// something does.
    #[command(after_help = "Example: redline rederive")]
    Rederive(rederive::RederiveArguments),
    /// Remove the contents of events that were recorded longer ago than `retention.events_months` says, whole months at a time.
    /// Connects as the owner of the tables, as `redline migrate` does.
    #[command(after_help = "Example: redline retention --dry-run")]
    Retention(retention::RetentionArguments),
    /// What finance asks of the record.
    #[command(
        subcommand,
        after_help = "Example: redline report completeness --period 2026-03"
    )]
    Report(report::ReportCommand),
    /// Measure the recording path against its floors, in one run, on an empty database and Kafka of your own.
    #[command(after_help = "Example: redline bench --versions 68 --server postgres=4711 --server kafka=4712")]
    Bench(bench::BenchArguments),
}

#[derive(Args)]
struct DoctorArguments {
    /// Only whether everything that Kafka has is recorded, judged under all facts and published; exit 3 when it is not.
    #[arg(long)]
    quiet: bool,
    /// Wait for quiet so many seconds at most.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, requires = "quiet")]
    wait: u32,
    /// Only whether the control totals agree with themselves, with the tables and with Kafka; prints the first disagreement and
    /// exits 3 when they do not. Reads everything once.
    #[arg(long, conflicts_with = "quiet")]
    totals: bool,
    /// The result as one JSON object.
    #[arg(long)]
    json: bool,
}

impl Command {
    /// What the process is, for those who read its traces.
    fn role(&self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Work => "work",
            Self::Relay => "relay",
            Self::Serve => "serve",
            Self::Demo(_) => "demo",
            Self::Collect(_) => "collect",
            Self::Simulate(_) => "simulate",
            _ => "command",
        }
    }
}

#[derive(Subcommand)]
enum CollectCommand {
    /// Publish the rows of a file: NDJSON, or CSV with its columns mapped under [collect.SOURCE]. The same file
    /// again makes only duplicates.
    #[command(after_help = "Example: redline collect files outages.csv.gz --source outages")]
    Files(CollectFiles),
}

#[derive(Args)]
struct CollectFiles {
    /// The file; .gz is unpacked while it is read, - is the standard input.
    file: PathBuf,
    /// The source that the rows belong to.
    #[arg(long)]
    source: String,
    /// The result as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum PositionCommand {
    /// List positions and stopped partitions; exit 3 when one is stopped.
    #[command(after_help = "Example: redline position list")]
    List {
        /// As a JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Read a stopped partition again from the log's start.
    #[command(after_help = "Example: redline position restart redline.rows --partition 3")]
    Restart(ChosenPartition),
    /// Go on behind records that were removed before they were read.
    #[command(after_help = "Example: redline position accept-gap redline.rows --partition 3")]
    AcceptGap(ChosenPartition),
    /// Go on with a partition that had too many quarantined records in a row.
    #[command(after_help = "Example: redline position resume redline.rows --partition 3")]
    Resume(ChosenPartition),
}

#[derive(Args)]
struct ChosenPartition {
    /// The topic.
    topic: String,
    /// The partition; default all of the topic's that are stopped.
    #[arg(long)]
    partition: Option<i32>,
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Make a key and print it, once.
    #[command(after_help = "Example: redline key create billing-export --scope rows --source billing")]
    Create {
        /// What the key is called.
        name: String,
        /// What it opens: rows, facts, approvals, read; divided by commas.
        #[arg(long, value_delimiter = ',', required = true)]
        scope: Vec<String>,
        /// The only source that it opens; default all.
        #[arg(long)]
        source: Option<String>,
    },
    /// List keys, without their secrets.
    #[command(after_help = "Example: redline key list --json")]
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key; doors heed it within five seconds.
    #[command(after_help = "Example: redline key revoke billing-export")]
    Revoke {
        /// What the key is called.
        name: String,
    },
}

/// What a command comes to.
pub(crate) enum Ending {
    Done,
    /// Checked, and found something.
    Found,
}

pub(crate) fn found(found: bool) -> Ending {
    if found { Ending::Found } else { Ending::Done }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).await {
        Ok(Ending::Done) => ExitCode::SUCCESS,
        Ok(Ending::Found) => ExitCode::from(3),
        Err(error) => {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "redline: {}", told(&error));
            let is_misuse = error.downcast_ref::<Misuse>().is_some();
            ExitCode::from(if is_misuse { 2 } else { 1 })
        }
    }
}

/// An error with its causes, each said once: some errors say their cause themselves.
fn told(error: &anyhow::Error) -> String {
    // What says by itself what to mend needs no cause.
    let is_whole = |cause: &(dyn std::error::Error + 'static)| {
        let store = cause
            .downcast_ref::<StoreError>()
            .is_some_and(StoreError::is_unusable);
        let keys = cause
            .downcast_ref::<KeyError>()
            .is_some_and(KeyError::is_unusable);
        store || keys
    };
    let whole = error.chain().position(is_whole).unwrap_or(usize::MAX);
    error
        .chain()
        .take(whole.saturating_add(1))
        .map(ToString::to_string)
        .fold(String::new(), |told, cause| {
            if told.is_empty() {
                cause
            } else if told.contains(&cause) {
                told
            } else {
                format!("{told}: {cause}")
            }
        })
}

/// Arguments or settings that can never be used, whatever runs.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misuse(pub(crate) String);

async fn run(mut arguments: Arguments) -> anyhow::Result<Ending> {
    let file = arguments.config.clone();
    let loaded = Settings::load(file.as_deref());
    if let Command::Doctor(DoctorArguments {
        quiet: false,
        totals: false,
        json,
        ..
    }) = arguments.command
    {
        // It says itself what is wrong, settings too, and no log in between.
        return Ok(found(doctor::check(file.as_deref(), loaded, json).await?));
    }
    let settings = loaded.map_err(|error| Misuse(format!("{error:#}")))?;
    let destination = match &mut arguments.command {
        Command::Bench(_) => Destination::OnlyErrors,
        Command::Demo(demo) => Destination::File(demo.take_folder()?),
        _ => Destination::ErrorStream,
    };
    let role = arguments.command.role();
    let telemetry = redline_telemetry::start(&settings.log, &settings.traces, role, destination)
        .map_err(|error| Misuse(error.to_string()))?;
    let unused = Origin::find(file.as_deref()).unused;
    if !unused.is_empty() {
        tracing::warn!(
            "{}: no setting is called so, and nothing is set by it; a key is REDLINE_<SECTION>__<KEY>, with two underscores between",
            unused.join(", ")
        );
    }
    let place = redline_store::place(settings.database.url())?;
    let ended = obey(arguments.command, settings).await;
    telemetry.shutdown().await;
    ended.map_err(|error| {
        if is_without_postgres(&error) {
            let fix = format!("Postgres at {place} does not answer; look at it, and at database.url");
            return error.context(fix);
        }
        error
    })
}

fn is_without_postgres(error: &anyhow::Error) -> bool {
    let is_store = error
        .downcast_ref::<StoreError>()
        .is_some_and(StoreError::is_unreachable);
    let is_keys = error
        .downcast_ref::<KeyError>()
        .is_some_and(KeyError::is_unreachable);
    is_store || is_keys
}

async fn obey(command: Command, settings: Settings) -> anyhow::Result<Ending> {
    match command {
        Command::Demo(arguments) => return demo::run(arguments, settings, told_to_stop()?).await,
        Command::Migrate => migrate::run(&settings).await?,
        Command::Serve => serve::run(&settings, told_to_stop()?).await?,
        Command::Ingest => ingest::run(&settings, told_to_stop()?).await?,
        Command::Work => work::run(settings, told_to_stop()?).await?,
        Command::Relay => relay::run(&settings, told_to_stop()?).await?,
        Command::Collect(CollectCommand::Files(CollectFiles { file, source, json })) => {
            collect::files(&settings, &file, &source, json).await?;
        }
        Command::Quarantine(command) => return quarantine::run(command, &settings).await,
        Command::Position(PositionCommand::List { json }) => {
            return Ok(found(position::list(&settings, json).await?));
        }
        Command::Position(PositionCommand::Restart(ChosenPartition { topic, partition })) => {
            position::choose(&settings, position::Choice::Restart, &topic, partition).await?;
        }
        Command::Position(PositionCommand::AcceptGap(ChosenPartition { topic, partition })) => {
            position::choose(&settings, position::Choice::AcceptGap, &topic, partition).await?;
        }
        Command::Position(PositionCommand::Resume(ChosenPartition { topic, partition })) => {
            position::choose(&settings, position::Choice::Resume, &topic, partition).await?;
        }
        Command::Key(KeyCommand::Create { name, scope, source }) => {
            key::create(&settings, &name, &scope, source.as_deref()).await?;
        }
        Command::Key(KeyCommand::List { json }) => key::list(&settings, json).await?,
        Command::Key(KeyCommand::Revoke { name }) => key::revoke(&settings, &name).await?,
        Command::Rules(command) => return rules::run(command, &settings).await,
        Command::Reference(command) => return reference::run(command, &settings).await,
        Command::Doctor(DoctorArguments {
            totals: true, json, ..
        }) => {
            return Ok(found(doctor::totals(&settings, json).await?));
        }
        Command::Doctor(DoctorArguments { wait, json, .. }) => {
            let wait = std::time::Duration::from_secs(wait.into());
            return Ok(found(doctor::quiet(&settings, wait, json).await?));
        }
        Command::Approvals(command) => return approvals::run(command, &settings).await,
        Command::Simulate(arguments) => return simulate::run(arguments, &settings).await,
        Command::Report(command) => return report::run(command, &settings).await,
        Command::Replay(command) => return replay::run(command, &settings, told_to_stop()?).await,
        Command::Retention(arguments) => retention::run(&settings, &arguments).await?,
        Command::Rederive(arguments) => return Ok(found(rederive::run(&settings, &arguments).await?)),
        Command::Bench(arguments) => bench::run(settings, &arguments).await?,
    }
    Ok(Ending::Done)
}

/// Is cancelled by Ctrl-C and SIGTERM; the second of them ends the process at once.
fn told_to_stop() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let told = stop.clone();
    // Both are caught from here on, not only from when the task first runs.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        let mut signals = 0;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            signals += 1;
            if signals > 1 {
                std::process::exit(1);
            }
            tracing::info!("told to stop: finishing what is in flight");
            told.cancel();
        }
    });
    Ok(stop)
}
