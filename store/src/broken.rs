//! Deliberate breaks: each takes away one thing that a promise rests on, so that the crash matrix can show that it
//! would notice. `make faults-breaks` builds them.

use sqlx::PgConnection;

use crate::error::StoreError;

#[cfg(not(debug_assertions))]
compile_error!("a deliberate break must never be released: leave the features break-... out");

/// Makes every position what a batch expects it to be.
#[cfg(feature = "break-positions")]
pub(crate) async fn accept_any_position(
    connection: &mut PgConnection,
    ranges: &[crate::record::Range],
) -> Result<(), StoreError> {
    sqlx::query(
        "update redline.positions p set next_offset = u.first_offset
         from unnest($1::int[], $2::bigint[]) u (position_id, first_offset) where p.position_id = u.position_id",
    )
    .bind(ranges.iter().map(|range| range.position_id).collect::<Vec<_>>())
    .bind(ranges.iter().map(|range| range.from).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes every entity's revision what a batch has read.
#[cfg(feature = "break-revisions")]
pub(crate) async fn accept_any_revision(
    connection: &mut PgConnection,
    updates: &[&crate::record::EntityUpdate],
) -> Result<(), StoreError> {
    sqlx::query(
        "update redline.entities e set revision = u.revision
         from unnest($1::bigint[], $2::bigint[]) u (entity, revision) where e.entity = u.entity",
    )
    .bind(updates.iter().map(|update| update.entity).collect::<Vec<_>>())
    .bind(updates.iter().map(|update| update.revision).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
