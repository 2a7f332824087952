//! `redline report`: what finance asks of the record.

mod completeness;

use clap::Subcommand;

use crate::settings::Settings;
use crate::{Ending, found};

#[derive(Subcommand)]
pub(crate) enum ReportCommand {
    /// What was read, what of it belongs to a month, and what is known to be missing; exit 3 when something is.
    #[command(after_help = "Example: redline report completeness --period 2026-03")]
    Completeness {
        /// The month, such as 2026-03: rows whose period ends in it, payouts of it, orders placed in it.
        #[arg(long, value_name = "YYYY-MM", value_parser = month)]
        period: String,
        /// The result as one JSON object.
        #[arg(long)]
        json: bool,
    },
}

fn month(text: &str) -> Result<String, String> {
    let day = redline_schemas::Date::parse(&format!("{text}-01"));
    match day {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("a month such as 2026-03 is expected".to_owned()),
    }
}

/// Obeys.
pub(crate) async fn run(command: ReportCommand, settings: &Settings) -> anyhow::Result<Ending> {
    match command {
        ReportCommand::Completeness { period, json } => {
            Ok(found(completeness::report(settings, &period, json).await?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_a_year_and_a_month() {
        assert_eq!(month("2026-03"), Ok("2026-03".to_owned()));
        for wrong in ["2026-13", "2026", "2026-3", "2026-03-01", "March", ""] {
            assert!(month(wrong).is_err(), "{wrong}");
        }
    }
}
