//! `redline retention`: removes the contents of old events.

use std::io::Write;

use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use redline_consumer::retention::remove;
use redline_store::retention::{Plan, plan, require_owner};
use redline_store::sqlx::{Connection as _, PgConnection};
use serde_json::json;

use super::{counted, spinner};
use crate::settings::Settings;

#[derive(Args)]
pub(crate) struct RetentionArguments {
    /// Only say what would be removed.
    #[arg(long)]
    dry_run: bool,
    /// The result as one JSON object.
    #[arg(long)]
    json: bool,
}

/// Says what is old enough, and removes it.
pub(crate) async fn run(settings: &Settings, arguments: &RetentionArguments) -> anyhow::Result<()> {
    let months = settings.retention.events_months;
    let mut out = std::io::stdout();
    if months == 0 {
        return match arguments.json {
            true => Ok(writeln!(out, "{}", to_json(months, None, false))?),
            false => Ok(writeln!(
                out,
                "retention.events_months is 0: contents are kept for ever."
            )?),
        };
    }
    let options = redline_store::options(settings.database.url(), "retention")?;
    let mut connection = PgConnection::connect_with(&options).await?;
    let plan = plan(&mut connection, months).await?;
    if !arguments.json {
        tell(&plan, months, &mut out)?;
    }
    let removes = !arguments.dry_run && !plan.tables.is_empty();
    if removes {
        require_owner(&mut connection).await?;
        let bar = spinner()?;
        let progress = |entities| {
            bar.set_message(format!("horizons of {entities} rows, payouts, orders and facts"));
            bar.tick();
        };
        let removed = remove(&mut connection, &plan, progress, |table| {
            if !arguments.json {
                bar.suspend(|| {
                    let _ = writeln!(std::io::stdout(), "removed {}", table.table);
                });
            }
        })
        .await;
        bar.finish_and_clear();
        removed?;
    }
    match (arguments.json, removes) {
        (true, _) => writeln!(out, "{}", to_json(months, Some(&plan), removes))?,
        (false, true) => writeln!(
            out,
            "Versions and hashes stay: what was removed is a duplicate when it\nis sent again."
        )?,
        (false, false) => writeln!(out, "Nothing was removed.")?,
    }
    Ok(())
}

fn tell(plan: &Plan, months: u32, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(
        out,
        "Contents are kept for {} (retention.events_months):\nthose recorded in {} and later stay.\n",
        counted(u64::from(months), "month", "months"),
        plan.first_kept
    )?;
    if plan.tables.is_empty() {
        return writeln!(out, "Nothing is older.");
    }
    writeln!(out, "{:<24}{:>16}{:>16}", "TABLE", "EVENTS", "SIZE")?;
    for table in &plan.tables {
        let size = match table.bytes {
            0 => "rows only".to_owned(),
            bytes => HumanBytes(bytes.unsigned_abs()).to_string(),
        };
        writeln!(
            out,
            "{:<24}{:>16}{size:>16}",
            table.table,
            HumanCount(table.rows.unsigned_abs()).to_string()
        )?;
    }
    writeln!(out)
}

fn to_json(months: u32, plan: Option<&Plan>, removed: bool) -> serde_json::Value {
    let tables = plan.map(|plan| plan.tables.iter()).into_iter().flatten();
    let tables: Vec<_> = tables
        .map(|table| json!({"table": table.table, "events": table.rows, "bytes": table.bytes}))
        .collect();
    json!({
        "events_months": months,
        "first_kept": plan.map(|plan| plan.first_kept.as_str()),
        "tables": tables,
        "removed": removed,
    })
}

#[cfg(test)]
mod tests {
    use redline_store::retention::Removable;

    use super::*;

    #[test]
    fn a_plan_is_readable_on_eighty_columns_and_as_json() {
        let table = |table: &str, rows, bytes| Removable {
            table: table.to_owned(),
            rows,
            bytes,
        };
        let plan = Plan {
            first_kept: "2024-11".to_owned(),
            tables: vec![
                table("events_2024_09", 12_345_678, 4_321_987_654),
                table("events_default", 3, 0),
            ],
        };
        let mut out = Vec::new();
        tell(&plan, 24, &mut out).expect("memory takes it");
        let text = String::from_utf8(out).expect("text");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        insta::assert_snapshot!(format!(
            "{text}---\n{}\n{}",
            to_json(24, Some(&plan), true),
            to_json(0, None, false)
        ));
    }
}
