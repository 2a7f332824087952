//! A dry run: what other rules would flag of what would be replayed. Nothing is published and nothing is written.

use anyhow::Context as _;
use redline_consumer::backtest::{Given, Passed, Reading, backtest_given};
use redline_consumer::span;
use redline_producer::sources::events;
use redline_schemas::EventKind;
use redline_store::read_only_connection;
use tokio::sync::mpsc;

use super::arguments::{FileReplay, RecordedReplay, ReplayCommand, TopicReplay};
use super::source::{Source, kind_of_topic, topic};
use crate::Misuse;
use crate::commands::rules::backtest::{self, Backtest};
use crate::commands::{counted, spinner};
use crate::settings::Settings;

/// Judges under both; answers whether the flags differ.
pub(super) async fn run(command: &ReplayCommand, settings: &Settings) -> anyhow::Result<bool> {
    let how = command.how();
    let trial = Backtest {
        rules: how.candidate().to_owned(),
        from: None,
        to: None,
        json: how.json,
    };
    let given = match command {
        ReplayCommand::Recorded(replay) => {
            refuse_selection(replay)?;
            return backtest::run(settings, &trial).await;
        }
        ReplayCommand::File(replay) => of_file(replay).await?,
        ReplayCommand::Topic(replay) => of_topic(settings, replay).await?,
    };
    let Passed { no_rows, refused } = given.passed;
    let mut connection = read_only_connection(settings.database.url(), "replay").await?;
    let candidate = trial.candidate(&mut connection).await?;
    let comparison = backtest_given(&mut connection, given, &candidate).await?;
    let differs = trial.tell(&comparison, &candidate)?;
    if no_rows + refused > 0 && !how.json {
        use std::io::Write as _;
        let mut out = std::io::stdout();
        writeln!(
            out,
            "Not judged: {} that {} no rows, {} that would be quarantined.",
            counted(no_rows, "record", "records"),
            if no_rows == 1 { "is" } else { "are" },
            refused
        )?;
    }
    Ok(differs)
}

/// A backtest judges everything that is recorded: of a part of it the rows would not be whole.
fn refuse_selection(replay: &RecordedReplay) -> anyhow::Result<()> {
    let RecordedReplay {
        source,
        kind,
        from,
        to,
        recorded_by,
        how: _,
    } = replay;
    let is_selected = source.is_some() || kind.is_some() || from.is_some() || to.is_some();
    if is_selected || recorded_by.is_some() {
        let told = "a dry run of what is recorded judges all of it, here; which flags are compared, `redline rules backtest \
                    --from --to` chooses";
        return Err(Misuse(told.to_owned()).into());
    }
    Ok(())
}

async fn of_file(replay: &FileReplay) -> anyhow::Result<Given> {
    let mut given = Given::default();
    let mut chunks = events::read(&replay.file, replay.kind.map(EventKind::from), 0)?;
    while let Some(chunk) = chunks.recv().await {
        for (line, event) in chunk? {
            given
                .take(event)
                .with_context(|| format!("{}, line {line}", replay.file.display()))?;
        }
    }
    Ok(given)
}

async fn of_topic(settings: &Settings, replay: &TopicReplay) -> anyhow::Result<Given> {
    let kind = kind_of_topic(settings, &replay.topic)?;
    let mut reading = Reading::new(settings.registry.client()?, kind);
    let mut given = Given::default();
    let Source::Topic { kafka, spans, .. } = topic(settings, replay, &replay.topic).await? else {
        return Ok(given);
    };
    let bar = spinner()?;
    let mut records = 0;
    for span in spans {
        let (sender, mut chunks) = mpsc::channel(2);
        let kafka = kafka.clone();
        let reader = tokio::spawn(async move {
            span::read(&kafka, &span.of, span.partition, span.next..span.end, sender).await
        });
        while let Some(chunk) = chunks.recv().await {
            records += chunk.len();
            reading.give(chunk, &mut given).await?;
            bar.set_message(format!("{records} records read"));
            bar.tick();
        }
        reader.await.context("reading Kafka broke down")??;
    }
    bar.finish_and_clear();
    Ok(given)
}
