//! `redline rederive`: whether everything that is recorded follows from the recorded events and facts.

use std::io::Write;

use clap::Args;
use redline_consumer::rederive::{Rederived, rederive};
use redline_store::read_only_connection;
use serde_json::{Value, json};

use super::{counted, spinner};
use crate::settings::Settings;

/// Differences that are shown.
const SHOWN: usize = 20;

#[derive(Args)]
pub(crate) struct RederiveArguments {
    /// The result as one JSON object, with up to 100 differences.
    #[arg(long)]
    json: bool,
}

/// Derives everything again; answers whether anything is recorded otherwise.
pub(crate) async fn run(settings: &Settings, arguments: &RederiveArguments) -> anyhow::Result<bool> {
    let mut connection = read_only_connection(settings.database.url(), "rederive").await?;
    let bar = spinner()?;
    let rederived = rederive(&mut connection, |rows| {
        bar.set_message(format!("{rows} rows derived again"));
        bar.tick();
    })
    .await;
    bar.finish_and_clear();
    let rederived = rederived?;
    let mut out = std::io::stdout();
    match arguments.json {
        true => writeln!(out, "{}", to_json(&rederived))?,
        false => tell(&rederived, &mut out)?,
    }
    Ok(rederived.differing > 0)
}

fn tell(rederived: &Rederived, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(
        out,
        "Derived again from what is recorded; nothing was written:\n{}, {}, {}",
        counted(rederived.rows, "row", "rows"),
        counted(rederived.changes, "change", "changes"),
        counted(rederived.state_keys, "natural key", "natural keys"),
    )?;
    if rederived.rows_with_horizon > 0 {
        writeln!(
            out,
            "{} derived only from a horizon on;\n  what was before, retention removed",
            counted(rederived.rows_with_horizon, "of them was", "of them were")
        )?;
    }
    if rederived.waiting > 0 {
        writeln!(
            out,
            "{} for a worker and may differ until then",
            counted(rederived.waiting, "row or key waits", "rows and keys wait")
        )?;
    }
    if rederived.differing == 0 {
        return writeln!(out, "\nNo difference.");
    }
    writeln!(
        out,
        "\n{}:",
        counted(rederived.differing, "difference", "differences")
    )?;
    for one in rederived.differences.iter().take(SHOWN) {
        writeln!(out, "  {}: {} {}", one.about, one.what, one.told)?;
    }
    let more = rederived.differing.saturating_sub(SHOWN as u64);
    if more > 0 {
        writeln!(out, "  and {more} more; --json has up to 100")?;
    }
    Ok(())
}

fn to_json(rederived: &Rederived) -> Value {
    let differences: Vec<Value> = rederived
        .differences
        .iter()
        .map(|one| json!({"what": one.what, "about": one.about, "told": one.told}))
        .collect();
    json!({
        "rows": rederived.rows, "rows_with_horizon": rederived.rows_with_horizon, "changes": rederived.changes, "state_keys": rederived.state_keys,
        "waiting": rederived.waiting, "differing": rederived.differing, "differences": differences,
    })
}

#[cfg(test)]
mod tests {
    use redline_consumer::rederive::Difference;

    use super::*;

    fn told(rederived: &Rederived) -> String {
        let mut out = Vec::new();
        tell(rederived, &mut out).expect("memory takes it");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn what_agrees_is_told_in_a_few_words_and_what_differs_with_its_place() {
        let agreeing = Rederived {
            rows: 10_184,
            changes: 22_001,
            state_keys: 1,
            ..Rederived::default()
        };
        let differing = Rederived {
            rows_with_horizon: 12,
            waiting: 2,
            differing: 1_234,
            differences: vec![
                Difference {
                    what: "change",
                    about: "billing/R-1001".to_owned(),
                    told: "version 7, Quantity: is recorded otherwise".to_owned(),
                };
                100
            ],
            ..agreeing
        };
        let text = format!("{}\n---\n{}", told(&agreeing), told(&differing));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        insta::assert_snapshot!(text);
    }
}
