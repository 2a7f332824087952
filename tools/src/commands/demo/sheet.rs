//! The sheet: published at the workers' own pace, and held against the truth once everything is judged.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::bail;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use redline_schemas::registry::SchemaRegistry;
use redline_simulator::{FactsArrive, Order, Report, Simulation, compare};
use redline_store::sqlx::PgPool;
use redline_store::{StoreError, findings, quiet};
use serde_json::Value;

use super::told;
use crate::commands::feed::Feed;

/// Published records that are not recorded yet, at most: the mock cluster drops what is beyond 5 MiB in a partition.
const MOST_BEHIND: u64 = 10_000;
/// Between two looks at what is recorded.
const PAUSE: Duration = Duration::from_millis(100);
/// How long nothing may move before something is wrong.
const PATIENCE: Duration = Duration::from_secs(120);

/// What came of the sheet.
pub(super) struct Judged {
    pub(super) report: Report,
    pub(super) flags: Vec<Value>,
    /// How many events there were.
    pub(super) events: u64,
}

/// Publishes everything, waits until it is judged, and compares.
pub(super) async fn judge<R: SchemaRegistry>(
    simulation: &Simulation,
    feed: &mut Feed<R>,
    pool: &PgPool,
    bar: &ProgressBar,
    began: Instant,
) -> anyhow::Result<Judged> {
    let messages = simulation.arrival(Order::InOrder, FactsArrive::First);
    let all = messages.len() as u64;
    bar.set_style(ProgressStyle::with_template(
        "{spinner} [{bar:30}] {human_pos} of {human_len} recorded, {msg}",
    )?);
    bar.set_length(all);
    bar.set_message("no flags yet");
    let mut progress = Progress::new(pool, bar, began);
    progress.tell_earlier().await?;
    for message in &messages {
        let sent = feed.send(message).await?;
        while sent.is_multiple_of(1_000) && sent.saturating_sub(progress.recorded) > MOST_BEHIND {
            tokio::time::sleep(PAUSE).await;
            progress.look().await?;
        }
    }
    feed.settle().await?;
    while !(progress.look().await? && progress.recorded >= all) {
        tokio::time::sleep(PAUSE).await;
    }
    // Short enough for eighty columns.
    bar.set_message("comparing");
    let mut connection = pool.acquire().await?;
    let source = redline_simulator::rulebook::SOURCE;
    let changes = findings::changes(&mut connection, source).await?;
    let flags = findings::standing_flags(&mut connection, source).await?;
    let report = compare(&simulation.truth, &changes, &flags);
    let events = all.saturating_sub(simulation.facts.len() as u64);
    Ok(Judged {
        report,
        flags,
        events,
    })
}

/// How far recording is.
struct Progress<'a> {
    pool: &'a PgPool,
    bar: &'a ProgressBar,
    began: Instant,
    recorded: u64,
    flags: i64,
    /// What was left to do when it last changed, and when that was.
    left: (u64, i64, i64),
    moved: Instant,
}

impl<'a> Progress<'a> {
    fn new(pool: &'a PgPool, bar: &'a ProgressBar, began: Instant) -> Self {
        Self {
            pool,
            bar,
            began,
            recorded: 0,
            flags: 0,
            left: (0, 0, 0),
            moved: Instant::now(),
        }
    }

    /// Says so where this sheet was judged at an earlier start.
    async fn tell_earlier(&mut self) -> anyhow::Result<()> {
        let mut connection = self.pool.acquire().await.map_err(StoreError::from)?;
        let source = redline_simulator::rulebook::SOURCE;
        let (first, flags) = findings::first_and_count(&mut connection, source).await?;
        let Some(first) = first else { return Ok(()) };
        self.flags = flags;
        let told = told::wrapped(
            &format!(
                "An earlier start has recorded this sheet, with {} flags. It comes again, as duplicates that change \
                 nothing. The first flag was:",
                HumanCount(flags.unsigned_abs())
            ),
            "",
        );
        let first = told::wrapped(&first, "  ");
        self.bar
            .suspend(|| writeln!(std::io::stdout(), "{told}{first}"))?;
        Ok(())
    }

    /// Looks, and shows it; answers whether nothing is left to derive or to publish.
    async fn look(&mut self) -> anyhow::Result<bool> {
        let mut connection = self.pool.acquire().await.map_err(StoreError::from)?;
        let state = quiet::state(&mut connection).await?;
        let source = redline_simulator::rulebook::SOURCE;
        let (first, flags) = findings::first_and_count(&mut connection, source).await?;
        self.recorded = state.positions.values().map(|next| next.unsigned_abs()).sum();
        self.bar.set_position(self.recorded);
        let word = if flags == 1 { "flag" } else { "flags" };
        self.bar
            .set_message(format!("{} {word}", HumanCount(flags.unsigned_abs())));
        if self.flags == 0
            && let Some(first) = first
        {
            let after = self.began.elapsed().as_secs_f64();
            let told = format!(
                "Flagged first, after {after:.1} s:\n{}",
                told::wrapped(&first, "  ")
            );
            self.bar.suspend(|| writeln!(std::io::stdout(), "{told}"))?;
        }
        self.flags = flags;
        let dirty = state.dirty.entities + state.dirty.state_keys;
        let left = (self.recorded, dirty, state.outbox);
        if left != self.left {
            (self.left, self.moved) = (left, Instant::now());
        }
        if self.moved.elapsed() > PATIENCE {
            bail!(
                "nothing has moved for {} s: {} recorded, {dirty} to be derived, {} for the relay; the log says why",
                PATIENCE.as_secs(),
                self.recorded,
                state.outbox
            );
        }
        Ok(dirty == 0 && state.outbox == 0)
    }
}
