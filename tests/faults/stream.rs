//! The known stream, and what comes of it when nothing happens.

use redline_schemas::Event;
use redline_tests::checker::{self, Totals};
use redline_tests::{Installation, Plan, Random, rows};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::running::PATIENCE;

/// Rows of the stream.
const ROWS: usize = 240;
/// Least and greatest number of versions of a row.
const VERSIONS: (usize, usize) = (12, 30);
/// The same stream each time: what changes from run to run is when the fault hits it.
const SEED: u64 = 20_260_302;

/// Some 5,800 records: edits in time and too late, edits back, deletes and returns, versions that come late,
/// contents sent twice, contents observed again, and different contents under one version.
pub(crate) fn stream() -> Vec<Event> {
    generate(SEED, ROWS, VERSIONS, |_, _| {})
}

/// A stream from a seed, each row changed once more before it is sent.
pub(crate) fn generate(
    seed: u64,
    rows: usize,
    versions: (usize, usize),
    mut change: impl FnMut(&mut Random, &mut Value),
) -> Vec<Event> {
    let mut random = Random::new(seed);
    let mut sent: Vec<(usize, Event)> = Vec::new();
    for number in 0..rows {
        let begins = random.below(10);
        let count = versions.0 + random.below(versions.1 - versions.0 + 1);
        let mut past: Vec<Value> = Vec::new();
        for version in 1..=count {
            let mut json = next_version(&mut random, &past, number, version);
            change(&mut random, &mut json);
            // About one in five overtakes the version before it.
            let at = begins + version * 10 + random.below(16);
            sent.push((at, rows::row(&json)));
            if random.one_in(9) {
                sent.push((at + random.below(60), rows::row(&json)));
            }
            if random.one_in(20) {
                let mut copy = json.clone();
                copy["observed_at"] = format!("2026-03-0{}T08:00:00Z", 1 + random.below(9)).into();
                sent.push((at + random.below(60), rows::row(&copy)));
            }
            if random.one_in(30) {
                let mut other = json.clone();
                other["columns"]["Foreman"] = format!("conflict {}", random.below(5)).into();
                sent.push((at + random.below(60), rows::row(&other)));
            }
            past.push(json);
        }
    }
    sent.sort_by_key(|(at, _)| *at);
    sent.into_iter().map(|(_, event)| event).collect()
}

fn next_version(random: &mut Random, past: &[Value], number: usize, version: usize) -> Value {
    let mut row = past.last().cloned().unwrap_or_else(|| {
        let mut row = rows::example();
        row["row_id"] = format!("R-{number:04}").into();
        row["completed"] = false.into();
        // Half of the edits, all in March, come after the period.
        row["period_end"] = ["2026-02-22", "2026-03-15", "2026-12-31"][number % 3].into();
        row
    });
    row["version"] = version.into();
    row["op"] = match version {
        1 => "create",
        _ if random.one_in(40) => "delete",
        _ => "update",
    }
    .into();
    let (day, hour, minute) = (1 + version, random.below(24), random.below(60));
    row["modified_at"] = format!("2026-03-{day:02}T{hour:02}:{minute:02}:00Z").into();
    row["observed_at"] = format!("2026-03-{day:02}T{hour:02}:{minute:02}:30Z").into();
    row["modified_by"] = format!("{}@example.com", random.choose(&["ann", "bob", "cem"])).into();
    let columns = match past.len() {
        0..=1 => None,
        _ if random.one_in(5) => Some(random.choose(past)["columns"].clone()),
        _ => None,
    };
    match columns {
        Some(columns) => row["columns"] = columns,
        None => {
            if !random.one_in(3) {
                row["columns"]["Quantity"] = random.below(400).into();
            }
            if random.one_in(4) {
                row["columns"]["Unit Price"] = format!("{}.{}", random.below(90), random.below(10)).into();
            }
            if random.one_in(4) {
                row["columns"]["Foreman"] = (*random.choose(&["B. Lee", "C. Diaz", "D. Roy"])).into();
            }
        }
    }
    row
}

/// What a run ended in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Outcome {
    pub(crate) totals: Totals,
    pub(crate) changes: String,
    pub(crate) flags: String,
}

impl Outcome {
    /// Checks everything that holds for any history, then reads what the run ended in.
    pub(crate) async fn of(redline: &Installation) -> Self {
        Self {
            totals: checker::check(redline).await,
            changes: checker::changes(redline).await,
            flags: checker::standing_flags(redline).await,
        }
    }

    /// The same contents were accepted, with the same changes and standing flags. How many records were
    /// duplicates is another matter: faults of a topic make the test send again.
    pub(crate) fn assert_like(&self, undisturbed: &Self) {
        let first_difference = |one: &str, other: &str| {
            let differing = one.lines().zip(other.lines()).find(|(one, other)| one != other);
            format!(
                "{} lines and {} without a fault; {differing:?}",
                one.lines().count(),
                other.lines().count()
            )
        };
        assert_eq!(
            (self.totals.accepted, self.totals.quarantined),
            (undisturbed.totals.accepted, undisturbed.totals.quarantined),
            "accepted and quarantined records differ from those of a run without a fault"
        );
        assert!(
            self.changes == undisturbed.changes,
            "the changes differ: {}",
            first_difference(&self.changes, &undisturbed.changes)
        );
        assert!(
            self.flags == undisturbed.flags,
            "the standing flags differ: {}",
            first_difference(&self.flags, &undisturbed.flags)
        );
    }
}

/// What comes of [`stream`] when nothing happens; run once.
pub(crate) async fn undisturbed() -> &'static Outcome {
    static UNDISTURBED: OnceCell<Outcome> = OnceCell::const_new();
    UNDISTURBED
        .get_or_init(|| async {
            let outcome = run_undisturbed("undisturbed", &stream()).await;
            let (changes, flags) = (outcome.changes.lines().count(), outcome.flags.lines().count());
            assert!(
                changes > 3_000 && flags > 1_000 && outcome.totals.duplicate > 300,
                "the stream does not hold what it should: {changes} changes, {flags} flags, {:?}",
                outcome.totals
            );
            outcome
        })
        .await
}

/// Runs a stream with one worker and nothing that disturbs it.
pub(crate) async fn run_undisturbed(name: &str, events: &[Event]) -> Outcome {
    let redline = Plan::new(name).make().await;
    let roles = vec![redline.work(), redline.relay()];
    redline.produce_rows(events).await;
    redline.wait_quiet(PATIENCE).await;
    redline.stop(roles).await;
    let outcome = Outcome::of(&redline).await;
    redline.remove().await;
    outcome
}

/// As the last step of a test: told to stop, everything agrees, and the outcome is that of [`stream`] without a
/// fault.
pub(crate) async fn assert_undisturbed(redline: Installation, roles: Vec<redline_tests::Process>) {
    redline.wait_quiet(PATIENCE).await;
    redline.stop(roles).await;
    Outcome::of(&redline).await.assert_like(undisturbed().await);
    redline.remove().await;
}
