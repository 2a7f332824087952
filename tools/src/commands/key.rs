//! `redline key`: API keys.

use std::io::Write as _;

use redline_store::keys;
use redline_store::sqlx::PgPool;

use crate::Misuse;
use crate::settings::Settings;

fn pool(settings: &Settings) -> anyhow::Result<PgPool> {
    Ok(redline_store::pool(settings.database.url(), "key", 1)?)
}

/// Makes a key and prints nothing but it.
pub(crate) async fn create(
    settings: &Settings,
    name: &str,
    scopes: &[String],
    source: Option<&str>,
) -> anyhow::Result<()> {
    let key = keys::create(&pool(settings)?, name, scopes, source)
        .await
        .map_err(|error| match error.is_misuse() {
            true => anyhow::Error::from(Misuse(error.to_string())),
            false => error.into(),
        })?;
    writeln!(std::io::stdout(), "{}", key.reveal())?;
    Ok(())
}

/// Lists keys, without their secrets.
pub(crate) async fn list(settings: &Settings, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let listed = keys::list(&pool(settings)?).await?;
    if listed.is_empty() && !json {
        writeln!(
            out,
            "There are no keys; `redline key create NAME --scope rows` makes one."
        )?;
    }
    for key in listed {
        if json {
            let line = serde_json::json!({
                "key_id": key.key_id,
                "name": key.name,
                "scopes": key.scopes,
                "source": key.source,
                "created_at": key.created_at.to_string(),
                "revoked_at": key.revoked_at.map(|time| time.to_string()),
            });
            writeln!(out, "{line}")?;
        } else {
            let source = key.source.as_deref().unwrap_or("all sources");
            let state = key
                .revoked_at
                .map_or_else(|| "open".to_owned(), |time| format!("revoked at {time}"));
            writeln!(out, "{}  {}  {source}  {state}", key.name, key.scopes.join(","))?;
        }
    }
    Ok(())
}

/// Revokes a key.
pub(crate) async fn revoke(settings: &Settings, name: &str) -> anyhow::Result<()> {
    keys::revoke(&pool(settings)?, name).await?;
    writeln!(
        std::io::stdout(),
        "{name} is revoked; doors heed it within five seconds"
    )?;
    Ok(())
}
