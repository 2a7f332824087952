//! temporary
use crate::settings::Settings;
pub(crate) async fn files(_: &Settings, _: &std::path::Path, _: &str, _: bool) -> anyhow::Result<()> {
    anyhow::bail!("not yet")
}
