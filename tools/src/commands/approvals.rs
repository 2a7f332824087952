//! `redline approvals`: what came of those that were recorded.

use std::io::Write as _;

use clap::Subcommand;
use redline_domain::approval::{Approval, Effect};
use redline_schemas::Timestamp;
use redline_store::facts::{self, RecordedApproval};
use redline_store::read_only_connection;
use serde_json::json;

use crate::settings::Settings;
use crate::{Ending, found};

#[derive(Subcommand)]
pub(crate) enum ApprovalsCommand {
    /// List approvals with the change that took each, or why none did.
    #[command(after_help = "Example: redline approvals list --source billing --without-effect")]
    List {
        /// Of this source only.
        #[arg(long)]
        source: Option<String>,
        /// Only those that had no effect on the changes that were made; exit 3 when there are any.
        #[arg(long)]
        without_effect: bool,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

/// Obeys.
pub(crate) async fn run(command: ApprovalsCommand, settings: &Settings) -> anyhow::Result<Ending> {
    let ApprovalsCommand::List {
        source,
        without_effect,
        json,
    } = command;
    let mut connection = read_only_connection(settings.database.url(), "approvals").await?;
    let mut out = std::io::stdout();
    let (mut shown, mut after) = (0_usize, String::new());
    loop {
        let page = facts::approvals_after(&mut connection, source.as_deref(), &after).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.approval.id);
        for RecordedApproval {
            approval,
            recorded_at,
            made,
        } in &page
        {
            let effect = approval.effect(made);
            if without_effect && !matches!(effect, Effect::None { .. }) {
                continue;
            }
            shown += 1;
            match json {
                true => writeln!(out, "{}", to_json(approval, *recorded_at, &effect))?,
                false => writeln!(out, "{}", sentence(approval, *recorded_at, &effect))?,
            }
        }
    }
    if shown == 0 && !json {
        let what = if without_effect {
            "No approval is without effect."
        } else {
            "There are no approvals."
        };
        writeln!(out, "{what}")?;
    }
    Ok(found(without_effect && shown > 0))
}

fn sentence(approval: &Approval, recorded_at: Timestamp, effect: &Effect) -> String {
    let Approval {
        id,
        source,
        row_id,
        column,
        editor,
        approver,
        ..
    } = approval;
    let came = match effect {
        Effect::Used { version, again } => {
            let others = again
                .iter()
                .map(|other| format!("; version {other} came when it was used"));
            format!("used by version {version}{}", others.collect::<String>())
        }
        Effect::Open => "open: no such change was made yet".to_owned(),
        Effect::None { reasons } => format!("without effect: {}", reasons.join("; ")),
    };
    let granted = approval.effective_at;
    format!(
        "{id}: {column} of {source}/{row_id} by {editor}, allowed by {approver} at {granted}, recorded at {recorded_at}; \
         {came}"
    )
}

fn to_json(approval: &Approval, recorded_at: Timestamp, effect: &Effect) -> serde_json::Value {
    let (came, version, again, reasons) = match effect {
        Effect::Used { version, again } => ("used", Some(version), again.as_slice(), [].as_slice()),
        Effect::Open => ("open", None, [].as_slice(), [].as_slice()),
        Effect::None { reasons } => ("without_effect", None, [].as_slice(), reasons.as_slice()),
    };
    json!({
        "id": approval.id, "source": approval.source, "row_id": approval.row_id, "column": approval.column,
        "editor": approval.editor, "approver": approval.approver, "effective_at": approval.effective_at.to_string(),
        "recorded_at": recorded_at.to_string(), "effect": came, "version": version, "again": again,
        "reasons": reasons,
    })
}
