//! temporary
use crate::settings::Settings;
#[derive(clap::Args)]
pub(crate) struct BenchArguments {}
pub(crate) async fn run(_: Settings, _: &BenchArguments) -> anyhow::Result<()> {
    anyhow::bail!("not yet")
}
