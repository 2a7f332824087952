//! What is to be replayed, where to and how, as it is said on the command line.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};
use redline_consumer::cluster::Cluster;
use redline_schemas::{EventKind, Timestamp};
use redline_store::archive::Selection;
use redline_store::{read_only_connection, rules};
use serde_json::{Value, json};

use super::source::{Source, record, topic};
use crate::Misuse;
use crate::settings::Settings;

#[derive(Subcommand)]
pub(crate) enum ReplayCommand {
    /// A span of a topic: the same bytes, keys and headers, each record under a header redline-replay-of that names its place.
    #[command(
        after_help = "Examples:\n  redline replay topic redline.rows --from 2026-03-01T00:00:00Z\n  \
        redline replay topic redline.rows --partition 3 \\\n    --from-offset 120 --to-offset 240 --into rows-copy"
    )]
    Topic(TopicReplay),
    /// A file of events and facts, one JSON object a line, checked as the HTTP door checks them; .gz is unpacked. Nothing
    /// behind a line that is refused is published.
    #[command(after_help = "Example:\n  redline replay file sheet/events.ndjson --resume replay.json")]
    File(FileReplay),
    /// Every event and fact that was accepted, from Postgres, where topics no longer have them.
    #[command(
        after_help = "Examples:\n  redline replay recorded --source billing --rate 1000\n  \
        redline --config new.toml replay recorded --recorded-by old.toml \\\n    --resume replay.json"
    )]
    Recorded(RecordedReplay),
}

#[derive(Args)]
pub(crate) struct TopicReplay {
    /// The topic that is read.
    pub(super) topic: String,
    /// Only this partition.
    #[arg(long, value_name = "NUMBER")]
    pub(super) partition: Option<i32>,
    /// From this offset on; default the first that Kafka has.
    #[arg(long, value_name = "OFFSET", requires = "partition", conflicts_with = "from")]
    pub(super) from_offset: Option<i64>,
    /// Up to before this offset; default the end as it is now.
    #[arg(long, value_name = "OFFSET", requires = "partition", conflicts_with = "to")]
    pub(super) to_offset: Option<i64>,
    /// From this instant on by Kafka's timestamps, RFC 3339.
    #[arg(long, value_name = "INSTANT")]
    pub(super) from: Option<String>,
    /// Up to before this instant.
    #[arg(long, value_name = "INSTANT")]
    pub(super) to: Option<String>,
    #[command(flatten)]
    pub(super) how: How,
}

#[derive(Args)]
pub(crate) struct FileReplay {
    /// The file.
    pub(super) file: PathBuf,
    /// What every line is; default is what its id says.
    #[arg(long, value_enum)]
    pub(super) kind: Option<Kind>,
    #[command(flatten)]
    pub(super) how: How,
}

#[derive(Args)]
pub(crate) struct RecordedReplay {
    /// Only events of this source, and no facts.
    #[arg(long)]
    pub(super) source: Option<String>,
    /// Only events of this kind, or facts.
    #[arg(long, value_enum)]
    pub(super) kind: Option<Kind>,
    /// Recorded from this instant on, RFC 3339.
    #[arg(long, value_name = "INSTANT")]
    pub(super) from: Option<String>,
    /// Recorded before this instant.
    #[arg(long, value_name = "INSTANT")]
    pub(super) to: Option<String>,
    /// Settings file of another installation, whose record is read instead of this one's; only the file counts, no
    /// environment variable. What is new here is expected then.
    #[arg(long, value_name = "FILE")]
    pub(super) recorded_by: Option<PathBuf>,
    #[command(flatten)]
    pub(super) how: How,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    Row,
    Payout,
    Order,
    Fact,
}

impl From<Kind> for EventKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Row => Self::Row,
            Kind::Payout => Self::Payout,
            Kind::Order => Self::Order,
            Kind::Fact => Self::Fact,
        }
    }
}

/// What all three have in common.
#[derive(Args)]
pub(crate) struct How {
    /// Another topic than that of each record's kind.
    #[arg(long, value_name = "TOPIC", conflicts_with = "dry_run")]
    pub(super) into: Option<String>,
    /// Records a second, at most.
    #[arg(long, value_name = "NUMBER", conflicts_with = "dry_run")]
    pub(super) rate: Option<NonZeroU32>,
    /// Keeps in this file how far it is, and goes on from there when the same command is given again.
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    pub(super) resume: Option<PathBuf>,
    /// How many seconds at most everything may take to be quiet, before and afterwards, so that it can be told whether anything
    /// changed; 0 is without that proof.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60,
        conflicts_with = "dry_run"
    )]
    pub(super) wait: u32,
    /// What is replayed may be new here: what changed is told, and no reason to exit with 3.
    #[arg(long, conflicts_with = "dry_run")]
    pub(super) may_change: bool,
    /// Publish nothing: judge the rows in memory, under the rules in force and under those of a file, and show which flags
    /// would differ; exit 3 when any would.
    #[arg(long, requires = "rules")]
    pub(super) dry_run: bool,
    /// The rule file of a dry run.
    #[arg(long, value_name = "FILE", requires = "dry_run")]
    pub(super) rules: Option<PathBuf>,
    /// The result as one JSON object.
    #[arg(long)]
    pub(super) json: bool,
}

/// A replay that can begin.
pub(super) struct Planned {
    /// What is published.
    pub(super) source: Source,
    /// By what it is told from other replays.
    pub(super) identity: Value,
    /// The one topic that all of it goes to, where there is one.
    pub(super) into: Option<String>,
    /// Whether this system reads what is published.
    pub(super) comes_back: bool,
    /// Whether it was recorded elsewhere.
    pub(super) is_new_here: bool,
}

impl ReplayCommand {
    pub(super) fn how(&self) -> &How {
        match self {
            Self::Topic(TopicReplay { how, .. })
            | Self::File(FileReplay { how, .. })
            | Self::Recorded(RecordedReplay { how, .. }) => how,
        }
    }

    /// Looks up what is to be replayed; nothing is published.
    pub(super) async fn plan(&self, settings: &Settings) -> anyhow::Result<Planned> {
        match self {
            Self::Topic(replay) => replay.plan(settings).await,
            Self::File(replay) => replay.plan(settings),
            Self::Recorded(replay) => replay.plan(settings).await,
        }
    }
}

impl TopicReplay {
    async fn plan(&self, settings: &Settings) -> anyhow::Result<Planned> {
        let into = self.how.into.as_deref().unwrap_or(&self.topic);
        let read = settings.topics.kind_of(&self.topic);
        let written = settings.topics.kind_of(into);
        refuse_output(settings, into)?;
        if self.how.into.is_none() && read.is_none() {
            return Err(misuse(format!(
                "{} is none of the topics that are read ({}); say --into which topic it is to go",
                self.topic,
                EventKind::ALL.map(|kind| settings.topics.of(kind)).join(", ")
            )));
        }
        if let (Some(read), Some(written)) = (read, written)
            && read != written
        {
            return Err(misuse(format!(
                "{} holds {}s and {into} {}s; every record would be quarantined",
                self.topic,
                read.entity_type(),
                written.entity_type()
            )));
        }
        let source = topic(settings, self, into).await?;
        let cluster = Cluster::new(&settings.kafka)?;
        let topic_id = cluster
            .topic_ids(vec![self.topic.clone()])
            .await?
            .remove(&self.topic);
        Ok(Planned {
            identity: json!({
                "what": "topic", "topic": self.topic, "topic_id": topic_id, "partition": self.partition,
                "from_offset": self.from_offset, "to_offset": self.to_offset, "from": self.from, "to": self.to,
                "into": into,
            }),
            source,
            into: Some(into.to_owned()),
            comes_back: written.is_some(),
            is_new_here: false,
        })
    }
}

impl FileReplay {
    fn plan(&self, settings: &Settings) -> anyhow::Result<Planned> {
        let (kind, into) = target(settings, &self.how, self.kind)?;
        let path = std::path::absolute(&self.file)?;
        Ok(Planned {
            identity: json!({
                "what": "file", "file": path, "kind": kind.map(EventKind::entity_type), "into": into,
            }),
            source: Source::File {
                path: self.file.clone(),
                kind,
                into: into.as_deref().map(Arc::from),
            },
            comes_back: comes_back(settings, into.as_deref()),
            into,
            is_new_here: false,
        })
    }
}

impl RecordedReplay {
    async fn plan(&self, settings: &Settings) -> anyhow::Result<Planned> {
        let (kind, into) = target(settings, &self.how, self.kind)?;
        let selection = Selection {
            source: self.source.clone(),
            kind,
            from: instant("from", self.from.as_deref())?,
            to: instant("to", self.to.as_deref())?,
        };
        let url = self.database(settings).await?;
        let place = redline_store::place(&url)?;
        Ok(Planned {
            identity: json!({
                "what": "recorded", "database": place, "source": self.source, "from": self.from, "to": self.to,
                "kind": kind.map(EventKind::entity_type), "into": into,
            }),
            source: record(url, selection, into.as_deref()).await?,
            comes_back: comes_back(settings, into.as_deref()),
            into,
            is_new_here: place != redline_store::place(settings.database.url())?,
        })
    }

    /// The address of the database that is read.
    async fn database(&self, settings: &Settings) -> anyhow::Result<String> {
        let Some(file) = &self.recorded_by else {
            return Ok(settings.database.url().to_owned());
        };
        let other =
            Settings::load_alone(file).map_err(|error| misuse(format!("--recorded-by: {error:#}")))?;
        let there = first_rules(&other).await?;
        let here = first_rules(settings).await?;
        if there != here {
            tracing::warn!(
                "the first rules of the two installations differ, and no topic brings these: what is found will differ. Migrate \
                 the new one with those of the old one (`redline --config {} rules show initial`)",
                file.display()
            );
        }
        Ok(other.database.url().to_owned())
    }
}

async fn first_rules(settings: &Settings) -> anyhow::Result<Option<redline_schemas::ContentHash>> {
    let mut connection = read_only_connection(settings.database.url(), "replay").await?;
    Ok(rules::first(&mut connection).await?)
}

fn misuse(told: String) -> anyhow::Error {
    Misuse(told).into()
}

pub(super) fn instant(option: &str, text: Option<&str>) -> anyhow::Result<Option<Timestamp>> {
    text.map(|text| Timestamp::parse(text).map_err(|reason| misuse(format!("--{option} {text} {reason}"))))
        .transpose()
}

/// Flags and quarantined records are published by the relay alone.
fn refuse_output(settings: &Settings, into: &str) -> anyhow::Result<()> {
    let topics = &settings.topics;
    match [&topics.flagged, &topics.quarantine]
        .iter()
        .any(|topic| *topic == into)
    {
        true => Err(misuse(format!(
            "{into} is what Redline itself publishes to; nothing else may stand there"
        ))),
        false => Ok(()),
    }
}

/// Where events of a file or of the record go, and of which kind they have to be for that.
fn target(
    settings: &Settings,
    how: &How,
    kind: Option<Kind>,
) -> anyhow::Result<(Option<EventKind>, Option<String>)> {
    let kind = kind.map(EventKind::from);
    let Some(into) = how.into.clone() else {
        return Ok((kind, None));
    };
    refuse_output(settings, &into)?;
    match (settings.topics.kind_of(&into), kind) {
        (Some(held), None) => Ok((Some(held), Some(into))),
        (Some(held), Some(kind)) if held != kind => Err(misuse(format!(
            "{into} holds {}s; leave --kind out, or say --kind {}",
            held.entity_type(),
            held.entity_type()
        ))),
        (None, None) => Err(misuse(format!(
            "a topic holds one kind; say --kind which of them {into} is to hold"
        ))),
        (_, kind) => Ok((kind, Some(into))),
    }
}

fn comes_back(settings: &Settings, into: Option<&str>) -> bool {
    into.is_none_or(|into| settings.topics.kind_of(into).is_some())
}

impl How {
    /// The rule file of a dry run; clap sees to it that there is one.
    pub(super) fn candidate(&self) -> &Path {
        self.rules.as_deref().unwrap_or(Path::new(""))
    }
}
