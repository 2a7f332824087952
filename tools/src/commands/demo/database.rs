//! What is in the demo's database before the sheet comes: tables, a key, and nothing of another sheet.

use anyhow::{Context as _, ensure};
use redline_store::sqlx::{self, PgConnection, PgPool};
use redline_store::{Timeouts, keys};

use super::folder::Folder;
use crate::settings::DatabaseSettings;

/// The database on a server that DATABASE_URL names, so that nothing else of it is touched.
pub(super) const NAME: &str = "redline_demo";
/// What the key opens.
const SCOPES: [&str; 4] = ["rows", "facts", "approvals", "read"];
/// The name under which the folder keeps the key.
const KEY: &str = "key";

/// Whether DATABASE_URL names a server.
pub(super) fn is_named() -> bool {
    std::env::var("DATABASE_URL").is_ok_and(|url| !url.is_empty())
}

/// A database of the demo's own on the server that is named.
pub(super) async fn of_its_own(named: &DatabaseSettings) -> anyhow::Result<DatabaseSettings> {
    redline_store::ensure_database(named.url(), NAME).await.with_context(|| {
        format!("the database {NAME} cannot be made on the server of DATABASE_URL; make it, or unset DATABASE_URL")
    })?;
    named
        .with_database(NAME)
        .context("DATABASE_URL names no database: postgres://user@host/database is expected")
}

/// Keeps every other demo out of the database for as long as the connection lasts: it would begin from nothing under our feet.
pub(super) async fn alone(url: &str) -> anyhow::Result<PgConnection> {
    /// "demo" in ASCII.
    const LOCK: i64 = 0x6465_6d6f;
    let mut connection = redline_store::recording_connection(url, "demo", Timeouts::default()).await?;
    let is_alone: bool = sqlx::query_scalar("select pg_try_advisory_lock($1)")
        .bind(LOCK)
        .fetch_one(&mut connection)
        .await?;
    ensure!(
        is_alone,
        "another demo uses the database {NAME} on the server of DATABASE_URL; stop it, or unset DATABASE_URL"
    );
    Ok(connection)
}

/// Makes the tables. What an earlier demo of this build recorded stays when it was the same sheet: it comes again as
/// duplicates. Another sheet begins from nothing, and so does `anew`.
pub(super) async fn prepare(url: &str, sheet: &str, folder: &Folder, anew: bool) -> anyhow::Result<()> {
    let pool = redline_store::pool(url, "demo", 1)?;
    let recorded: Option<String> = sqlx::query_scalar(
        "select obj_description(oid, 'pg_namespace') from pg_namespace where nspname = 'redline'",
    )
    .fetch_optional(&pool)
    .await?
    .flatten();
    if anew || recorded.as_deref() != Some(sheet) {
        sqlx::raw_sql("drop schema if exists redline cascade")
            .execute(&pool)
            .await?;
        folder.forget(KEY);
    }
    redline_store::migrate(url).await?;
    // A comment cannot be bound; the text is ours and has no quotes.
    sqlx::raw_sql(&format!("comment on schema redline is '{sheet}'"))
        .execute(&pool)
        .await?;
    pool.close().await;
    Ok(())
}

/// The key of the last start, or a new one.
pub(super) async fn key(folder: &Folder, pool: &PgPool) -> anyhow::Result<String> {
    if let Some(kept) = folder.kept(KEY)
        && let Some(presented) = keys::PresentedKey::parse(&kept)
        && let Some(stored) = keys::find(pool, presented.key_id()).await?
        && stored.is_opened_by(&presented)
    {
        return Ok(kept);
    }
    let name = format!("demo {}", uuid::Uuid::new_v4());
    let key = keys::create(pool, &name, &SCOPES.map(str::to_owned), None).await?;
    folder.keep(KEY, key.reveal())?;
    Ok(key.reveal().to_owned())
}
