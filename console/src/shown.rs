//! How flags, changes and versions are shown: the contract's names, every one of them; amounts as text, times in UTC.

use std::collections::BTreeMap;

use redline_schemas::flag::{Flag, Position};
use redline_store::read::changes::RecordedChange;
use redline_store::read::flags::{RecordedFlag, Revision};
use redline_store::read::history::RecordedVersion;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::page::json;

/// A flag. It is read from JSON where a revision is shown as it was published.
#[derive(Serialize, Deserialize)]
struct ShownFlag {
    flag_id: String,
    revision: i64,
    status: String,
    kind: String,
    risk: String,
    entity_type: String,
    source: String,
    entity_id: String,
    version: i64,
    column: Option<String>,
    before: Option<String>,
    after: Option<String>,
    impact: Option<String>,
    currency: Option<String>,
    score: Option<i64>,
    editor: Option<String>,
    modified_at: Option<String>,
    period: Option<String>,
    legal_entity: Option<String>,
    link: Option<String>,
    reason: String,
    #[serde(default)]
    details: BTreeMap<String, String>,
    rules_hash: String,
    position: Position,
}

impl From<Flag> for ShownFlag {
    fn from(flag: Flag) -> Self {
        Self {
            flag_id: flag.flag_id,
            revision: flag.revision,
            status: flag.status,
            kind: flag.kind,
            risk: flag.risk,
            entity_type: flag.entity_type,
            source: flag.source,
            entity_id: flag.entity_id,
            version: flag.version,
            column: flag.column,
            before: flag.before,
            after: flag.after,
            impact: flag.impact.map(|amount| amount.to_string()),
            currency: flag.currency,
            score: flag.score,
            editor: flag.editor,
            modified_at: flag.modified_at.map(|time| time.to_string()),
            period: flag.period,
            legal_entity: flag.legal_entity,
            link: flag.link,
            reason: flag.reason,
            details: flag.details,
            rules_hash: flag.rules_hash,
            position: flag.position,
        }
    }
}

/// A flag's latest revision as JSON.
pub(crate) fn flag(recorded: RecordedFlag) -> String {
    #[derive(Serialize)]
    struct Shown {
        #[serde(flatten)]
        flag: ShownFlag,
        first_detected_at: String,
        revised_at: String,
    }
    json(&Shown {
        flag: recorded.flag.into(),
        first_detected_at: recorded.first_detected_at.to_string(),
        revised_at: recorded.revised_at.to_string(),
    })
}

/// A revision of a flag as JSON; none when what is recorded is no flag.
pub(crate) fn revision(recorded: &Revision) -> Option<String> {
    #[derive(Serialize)]
    struct Shown {
        #[serde(flatten)]
        flag: ShownFlag,
        recorded_at: String,
    }
    let flag = serde_json::from_str(&recorded.flag).ok()?;
    Some(json(&Shown {
        flag,
        recorded_at: recorded.recorded_at.to_string(),
    }))
}

/// A change as JSON.
pub(crate) fn change(change: &RecordedChange) -> String {
    #[derive(Serialize)]
    struct Shown<'a> {
        entity_type: &'a str,
        source: &'a str,
        entity_id: &'a str,
        version: i64,
        column_name: &'a str,
        before: Option<&'a str>,
        after: Option<&'a str>,
        impact: Option<String>,
        currency: Option<&'a str>,
        risk: &'a str,
        editor: Option<&'a str>,
        modified_at: String,
        attribution: &'a str,
        timing: &'a str,
        authorised: bool,
        approval: Option<&'a str>,
    }
    json(&Shown {
        entity_type: &change.place.entity_type,
        source: &change.place.source,
        entity_id: &change.place.entity_id,
        version: change.place.version,
        column_name: &change.place.column_name,
        before: change.before.as_deref(),
        after: change.after.as_deref(),
        impact: change.impact.map(|amount| amount.to_string()),
        currency: change.currency.as_deref(),
        risk: &change.risk,
        editor: change.editor.as_deref(),
        modified_at: change.place.modified_at.to_string(),
        attribution: &change.attribution,
        timing: &change.timing,
        authorised: change.authorised,
        approval: change.approval.as_deref(),
    })
}

/// A version as JSON, with the changes that it made and the flags about it, which are JSON already. The content is
/// shown to the letter: its SHA-256 is the content hash.
pub(crate) fn version(
    version: RecordedVersion,
    standing: bool,
    changes: &[String],
    flags: &[String],
) -> String {
    #[derive(Serialize)]
    struct Shown {
        version: i64,
        content_hash: String,
        standing: bool,
        observed_at: Option<String>,
        recorded_at: String,
        position: Option<Position>,
        event: Option<Box<RawValue>>,
    }
    let mut shown = json(&Shown {
        version: version.place.version,
        content_hash: version.place.hash.to_string(),
        standing,
        observed_at: version.observed_at.map(|time| time.to_string()),
        recorded_at: version.recorded_at.to_string(),
        position: version.position,
        event: version
            .content
            .and_then(|content| RawValue::from_string(content).ok()),
    });
    shown.truncate(shown.len().saturating_sub(1));
    format!(
        r#"{shown},"changes":[{}],"flags":[{}]}}"#,
        changes.join(","),
        flags.join(",")
    )
}
