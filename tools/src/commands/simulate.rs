//! `redline simulate`: a billing sheet with planted findings, and what was found of them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;
use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand, ValueEnum, value_parser};
use indicatif::ProgressBar;
use redline_domain::rules::RuleSet;
use redline_schemas::Timestamp;
use redline_simulator::{FactsArrive, FindingRates, Order, Simulation, SimulationSettings, Truth, compare};
use redline_store::{findings, read_only_connection};

use super::feed::Feed;
use super::{connecting, counted, spinner};
use crate::settings::Settings;
use crate::{Ending, Misuse, found};

/// Records between two words about how far it is.
const STEP: u64 = 5_000;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Simulate {
    #[command(subcommand)]
    command: Option<SimulateCommand>,
    #[command(flatten)]
    sheet: Sheet,
}

#[derive(Subcommand)]
enum SimulateCommand {
    /// Hold what is recorded against the truth of a simulated sheet; exit 3 when they differ.
    #[command(
        after_help = "Example:\n  redline doctor --quiet --wait 60 && \\\n    redline simulate check sheet/truth.json"
    )]
    Check {
        /// The file `truth.json` that the simulation wrote.
        truth: PathBuf,
        /// The result as one JSON object.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct Sheet {
    /// Where events.ndjson, facts.ndjson, rules.toml and truth.json are written; the folder is made.
    #[arg(value_name = "FOLDER", required = true)]
    folder: Option<PathBuf>,
    /// The same seed makes the same sheet.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Rows of the sheet.
    #[arg(long, default_value_t = 10_184, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    rows: usize,
    /// Weeks over which they are spread.
    #[arg(long, default_value_t = 6, value_parser = value_parser!(u32).range(1..=520))]
    weeks: u32,
    /// How many of a thousand rows get a planted finding of each group.
    #[arg(long, default_value_t = 20, value_parser = value_parser!(u32).range(0..=1_000))]
    findings: u32,
    /// How many of a thousand events come twice.
    #[arg(long, default_value_t = 30, value_parser = value_parser!(u32).range(0..=1_000))]
    duplicates: u32,
    /// Events come in any order, by this seed.
    #[arg(long, value_name = "SEED")]
    shuffle: Option<u64>,
    /// Publish everything to Kafka as well. The simulation's rules must be in force: migrate with them, or activate them.
    #[arg(long)]
    publish: bool,
    /// When facts are published.
    #[arg(long, value_enum, default_value_t = When::First)]
    facts: When,
    /// The result as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum When {
    /// Before all events.
    First,
    /// After all events.
    Last,
    /// Between them.
    Mixed,
}

/// Obeys.
pub(crate) async fn run(arguments: Simulate, settings: &Settings) -> anyhow::Result<Ending> {
    match (arguments.command, &arguments.sheet.folder) {
        (Some(SimulateCommand::Check { truth, json }), _) => Ok(found(check(settings, &truth, json).await?)),
        (None, Some(folder)) => {
            simulate(settings, &arguments.sheet, folder).await?;
            Ok(Ending::Done)
        }
        (None, None) => Err(Misuse("a folder is needed".to_owned()).into()),
    }
}

async fn simulate(settings: &Settings, sheet: &Sheet, folder: &Path) -> anyhow::Result<()> {
    let bar = spinner()?;
    bar.set_message("making the sheet");
    bar.enable_steady_tick(Duration::from_millis(100));
    let simulation = Simulation::new(SimulationSettings {
        seed: sheet.seed,
        rows: sheet.rows,
        weeks: sheet.weeks,
        duplicates: sheet.duplicates,
        findings: FindingRates::each(sheet.findings),
        ..SimulationSettings::default()
    });
    let order = sheet.shuffle.map_or(Order::InOrder, Order::Shuffled);
    simulation.write_to(folder, order)?;
    let published = match sheet.publish {
        true => Some(publish(settings, sheet, &simulation, order, &bar).await),
        false => None,
    };
    bar.finish_and_clear();
    let published = published.transpose()?;
    let once = (simulation.events.len() + simulation.facts.len()) as u64;
    let duplicates = |published: u64| published.saturating_sub(once);
    let truth = &simulation.truth;
    let mut out = std::io::stdout();
    if sheet.json {
        let answer = serde_json::json!({
            "folder": folder, "events": simulation.events.len(), "facts": simulation.facts.len(),
            "changes": truth.changes.len(), "flags": truth.flags.len(), "published": published,
            "duplicates": published.map(duplicates),
        });
        writeln!(out, "{answer}")?;
        return Ok(());
    }
    writeln!(
        out,
        "{}: {} and {}; to be found: {} and {}",
        folder.display(),
        counted(simulation.events.len() as u64, "event", "events"),
        counted(simulation.facts.len() as u64, "fact", "facts"),
        counted(truth.changes.len() as u64, "change", "changes"),
        counted(truth.flags.len() as u64, "flag", "flags"),
    )?;
    match published {
        Some(records) => writeln!(
            out,
            "{} published, {} of them {}. Next: redline doctor --quiet --wait 60 && redline simulate check {}",
            counted(records, "record was", "records were"),
            duplicates(records),
            if duplicates(records) == 1 {
                "a duplicate"
            } else {
                "duplicates"
            },
            folder.join("truth.json").display()
        )?,
        None => writeln!(
            out,
            "Nothing was published; --publish does, or send the files to POST /v1/rows and the facts topic"
        )?,
    }
    Ok(())
}

/// Publishes everything that arrives; answers the number of records.
async fn publish(
    settings: &Settings,
    sheet: &Sheet,
    simulation: &Simulation,
    order: Order,
    bar: &ProgressBar,
) -> anyhow::Result<u64> {
    rules_are_in_force(settings, &simulation.rules_toml).await?;
    connecting::kafka(settings).await?;
    let mut feed = Feed::new(&settings.kafka, settings.registry.client()?, &settings.topics)?;
    let facts = match sheet.facts {
        When::First => FactsArrive::First,
        When::Last => FactsArrive::Last,
        When::Mixed => FactsArrive::Mixed(sheet.seed),
    };
    let mut count = 0;
    for message in simulation.arrival(order, facts) {
        count = feed.send(&message).await?;
        if count % STEP == 0 {
            bar.set_message(format!("{count} records published"));
        }
    }
    feed.settle().await?;
    Ok(count)
}

/// What is found depends on the rules, and nobody's rules are replaced for a simulation.
async fn rules_are_in_force(settings: &Settings, rules: &str) -> anyhow::Result<()> {
    let source = redline_simulator::rulebook::SOURCE;
    let wanted = RuleSet::parse(rules)?;
    let wanted = wanted.source(source).map(|rules| rules.hash.clone());
    let mut connection = read_only_connection(settings.database.url(), "simulate").await?;
    let knowledge = redline_consumer::knowledge(&mut connection).await?;
    let in_force = knowledge.rules().of(source, Timestamp::FIRST);
    if in_force.map(|rules| rules.hash.clone()) != wanted {
        bail!(
            "the rules in force for the source {source} are not those of the simulation, so that something else would be \
             found. On an installation for trying out, migrate with its rules.toml (migrate.rules), or put it in force \
             from the beginning: redline rules activate FOLDER/rules.toml --effective-at {} --id simulation",
            Timestamp::FIRST
        );
    }
    Ok(())
}

/// Compares what is recorded with a truth; answers whether they differ.
async fn check(settings: &Settings, truth: &Path, json: bool) -> anyhow::Result<bool> {
    let truth = Truth::from_file(truth)?;
    let mut connection = read_only_connection(settings.database.url(), "simulate").await?;
    let source = redline_simulator::rulebook::SOURCE;
    let changes = findings::changes(&mut connection, source).await?;
    let flags = findings::standing_flags(&mut connection, source).await?;
    let report = compare(&truth, &changes, &flags);
    let mut out = std::io::stdout();
    if json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(!report.is_clean())
}
