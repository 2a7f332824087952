//! After the sheet: an edit now and then, of a source of its own, and what is flagged of it.

use std::collections::HashSet;
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redline_schemas::EventKind;
use redline_schemas::registry::SchemaRegistry;
use redline_simulator::{FindingRates, Message, Order, Simulation, SimulationSettings};
use redline_store::findings;
use redline_store::sqlx::PgPool;
use serde_json::{Value, json};

use super::told;
use crate::commands::feed::Feed;

/// The source of live edits. What the sheet comes to stays as it was planted.
pub(super) const SOURCE: &str = "live";
/// Between two edits.
const PACE: Duration = Duration::from_secs(2);
/// How long an edit is on its way at most before its flags are looked for.
const ON_ITS_WAY: Duration = Duration::from_millis(1_500);

/// Goes on without end.
pub(super) async fn go_on<R: SchemaRegistry>(feed: &mut Feed<R>, pool: &PgPool) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let start = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    for round in 0.. {
        let events = small_sheet(start.wrapping_add(round)).into_iter();
        let events = events.map(|row| of_this_source(row, start, round));
        // At first sight of a row there is little to be seen.
        let mut rows = HashSet::new();
        let (first, mut edits): (Vec<Value>, Vec<Value>) =
            events.partition(|row| rows.insert(row["row_id"].to_string()));
        for row in first {
            feed.send_json(EventKind::Row, &row).await?;
        }
        // Row by row, so that there is something to be seen from the beginning; the order makes no other difference.
        edits.sort_by(|one, other| one["row_id"].as_str().cmp(&other["row_id"].as_str()));
        let mut shown = HashSet::new();
        for row in edits {
            let row_id = row["row_id"].as_str().unwrap_or_default().to_owned();
            feed.send_json(EventKind::Row, &row).await?;
            feed.settle().await?;
            tokio::time::sleep(ON_ITS_WAY).await;
            let flags = findings::standing_flags_of(&mut *pool.acquire().await?, SOURCE, &row_id).await?;
            for flag in flags {
                if shown.insert(flag["flag_id"].to_string()) {
                    write!(out, "{}", told::live(&flag))?;
                }
            }
            tokio::time::sleep(PACE.saturating_sub(ON_ITS_WAY)).await;
        }
    }
    Ok(())
}

/// The events of few rows, of which many have something to be found.
fn small_sheet(seed: u64) -> Vec<Value> {
    let simulation = Simulation::new(SimulationSettings {
        seed,
        rows: 60,
        weeks: 2,
        findings: FindingRates::each(60),
        ..SimulationSettings::default()
    });
    let events = simulation.arriving_events(Order::InOrder).into_iter();
    events.map(|event| Message::Event(event).json()).collect()
}

/// A row of this source, which no other start or round has.
fn of_this_source(mut row: Value, start: u64, round: u64) -> Value {
    let row_id = format!("{}-{start}-{round}", row["row_id"].as_str().unwrap_or_default());
    row["source"] = json!(SOURCE);
    row["row_id"] = json!(row_id);
    row
}
