//! Everything that is recorded, derived again from the recorded events and facts alone, in memory: nothing is written.
//!
//! One snapshot of Postgres is read. Changes, flags, contributions to state keys, the findings of these, and what is
//! kept of each row's past have to be what is recorded of them; a difference is a mistake of detection or of recording,
//! or somebody has altered the record.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use redline_schemas::EntityKey;
use redline_schemas::flag::Flag;
use redline_store::read::changes::{self, RecordedChange};
use redline_store::record::EntityUpdate;
use redline_store::sqlx::{Connection as _, PgConnection};
use redline_store::{StoreError, contributions, dirty, entities, flags, retention};

use crate::deriver::revisions;
use crate::detect::Detection;
use crate::facts::Facts;
use crate::recall::recall;

/// Rows, and state keys, that are derived at once.
const AT_ONCE: i64 = 500;
/// Differences that are kept.
const MOST_DIFFERENCES: usize = 100;

/// What is recorded otherwise than it is derived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// `change`, `flag`, `contribution` or `past`.
    pub what: &'static str,
    /// The row or state key.
    pub about: String,
    /// What differs, in a sentence.
    pub told: String,
}

/// What was derived again.
#[derive(Clone, Debug, Default)]
pub struct Rederived {
    /// Rows.
    pub rows: u64,
    /// Those of them that are derived only from their horizon on, since retention removed what was before.
    pub rows_with_horizon: u64,
    /// Changes that are recorded of them, above their horizons.
    pub changes: u64,
    /// Natural keys that several rows share.
    pub state_keys: u64,
    /// Rows and keys that wait to be derived by a worker: what is recorded of them may differ until then.
    pub waiting: u64,
    /// How many differences there are.
    pub differing: u64,
    /// The first of them.
    pub differences: Vec<Difference>,
}

impl Rederived {
    fn differ(&mut self, what: &'static str, about: &str, told: String) {
        self.differing += 1;
        if self.differences.len() < MOST_DIFFERENCES {
            self.differences.push(Difference {
                what,
                about: about.to_owned(),
                told,
            });
        }
    }
}

/// Derives everything again; `progress` hears how many rows are done.
///
/// # Errors
/// When Postgres cannot be reached, or the record is damaged.
pub async fn rederive(
    connection: &mut PgConnection,
    mut progress: impl FnMut(u64),
) -> Result<Rederived, StoreError> {
    let mut transaction = connection.begin().await?;
    redline_store::read_only(&mut transaction).await?;
    retention::hold_off(&mut transaction).await?;
    let mut rederived = Rederived {
        waiting: waiting(&mut transaction).await?,
        ..Rederived::default()
    };
    let mut known = Facts::default();
    known.refresh(&mut transaction).await?;
    let mut last = 0;
    loop {
        let rows = entities::rows_after(&mut transaction, last, AT_ONCE).await?;
        let Some((number, _)) = rows.last() else { break };
        last = *number;
        rederive_rows(&mut transaction, &rows, &known, &mut rederived).await?;
        progress(rederived.rows);
    }
    rederive_state_keys(&mut transaction, &mut rederived).await?;
    transaction.rollback().await?;
    Ok(rederived)
}

/// Rows and state keys that wait to be derived.
async fn waiting(transaction: &mut PgConnection) -> Result<u64, StoreError> {
    let dirty = dirty::count(transaction).await?;
    Ok(u64::try_from(dirty.entities + dirty.state_keys).unwrap_or(0))
}

async fn rederive_rows(
    transaction: &mut PgConnection,
    rows: &[(i64, EntityKey)],
    known: &Facts,
    rederived: &mut Rederived,
) -> Result<(), StoreError> {
    let keys: HashMap<i64, EntityKey> = rows.iter().cloned().collect();
    let recorded = entities::load(transaction, &rows.iter().map(|(_, key)| key).collect::<Vec<_>>()).await?;
    let states: HashMap<EntityKey, _> = recorded
        .iter()
        .map(|(key, entity)| (key.clone(), entity.state.clone()))
        .collect();
    let approvals = known
        .approvals(transaction, rows.iter().map(|(_, key)| key))
        .await?;
    let mut detection = Detection::again(recorded, approvals, &known.knowledge);
    recall(transaction, &mut detection, &keys).await?;
    let updates: HashMap<EntityKey, EntityUpdate> = detection
        .finish()
        .entities
        .into_iter()
        .map(|update| (update.key.clone(), update))
        .collect();
    let numbers: Vec<i64> = rows.iter().map(|(number, _)| *number).collect();
    let mut recorded_changes = changes::of_entities(transaction, &numbers).await?;
    let mut recorded_contributions = contributions::of_entities(transaction, &numbers).await?;
    for (number, key) in rows {
        rederived.rows += 1;
        let about = key.to_string();
        let changes = recorded_changes.remove(number).unwrap_or_default();
        let contributions = recorded_contributions.remove(number).unwrap_or_default();
        rederived.changes += changes.len() as u64;
        let Some(update) = updates.get(key) else {
            rederived.differ("past", &about, "nothing can be derived of it".to_owned());
            continue;
        };
        rederived.rows_with_horizon += u64::from(update.horizon.is_some());
        compare_changes(rederived, &about, key, update, &changes);
        compare_flags(rederived, &about, &update.flags);
        let derived: BTreeSet<String> = update
            .contributions
            .iter()
            .filter_map(|one| one.to_json().ok())
            .collect();
        if derived != contributions.into_iter().collect() {
            let told = "what it contributes to natural keys is recorded otherwise".to_owned();
            rederived.differ("contribution", &about, told);
        }
        if states.get(key) != Some(&update.state) {
            rederived.differ("past", &about, "what is kept of its past is otherwise".to_owned());
        }
    }
    Ok(())
}

/// The derived changes of a row, held against the recorded ones.
fn compare_changes(
    rederived: &mut Rederived,
    about: &str,
    key: &EntityKey,
    update: &EntityUpdate,
    recorded: &[RecordedChange],
) {
    let place = |change: &RecordedChange| (change.place.version, change.place.column_name.clone());
    let mut recorded: BTreeMap<_, &RecordedChange> =
        recorded.iter().map(|change| (place(change), change)).collect();
    for change in &update.changes {
        let derived = RecordedChange::of(key, change);
        let (version, column) = place(&derived);
        let told = match recorded.remove(&(version, column.clone())) {
            None => "is not recorded",
            Some(found) if *found != derived => "is recorded otherwise",
            Some(_) => continue,
        };
        rederived.differ("change", about, format!("version {version}, {column}: {told}"));
    }
    for (version, column) in recorded.into_keys() {
        let told = format!("version {version}, {column}: is recorded, and nothing says so");
        rederived.differ("change", about, told);
    }
}

/// The revisions that flags would need: there is none where everything is recorded as it is derived.
fn compare_flags(rederived: &mut Rederived, about: &str, revisions: &[Flag]) {
    for flag in revisions {
        let told = match (flag.status.as_str(), flag.revision) {
            ("withdrawn", _) => "stands, and nothing says so",
            (_, 1) => "is not recorded",
            _ => "is recorded otherwise",
        };
        let told = format!(
            "{} {} of version {}: {told}",
            flag.kind, flag.flag_id, flag.version
        );
        rederived.differ("flag", about, told);
    }
}

/// What several rows have in common, from the contributions that were compared before.
async fn rederive_state_keys(
    transaction: &mut PgConnection,
    rederived: &mut Rederived,
) -> Result<(), StoreError> {
    let mut last = String::new();
    loop {
        let keys = contributions::shared_after(transaction, &last, AT_ONCE).await?;
        let Some(key) = keys.last() else { return Ok(()) };
        last.clone_from(key);
        for state_key in &keys {
            rederived.state_keys += 1;
            let contributed = contributions::load(transaction, state_key).await?;
            let recorded = flags::load_of_state(transaction, state_key).await?;
            let revisions: Vec<Flag> = revisions(contributed, recorded)
                .into_iter()
                .map(|(_, flag)| flag)
                .collect();
            compare_flags(rederived, state_key, &revisions);
        }
    }
}
