//! `redline reference`: tables that rules look things up in, such as contract prices, holidays or editors.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use redline_producer::LineError;
use redline_producer::sources::reference::{self, Plan, Refusals, Table};
use redline_schemas::fact::Fact;
use redline_store::reference::standing;

use super::counted;
use super::saying::{said_by, send, until_recorded};
use crate::settings::Settings;
use crate::{Ending, Misuse};

/// What is shown to a person of errors and of warnings; `--json` has up to a thousand.
const SHOWN: usize = 20;
/// Largest file, which is read whole before anything is sent.
const MAX_BYTES: u64 = 256 << 20;

#[derive(Subcommand)]
pub(crate) enum ReferenceCommand {
    /// Record the rows of a CSV file as a reference table. A file is taken whole or refused whole.
    #[command(
        after_help = "Example:\n  redline reference load contract_prices prices.csv \\\n    --key 'Work Order' --key Task\n\n\
        The file is UTF-8 without a byte order mark; its first line names the columns. The columns valid_from and \
        valid_until may be left out or empty, which is open; they hold an instant such as 2026-03-01T05:00:00Z, or a day \
        such as 2026-03-01, which is its midnight in UTC. A row is valid from the first instant to the one before the \
        second. Every other column is a value: text that reads as a number is an amount (95.00), unless it begins with \
        zeros that would be lost (007). What is almost a number (1,234.50 or $95) is refused.\n\n\
        Rows that are recorded already are not sent again, and rows that differ replace those with the same key and \
        valid_from. Rows that the file does not have stay as they are; a row is ended by loading it with a valid_until. \
        Rows of one key are never valid at the same time. What was said before must be recorded by a worker first; the \
        command waits for that."
    )]
    Load(Load),
    /// List the tables, or the rows of one.
    #[command(after_help = "Example: redline reference list contract_prices --json")]
    List {
        /// The table; default an overview of all.
        table: Option<String>,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
pub(crate) struct Load {
    /// The table, as rules name it.
    table: String,
    /// The CSV file; - is the standard input.
    file: PathBuf,
    /// A column whose text is the key; of several, the key is the JSON array of their texts. Default the column `key`,
    /// else the first one.
    #[arg(long = "key", value_name = "COLUMN")]
    keys: Vec<String>,
    /// Who says it; default the user of this system.
    #[arg(long, value_name = "NAME")]
    recorded_by: Option<String>,
    /// Check everything and say what would be sent, and send nothing.
    #[arg(long)]
    dry_run: bool,
    /// The result as one JSON object.
    #[arg(long)]
    json: bool,
}

/// Obeys.
pub(crate) async fn run(command: ReferenceCommand, settings: &Settings) -> anyhow::Result<Ending> {
    match command {
        ReferenceCommand::Load(arguments) => load(settings, &arguments).await?,
        ReferenceCommand::List { table, json } => list(settings, table.as_deref(), json).await?,
    }
    Ok(Ending::Done)
}

/// Reads the whole file, compares it with what is recorded, and publishes what is new or changed.
async fn load(settings: &Settings, arguments: &Load) -> anyhow::Result<()> {
    reference::check_table(&arguments.table).map_err(Misuse)?;
    let by = said_by(arguments.recorded_by.as_deref(), "reference load");
    let bytes = bytes(&arguments.file)?;
    let Table { rows, warnings } = match reference::read(&bytes, &arguments.keys) {
        Ok(table) => table,
        Err(refusals) => return refuse(arguments, &refusals),
    };
    let pool = redline_store::pool(settings.database.url(), "reference", 1)?;
    until_recorded(settings, &pool).await?;
    let recorded = standing(&pool, Some(&arguments.table)).await?;
    let mut plan = match reference::plan(&arguments.table, &rows, &recorded, &by) {
        Ok(plan) => plan,
        Err(refusals) => return refuse(arguments, &refusals),
    };
    let facts = std::mem::take(&mut plan.facts);
    let sent = if arguments.dry_run || facts.is_empty() {
        0
    } else {
        send_all(settings, facts).await?
    };
    let mut out = std::io::stdout();
    if arguments.json {
        let result = serde_json::json!({
            "table": arguments.table,
            "new": plan.new,
            "changed": plan.changed,
            "unchanged": plan.unchanged,
            "sent": sent,
            "dry_run": arguments.dry_run,
            "warnings": warnings,
        });
        writeln!(out, "{result}")?;
    } else {
        tell(&arguments.file, "warning: ", &warnings, warnings.len(), &mut out)?;
        writeln!(out, "{}", told(&arguments.table, &plan, arguments.dry_run))?;
    }
    Ok(())
}

fn told(table: &str, plan: &Plan, dry_run: bool) -> String {
    let rows = format!(
        "{table}: {} new, {} changed, {} unchanged",
        plan.new, plan.changed, plan.unchanged
    );
    match (dry_run, plan.new + plan.changed) {
        (_, 0) => format!("{rows}; nothing to send"),
        (true, _) => format!("{rows}; nothing was sent (--dry-run)"),
        (false, sent) => format!(
            "{rows}; {} sent, and looked up when workers have recorded it",
            counted(sent, "row was", "rows were")
        ),
    }
}

fn bytes(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().take(MAX_BYTES + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("{} cannot be read", file.display()))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        bail!(
            "{} is larger than 256 MiB; divide it by keys and load the parts",
            file.display()
        );
    }
    Ok(bytes)
}

/// Publishes the rows; fails when one of them is not in.
async fn send_all(settings: &Settings, facts: Vec<(u64, Fact)>) -> anyhow::Result<u64> {
    let tally = send(settings, facts).await?;
    if let Some(error) = tally.errors.first() {
        bail!(
            "Kafka refused {} and took {}; the first is line {}, which {}",
            counted(tally.refused, "row", "rows"),
            tally.accepted,
            error.line,
            error.reason
        );
    }
    Ok(tally.accepted)
}

/// Says what is wrong with a file; nothing of it was sent.
fn refuse(arguments: &Load, refusals: &Refusals) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string(refusals)?)?;
    } else {
        let refused = usize::try_from(refusals.refused).unwrap_or(usize::MAX);
        tell(&arguments.file, "", &refusals.errors, refused, &mut out)?;
    }
    bail!(
        "{} in {}; nothing was sent",
        counted(refusals.refused, "thing is wrong", "things are wrong"),
        arguments.file.display()
    )
}

fn tell(
    file: &Path,
    word: &str,
    errors: &[LineError],
    all: usize,
    out: &mut impl std::io::Write,
) -> std::io::Result<()> {
    for LineError { line, field, reason } in errors.iter().take(SHOWN) {
        let blank = if field.is_empty() { "" } else { " " };
        writeln!(
            out,
            "{word}{}: line {line}: {field}{blank}{reason}",
            file.display()
        )?;
    }
    match all.saturating_sub(SHOWN) {
        0 => Ok(()),
        hidden => writeln!(out, "{word}… and {hidden} more; --json names up to 1000"),
    }
}

/// Lists the tables, or the rows of one.
async fn list(settings: &Settings, table: Option<&str>, json: bool) -> anyhow::Result<()> {
    let pool = redline_store::pool(settings.database.url(), "reference", 1)?;
    let facts = standing(&pool, table).await?;
    let mut out = std::io::stdout();
    if facts.is_empty() && !json {
        let what = table.map_or_else(
            || "No reference tables are".to_owned(),
            |table| format!("No rows of {table} are"),
        );
        writeln!(
            out,
            "{what} recorded; `redline reference load TABLE FILE.csv` loads them."
        )?;
    }
    if table.is_some() {
        for fact in &facts {
            writeln!(
                out,
                "{}",
                if json {
                    row_as_json(fact).to_string()
                } else {
                    row_as_text(fact)
                }
            )?;
        }
        return Ok(());
    }
    let mut tables: BTreeMap<&str, u64> = BTreeMap::new();
    for fact in &facts {
        *tables
            .entry(fact.table.as_deref().unwrap_or_default())
            .or_default() += 1;
    }
    for (table, rows) in tables {
        if json {
            writeln!(out, "{}", serde_json::json!({"table": table, "rows": rows}))?;
        } else {
            writeln!(out, "{table}  {}", counted(rows, "row", "rows"))?;
        }
    }
    Ok(())
}

fn row_as_text(fact: &Fact) -> String {
    let time = |time: Option<redline_schemas::Timestamp>| {
        time.map_or_else(|| "open".to_owned(), |time| time.to_string())
    };
    let values = fact
        .values
        .iter()
        .flatten()
        .map(|(name, value)| format!("{name}={}", value.to_text().unwrap_or_default()));
    format!(
        "{}  {} to {}  {}  (version {}, by {})",
        fact.key.as_deref().unwrap_or_default(),
        time(fact.valid_from),
        time(fact.valid_until),
        values.collect::<Vec<_>>().join(", "),
        fact.version,
        fact.recorded_by
    )
}

fn row_as_json(fact: &Fact) -> serde_json::Value {
    let time = |time: Option<redline_schemas::Timestamp>| time.map(|time| time.to_string());
    let values: BTreeMap<&str, String> = fact
        .values
        .iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value.to_text().unwrap_or_default()))
        .collect();
    serde_json::json!({
        "id": fact.id,
        "version": fact.version,
        "table": fact.table,
        "key": fact.key,
        "valid_from": time(fact.valid_from),
        "valid_until": time(fact.valid_until),
        "values": values,
        "effective_at": fact.effective_at.to_string(),
        "recorded_by": fact.recorded_by,
    })
}
