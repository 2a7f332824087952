//! Changes and standing flags in one canonical text, to compare two runs byte for byte.

use crate::installation::Installation;

/// Every change, one JSON array a line, sorted: what it is about, from what to what, its impact, and who made it.
pub async fn changes(installation: &Installation) -> String {
    let lines = installation
        .texts(
            "select jsonb_build_array(source, entity_id, version, column_name, before, after, impact::text, currency,
                risk, editor, modified_at, attribution, timing, authorised)::text as line
             from redline.changes
             order by source collate \"C\", entity_id collate \"C\", version, column_name collate \"C\"",
        )
        .await;
    lines.join("\n")
}

/// The content of every standing flag, one JSON object a line, sorted by id.
pub async fn standing_flags(installation: &Installation) -> String {
    let lines = installation
        .texts(
            "select (r.flag - 'revision' - 'position' - 'reason')::text from redline.flags f
             join redline.flag_revisions r using (flag_id, revision)
             where f.status = 'standing' order by flag_id collate \"C\"",
        )
        .await;
    lines.join("\n")
}
