//! `redline collect`: events from other places.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use redline_producer::encode::Encoder;
use redline_producer::publisher::Publisher;
use redline_producer::sources::files::{self, Summary};

use super::{connecting, counted, spinner};
use crate::Misuse;
use crate::settings::Settings;

/// Refused lines that are shown to a person; `--json` has up to a thousand.
const SHOWN_ERRORS: usize = 20;

/// Publishes the rows of a file; fails at the end when lines were refused, although the others are in.
pub(crate) async fn files(settings: &Settings, file: &Path, source: &str, json: bool) -> anyhow::Result<()> {
    let mapping = settings.collect.get(source).cloned().unwrap_or_default();
    connecting::kafka(settings).await?;
    let publisher = Publisher::new(&settings.kafka, Duration::from_secs(30))?;
    let encoder = Encoder::new(settings.registry.client()?, settings.topics.clone());
    let bar = spinner()?;
    let summary = files::collect(file, source, &mapping, &publisher, &encoder, |progress| {
        bar.set_message(format!(
            "{} lines read, {} rows accepted, {} refused",
            progress.lines, progress.accepted, progress.refused
        ));
        bar.tick();
    })
    .await;
    bar.finish_and_clear();
    let (summary, broken_off) = match summary {
        Ok(summary) => (summary, None),
        Err(error) => match error.summary() {
            Some(summary) => (summary.clone(), Some(error)),
            None if error.is_misuse() => return Err(Misuse(error.to_string()).into()),
            None => return Err(error.into()),
        },
    };
    let mut out = std::io::stdout();
    if json {
        writeln!(out, "{}", serde_json::to_string(&summary)?)?;
    } else {
        tell(&summary, file, &mut out)?;
    }
    if let Some(error) = broken_off {
        return Err(error.into());
    }
    if summary.refused > 0 {
        bail!(
            "{} refused; mend what is named and collect the file again, which makes only duplicates of the others",
            counted(summary.refused, "row was", "rows were")
        );
    }
    Ok(())
}

fn tell(summary: &Summary, file: &Path, out: &mut impl std::io::Write) -> std::io::Result<()> {
    for error in summary.errors.iter().take(SHOWN_ERRORS) {
        let field = if error.field.is_empty() {
            "the line"
        } else {
            &error.field
        };
        writeln!(
            out,
            "{}: line {}: {field} {}",
            file.display(),
            error.line,
            error.reason
        )?;
    }
    let hidden = summary
        .refused
        .saturating_sub(u64::try_from(SHOWN_ERRORS).unwrap_or(u64::MAX));
    if hidden > 0 {
        writeln!(out, "… and {hidden} more; --json names up to 1000")?;
    }
    writeln!(
        out,
        "{}: {} accepted, {} refused",
        file.display(),
        counted(summary.accepted, "row", "rows"),
        summary.refused
    )
}
