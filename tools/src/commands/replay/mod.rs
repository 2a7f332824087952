//! `redline replay`: what a topic, a file or the record holds, published again, or judged under other rules.
//!
//! What was counted before counts as a duplicate, and nothing of what was found changes. Where records come back into the
//! system that reads them, that is not believed but proven: everything that was found is hashed before and afterwards.

mod arguments;
mod course;
mod dry;
mod proof;
mod publishing;
mod source;

use std::io::Write as _;
use std::time::Duration;

use anyhow::bail;
use redline_producer::encode::Encoder;
use redline_producer::publisher::Publisher;
use serde_json::json;
use tokio_util::sync::CancellationToken;

pub(crate) use self::arguments::ReplayCommand;
use self::arguments::{How, Planned};
use self::course::Course;
use self::proof::State;
use self::publishing::Publishing;
use super::doctor::until_quiet;
use super::{connecting, counted};
use crate::settings::Settings;
use crate::{Ending, found};

/// Obeys.
pub(crate) async fn run(
    command: ReplayCommand,
    settings: &Settings,
    stop: CancellationToken,
) -> anyhow::Result<Ending> {
    if command.how().dry_run {
        return Ok(found(dry::run(&command, settings).await?));
    }
    let planned = command.plan(settings).await?;
    replay(settings, planned, command.how(), &stop).await
}

async fn replay(
    settings: &Settings,
    planned: Planned,
    how: &How,
    stop: &CancellationToken,
) -> anyhow::Result<Ending> {
    connecting::kafka(settings).await?;
    let mut course = Course::open(how.resume.as_deref(), planned.identity, planned.source.spans()).await?;
    let wait = Duration::from_secs(how.wait.into());
    let is_proven = planned.comes_back && !wait.is_zero();
    if is_proven && course.is_new() {
        course.before = Some(before(settings, wait, stop).await?);
        course.write()?;
    }
    if !course.finished {
        let publisher = Publisher::new(&settings.kafka_for_quarantined(&[]), Duration::from_secs(30))?;
        let encoder = Encoder::new(settings.registry.client()?, settings.topics.clone());
        let publishing = Publishing::new(publisher, how.rate, stop.clone());
        publishing.run(planned.source, encoder, &mut course).await?;
    }
    let records = counted(course.published, "record was", "records were");
    let Some(before) = course.before.filter(|_| is_proven) else {
        let mut out = std::io::stdout();
        let to = planned
            .into
            .map_or_else(String::new, |topic| format!(" to {topic}"));
        match how.json {
            true => writeln!(out, "{}", json!({"published": course.published}))?,
            false => writeln!(out, "{records} published{to}")?,
        }
        return Ok(Ending::Done);
    };
    let unsettled = unless_stopped(stop, until_quiet(settings, wait)).await?;
    if let Some(line) = unsettled.first() {
        bail!(
            "{records} published; whether anything changed cannot be told yet: after {} s {line}. Start `redline serve`, or \
             wait for it with `redline doctor --quiet --wait 600`{}",
            how.wait,
            match &how.resume {
                Some(_) => ", and give the same command again: it publishes nothing more, and compares",
                None => "",
            }
        );
    }
    let after = State::read(settings).await?;
    proof::tell(course.published, &before, &after, how, &mut std::io::stdout())?;
    Ok(found(
        before.differs(&after) && !how.may_change && !planned.is_new_here,
    ))
}

/// How everything is before anything is published, which has to be settled for that.
async fn before(settings: &Settings, wait: Duration, stop: &CancellationToken) -> anyhow::Result<State> {
    let unsettled = unless_stopped(stop, until_quiet(settings, wait)).await?;
    if let Some(line) = unsettled.first() {
        bail!(
            "nothing was published: that it changes nothing can only be proven when everything is quiet before, and after \
             {} s {line}. Start `redline serve`, wait longer (--wait), or replay without the proof (--wait 0)",
            wait.as_secs()
        );
    }
    State::read(settings).await
}

async fn unless_stopped<T>(
    stop: &CancellationToken,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::select! {
        done = work => done,
        () = stop.cancelled() => bail!("stopped while waiting for quiet"),
    }
}
