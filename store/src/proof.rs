//! What everything that was found comes to, in two hashes: whoever holds two of these against each other sees whether anything
//! was changed.

use futures_util::StreamExt as _;
use redline_schemas::ContentHash;
use sha2::{Digest as _, Sha256};
use sqlx::{Connection as _, PgConnection, Row as _};

use crate::error::StoreError;

/// Everything as of one instant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Proof {
    /// Records that were accepted.
    pub accepted: i64,
    /// Records that were duplicates.
    pub duplicate: i64,
    /// Records that were quarantined.
    pub quarantined: i64,
    /// Hash of all changes.
    pub changes: ContentHash,
    /// Hash of the content of all standing flags.
    pub flags: ContentHash,
}

/// Every change, one JSON array a line.
const CHANGES: &str =
    "select jsonb_build_array(source, entity_id, version, column_name, before, after, impact::text, currency,
        risk, editor, modified_at, attribution, timing, authorised)::text
    from redline.changes
    order by source collate \"C\", entity_id collate \"C\", version, column_name collate \"C\"";
/// The content of every standing flag, one JSON object a line: neither when nor where it was found is part of it.
const FLAGS: &str = "select (r.flag - 'revision' - 'position' - 'reason')::text from redline.flags f
    join redline.flag_revisions r using (flag_id, revision)
    where f.status = 'standing' order by flag_id collate \"C\"";

/// Reads it all as of one instant, in little memory, however much it is.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn proof(connection: &mut PgConnection) -> Result<Proof, StoreError> {
    let mut transaction = connection.begin().await?;
    crate::read_only(&mut transaction).await?;
    // Times in changes are written as this says.
    sqlx::query("set local time zone 'UTC'")
        .execute(&mut *transaction)
        .await?;
    let counts = sqlx::query(
        "select coalesce(sum(accepted), 0)::bigint as accepted, coalesce(sum(duplicate), 0)::bigint as duplicate,
            coalesce(sum(quarantined), 0)::bigint as quarantined from redline.control_totals",
    )
    .fetch_one(&mut *transaction)
    .await?;
    let proof = Proof {
        accepted: counts.try_get("accepted")?,
        duplicate: counts.try_get("duplicate")?,
        quarantined: counts.try_get("quarantined")?,
        changes: hash(&mut transaction, CHANGES).await?,
        flags: hash(&mut transaction, FLAGS).await?,
    };
    transaction.rollback().await?;
    Ok(proof)
}

/// SHA-256 of the lines, with line breaks between them.
async fn hash(connection: &mut PgConnection, lines: &'static str) -> Result<ContentHash, StoreError> {
    let mut hash = Sha256::new();
    let mut lines = sqlx::query_scalar::<_, String>(lines)
        .fetch(connection)
        .enumerate();
    while let Some((number, line)) = lines.next().await {
        if number > 0 {
            hash.update(b"\n");
        }
        hash.update(line?.as_bytes());
    }
    Ok(ContentHash(hash.finalize().into()))
}
