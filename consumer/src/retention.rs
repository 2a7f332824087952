//! Removing what is recorded for too long: first every entity with old contents gets its horizon, then the contents go.
//!
//! Interrupted anywhere, it is run again: horizons without a removal change no finding, and tables go one at a time.

use redline_store::retention::{self, Ageing, Plan, Removable};
use redline_store::sqlx::{Connection as _, PgConnection};
use redline_store::{StoreError, facts, history};

use crate::derivation::Derivation;
use crate::facts::Facts;

/// Entities whose horizons are set in one transaction.
const AT_ONCE: i64 = 500;

/// Removes what the plan says; `progress` hears how many entities have their horizons, `removed` of each table that is gone.
///
/// # Errors
/// When facts wait to be judged, when somebody else reads the events all the time, or when Postgres cannot be reached.
pub async fn remove(
    connection: &mut PgConnection,
    plan: &Plan,
    mut progress: impl FnMut(u64),
    mut removed: impl FnMut(&Removable),
) -> Result<(), StoreError> {
    let mut entities = 0;
    let mut known = Facts::default();
    for table in &plan.tables {
        retention::list_ageing(connection, table, &plan.first_kept).await?;
        let mut behind = Some(i64::MIN);
        while let Some(last) = behind {
            let mut transaction = connection.begin().await?;
            facts::hold(&mut transaction).await?;
            known.refresh(&mut transaction).await?;
            let (ageing, looked_at) = retention::take_ageing(&mut transaction, last, AT_ONCE).await?;
            set_horizons(&mut transaction, &ageing, &known).await?;
            transaction.commit().await?;
            entities += ageing.len() as u64;
            progress(entities);
            behind = looked_at;
        }
        retention::remove(connection, table, &plan.first_kept).await?;
        removed(table);
    }
    Ok(())
}

/// Sets the horizons of entities, which are locked.
async fn set_horizons(
    transaction: &mut PgConnection,
    ageing: &[Ageing],
    known: &Facts,
) -> Result<(), StoreError> {
    if ageing.is_empty() {
        return Ok(());
    }
    let set = retention::set_at_latest(transaction, ageing).await?;
    let mut states = Vec::new();
    for one in ageing.iter().filter(|one| !set.contains(&one.entity)) {
        let mut derivation = Derivation::default();
        for horizon in retention::horizons(transaction, &[one.entity]).await? {
            derivation.begin_at(horizon.version, horizon.state);
        }
        history::recall(transaction, &[one.entity], |_, content| {
            if content.event.version() <= one.version {
                derivation.recall(content, &known.knowledge);
            }
        })
        .await?;
        states.push((one.entity, derivation.finish(&known.knowledge).state));
    }
    if !states.is_empty() {
        retention::set(transaction, &states).await?;
    }
    let entities: Vec<i64> = ageing.iter().map(|one| one.entity).collect();
    retention::keep_standing(transaction, &entities).await
}
