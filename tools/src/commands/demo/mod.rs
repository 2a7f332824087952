//! `redline demo`: the whole of Redline in one process, on parts that nobody has to install, with a billing sheet in which
//! it is known what there is to find.
//!
//! The pipeline is the one of production. Only what stands around it is smaller: librdkafka's mock cluster for Kafka, a
//! Postgres of its own, marks in memory for Redis, the compiled-in schemas for the registry.

mod broker;
mod database;
mod folder;
mod live;
mod postgres;
mod sheet;
mod told;

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use clap::Args;
use indicatif::{HumanCount, ProgressBar};
use redline_consumer::cluster::Cluster;
use redline_consumer::deduplicate::MemoryMarks;
use redline_producer::kafka::KafkaSettings;
use redline_schemas::EventKind;
use redline_schemas::compiled::CompiledSchemas;
use redline_simulator::{Simulation, SimulationSettings, rulebook};
use redline_store::sqlx::{PgConnection, PgPool};
use redline_store::{positions, rules};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::broker::Broker;
use self::folder::Folder;
use self::postgres::Postgres;
use self::sheet::Judged;
use super::instruments::Instruments;
use super::spinner;
use crate::commands::feed::Feed;
use crate::roles::Roles;
use crate::settings::{DatabaseSettings, Settings};
use crate::{Ending, found};

/// Marks that are remembered, some 16 MiB of them.
const MOST_MARKS: usize = 200_000;

#[derive(Args)]
pub(crate) struct Demo {
    /// Begin from nothing and end after the sheet: exit 0 when everything that was planted was found and nothing else, else 3.
    #[arg(long)]
    once: bool,
    /// Rows of the sheet.
    #[arg(long, default_value_t = 10_184, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(100..=100_000))]
    rows: usize,
    /// The same seed makes the same sheet.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where it keeps its database, key and log; default redline-demo-UID where temporary files are.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Fetch a Postgres even where this machine has one (24 MB, once).
    #[arg(long)]
    fetch_postgres: bool,
    #[arg(skip)]
    taken: Option<Folder>,
}

impl Demo {
    /// Takes the demo's folder, before anything is logged; answers the log in it.
    ///
    /// # Errors
    /// When the folder cannot be used, or another demo has it.
    pub(crate) fn take_folder(&mut self) -> anyhow::Result<File> {
        let folder = Folder::take(self.folder.take())?;
        let log = folder.log()?;
        self.taken = Some(folder);
        Ok(log)
    }
}

/// Runs until told to stop, or until the sheet is judged.
pub(crate) async fn run(
    mut demo: Demo,
    settings: Settings,
    stop: CancellationToken,
) -> anyhow::Result<Ending> {
    let folder = demo.taken.take().context("the demo has no folder")?;
    let bar = spinner()?;
    bar.enable_steady_tick(Duration::from_millis(100));
    let once = demo.once;
    // A terminal that is closed must not leave Postgres behind. Roles take no notice of it, so that nohup works.
    let mut hangup = signal(SignalKind::hangup())?;
    let closed = stop.clone();
    tokio::spawn(async move {
        if hangup.recv().await.is_some() {
            closed.cancel();
        }
    });
    let installing = Installation::start(&folder, settings, &demo, &bar);
    let mut installation = tokio::select! {
        installation = installing => installation?,
        () = stop.cancelled() => return told_to_stop(once),
    };
    let ending = installation.play(&demo, &folder, &bar, stop).await;
    bar.finish_and_clear();
    if let Some(postgres) = installation.postgres.take() {
        postgres.stop().await?;
    }
    ending
}

/// What a demo comes to that did not come to its end: one that was to judge the sheet has not.
fn told_to_stop(once: bool) -> anyhow::Result<Ending> {
    match once {
        true => Err(anyhow!("told to stop before the sheet was judged")),
        false => Ok(Ending::Done),
    }
}

/// The parts around the pipeline.
struct Installation {
    settings: Settings,
    simulation: Simulation,
    broker: Broker,
    /// None where DATABASE_URL names one.
    postgres: Option<Postgres>,
    pool: PgPool,
    /// Keeps another demo out of the database.
    _alone: PgConnection,
    key: String,
    began: Instant,
}

impl Installation {
    async fn start(
        folder: &Folder,
        mut settings: Settings,
        demo: &Demo,
        bar: &ProgressBar,
    ) -> anyhow::Result<Self> {
        let began = Instant::now();
        let say = |words: &str| bar.set_message(words.to_owned());
        let postgres = match database::is_named() {
            true => None,
            false => Some(Postgres::start(folder, demo.fetch_postgres, say).await?),
        };
        settings.database = match &postgres {
            Some(postgres) => DatabaseSettings::at(&postgres.url),
            None => database::of_its_own(&settings.database).await?,
        };
        let alone = database::alone(settings.database.url()).await?;
        say("making the sheet");
        let sheet = SimulationSettings {
            seed: demo.seed,
            rows: demo.rows,
            ..SimulationSettings::default()
        };
        let simulation = tokio::task::spawn_blocking(|| Simulation::new(sheet)).await?;
        let broker = Broker::start(&settings.topics)?;
        // The broker of the demo knows no logins.
        settings.kafka = KafkaSettings {
            bootstrap_servers: broker.bootstrap_servers.clone(),
            ..KafkaSettings::default()
        };
        // Kafka's group gives a partition on after this; the mock cluster waits nearly as long at every rebalance.
        settings.work.session_timeout_milliseconds = 6_000;
        // Nobody waits for a flag of the demo, and it is to be a quiet guest.
        settings.relay.poll_milliseconds = 500;
        settings.ingest.listen = free_address(settings.ingest.listen).await?;
        let revision = env!("REDLINE_REVISION");
        let sheet = format!("redline demo {revision}: seed {}, {} rows", demo.seed, demo.rows);
        database::prepare(settings.database.url(), &sheet, folder, demo.once).await?;
        let pool = redline_store::pool(settings.database.url(), "demo", 2)?;
        let rules_text = format!(
            "{}\n{}",
            simulation.rules_toml,
            rulebook::rules_of(live::SOURCE, simulation.settings.grace())
        );
        rules::record_first(&pool, &rules_text).await?;
        start_anew(&settings, &pool).await?;
        let key = database::key(folder, &pool).await?;
        Ok(Self {
            settings,
            simulation,
            broker,
            postgres,
            pool,
            _alone: alone,
            key,
            began,
        })
    }

    /// Runs the roles, and beside them what there is to be seen.
    async fn play(
        &self,
        demo: &Demo,
        folder: &Folder,
        bar: &ProgressBar,
        stop: CancellationToken,
    ) -> anyhow::Result<Ending> {
        let marks = MemoryMarks::new(MOST_MARKS);
        let roles = Roles::start(
            &self.settings,
            &Instruments::new()?,
            CompiledSchemas,
            marks,
            stop.clone(),
        )
        .await?;
        let address = roles.address;
        bar.suspend(|| self.introduce(folder, address))?;
        let mut roles = pin!(roles.ended());
        let ending = tokio::select! {
            ended = &mut roles => return ended.and_then(|()| told_to_stop(demo.once)),
            ending = self.show(demo, address, bar) => ending,
        };
        stop.cancel();
        roles.await?;
        ending
    }

    fn introduce(&self, folder: &Folder, address: SocketAddr) -> anyhow::Result<()> {
        let mut out = std::io::stdout();
        let database = self.postgres.as_ref().map_or_else(
            || format!("{}, on the server of DATABASE_URL", database::NAME),
            |postgres| postgres.description.clone(),
        );
        writeln!(out, "Redline, all of it in one process. Ctrl-C ends it.\n")?;
        writeln!(out, "  Database  {database}")?;
        writeln!(
            out,
            "  Kafka     {}, librdkafka's mock cluster, in memory;\n            it keeps 5 MiB a partition, where a real broker keeps all",
            self.broker.bootstrap_servers
        )?;
        writeln!(out, "  HTTP      http://{address}")?;
        let what = match &self.postgres {
            Some(_) => "database",
            None => "key",
        };
        writeln!(
            out,
            "  Folder    {}, with its {what} and {}\n",
            folder.path().display(),
            folder::LOG
        )?;
        Ok(())
    }

    async fn show(&self, demo: &Demo, address: SocketAddr, bar: &ProgressBar) -> anyhow::Result<Ending> {
        let mut out = std::io::stdout();
        let mut feed = Feed::new(&self.settings.kafka, CompiledSchemas, &self.settings.topics)?;
        let Judged {
            report,
            flags,
            events,
        } = sheet::judge(&self.simulation, &mut feed, &self.pool, bar, self.began).await?;
        let is_clean = report.is_clean();
        bar.finish_and_clear();
        writeln!(
            out,
            "Found of what was planted in {} rows ({} events, {} facts), after {:.0} s:\n",
            HumanCount(demo.rows as u64),
            HumanCount(events),
            HumanCount(self.simulation.facts.len() as u64),
            self.began.elapsed().as_secs_f64()
        )?;
        writeln!(
            out,
            "{}",
            told::comparison(&self.simulation.truth, &flags, &report)
        )?;
        let examples = told::examples(&flags);
        writeln!(out, "Three of them, in plain words:\n")?;
        for flag in &examples {
            writeln!(out, "{}", told::in_words(flag))?;
        }
        if demo.once {
            return Ok(found(!is_clean));
        }
        let next = told::Next {
            address: format!("http://{address}"),
            key: &self.key,
            bootstrap_servers: &self.broker.bootstrap_servers,
            flagged: &self.settings.topics.flagged,
            psql: self.postgres.as_ref().map(|postgres| postgres.psql.as_str()),
            flag: examples.first().copied(),
        };
        writeln!(out, "{}", next.told())?;
        writeln!(
            out,
            "It goes on with an edit every two seconds, of the source {}, dated as the\nsheet is. New flags:\n",
            live::SOURCE
        )?;
        live::go_on(&mut feed, &self.pool).await?;
        Ok(Ending::Done)
    }
}

/// The door's address, or any free one of the same host where it is taken.
async fn free_address(wanted: SocketAddr) -> anyhow::Result<SocketAddr> {
    match TcpListener::bind(wanted).await {
        Ok(_) => Ok(wanted),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Ok(SocketAddr::new(wanted.ip(), 0)),
        Err(error) => Err(error).with_context(|| format!("cannot listen on {wanted} (ingest.listen)")),
    }
}

/// The mock cluster forgets everything, so its topics are new ones at every start. Here nothing that was unread is of worth.
async fn start_anew(settings: &Settings, pool: &PgPool) -> anyhow::Result<()> {
    let cluster = Cluster::new(&settings.kafka)?;
    for kind in EventKind::ALL {
        for partition in 0..broker::PARTITIONS {
            let kafka = cluster.describe(settings.topics.of(kind), partition).await?;
            positions::start_anew(pool, &kafka, "redline demo").await?;
        }
    }
    Ok(())
}
