//! `redline quarantine`: what could not be accepted, and its way back.

mod list;
mod retry;
mod show;

use std::io::Write as _;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use redline_consumer::REASONS;
use redline_schemas::Timestamp;
use redline_store::quarantine::{self, Selection};

use super::counted;
use crate::settings::Settings;
use crate::{Ending, Misuse, found};

#[derive(Subcommand)]
pub(crate) enum QuarantineCommand {
    /// List quarantined records; exit 3 when some still wait.
    #[command(after_help = "Example: redline quarantine list --reason invalid_field --json")]
    List {
        #[command(flatten)]
        filter: Filter,
        /// Retried and discarded ones too.
        #[arg(long)]
        all: bool,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Show a record: why it is here, what to do, and its bytes, decoded where that is possible.
    #[command(
        after_help = "Examples:\n  redline quarantine show 17\n  redline quarantine show 17 --raw > value.bin"
    )]
    Show {
        /// Its number, as `list` shows it.
        id: i64,
        /// As one JSON object, with the bytes in base64.
        #[arg(long, conflicts_with = "raw")]
        json: bool,
        /// Only the bytes of its value, as they are.
        #[arg(long)]
        raw: bool,
    },
    /// Publish records that wait once more. One that cannot be accepted this time either gets a new number.
    #[command(
        after_help = "Examples:\n  redline quarantine retry 17 18\n  redline quarantine retry --reason unknown_schema_id"
    )]
    Retry {
        #[command(flatten)]
        chosen: Chosen,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Give up records that wait. Their bytes stay, with the reason and the name.
    #[command(
        after_help = "Example: redline quarantine discard 17 --because \"sent again by the producer\" --by ann@example.com"
    )]
    Discard {
        #[command(flatten)]
        chosen: Chosen,
        /// Why nobody needs them.
        #[arg(long, value_name = "WHY", value_parser = said)]
        because: String,
        /// Who decided that.
        #[arg(long, value_name = "NAME", value_parser = said)]
        by: String,
    },
}

/// What records have in common.
#[derive(Args)]
pub(crate) struct Filter {
    /// Only those with this reason.
    #[arg(long, value_parser = PossibleValuesParser::new(REASONS))]
    reason: Option<String>,
    /// Only those that were read from this topic.
    #[arg(long)]
    topic: Option<String>,
    /// Only those that were quarantined then or later, such as 2026-03-01T00:00:00Z.
    #[arg(long, value_name = "RFC3339", value_parser = Timestamp::parse)]
    from: Option<Timestamp>,
    /// Only those that were quarantined before.
    #[arg(long, value_name = "RFC3339", value_parser = Timestamp::parse)]
    to: Option<Timestamp>,
}

impl Filter {
    fn selection(self) -> Selection {
        Selection {
            reason: self.reason,
            topic: self.topic,
            from: self.from,
            until: self.to,
            ..Selection::default()
        }
    }
}

/// Records by their numbers, or by what they have in common.
#[derive(Args)]
pub(crate) struct Chosen {
    /// Numbers, as `list` shows them.
    ids: Vec<i64>,
    #[command(flatten)]
    filter: Filter,
}

impl Chosen {
    /// What is chosen and still waits. A number that is not there, or no longer waits, is an error.
    async fn selection(self, pool: &redline_store::sqlx::PgPool) -> anyhow::Result<Selection> {
        let selection = Selection {
            ids: self.ids,
            waiting: true,
            ..self.filter.selection()
        };
        if selection
            == (Selection {
                waiting: true,
                ..Selection::default()
            })
        {
            let misuse = "name records by their numbers, or by --reason, --topic, --from or --to";
            return Err(Misuse(misuse.to_owned()).into());
        }
        for id in &selection.ids {
            let record = find(pool, *id).await?;
            let listed = record.listed;
            anyhow::ensure!(
                listed.status == "quarantined",
                "record {id} was {} already",
                listed.status
            );
        }
        Ok(selection)
    }
}

/// What a person gives as a reason or a name.
fn said(text: &str) -> Result<String, String> {
    const LONGEST: usize = 500;
    let text = text.trim();
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if text.chars().count() > LONGEST || text.chars().any(char::is_control) {
        return Err(format!("one line of {LONGEST} characters at most is expected"));
    }
    Ok(text.to_owned())
}

/// Obeys.
pub(crate) async fn run(command: QuarantineCommand, settings: &Settings) -> anyhow::Result<Ending> {
    let pool = redline_store::pool(settings.database.url(), "quarantine", 1)?;
    match command {
        QuarantineCommand::List { filter, all, json } => {
            let selection = Selection {
                waiting: !all,
                ..filter.selection()
            };
            return Ok(found(list::list(&pool, &selection, json).await?));
        }
        QuarantineCommand::Show { id, json, raw } => {
            let record = find(&pool, id).await?;
            let form = show::Form::new(json, raw);
            show::show(settings, &record, form).await?;
        }
        QuarantineCommand::Retry { chosen, json } => {
            let selection = chosen.selection(&pool).await?;
            retry::retry(settings, &pool, &selection, json).await?;
        }
        QuarantineCommand::Discard { chosen, because, by } => {
            let selection = chosen.selection(&pool).await?;
            let discarded = quarantine::discard(&pool, &selection, &by, &because).await?;
            writeln!(
                std::io::stdout(),
                "{} discarded",
                counted(discarded, "record was", "records were")
            )?;
        }
    }
    Ok(Ending::Done)
}

/// A record by its number.
async fn find(pool: &redline_store::sqlx::PgPool, id: i64) -> anyhow::Result<quarantine::Kept> {
    let selection = Selection {
        ids: vec![id],
        ..Selection::default()
    };
    let found = quarantine::kept(pool, &selection, 0, 1).await?.pop();
    found.ok_or_else(|| anyhow::anyhow!("no record has the number {id}; see `redline quarantine list --all`"))
}
