//! The content of a flag: which field comes from where.

use super::changes::{RowChange, Weight, worth};
use super::history::Standing;
use crate::days::written;
use crate::rulebook::{SOURCE, risk_of_kind};
use crate::truth::{Flag, FlagKey};

/// A flag about a version: currency, period, legal entity, link, editor and time are those of the version. Without a
/// weight its impact is null and its risk that of the kind.
pub(super) fn of_version(
    kind: &str,
    version: &Standing<'_>,
    column: Option<&str>,
    weight: Option<Weight>,
) -> Flag {
    let content = version.content;
    let weight = weight.unwrap_or(Weight::without_impact(risk_of_kind(kind)));
    let key = FlagKey::new(kind, &content.row_id, content.version, column);
    Flag {
        flag_id: key.flag_id(),
        status: "standing".to_string(),
        kind: key.kind,
        risk: weight.risk,
        entity_type: "row".to_string(),
        source: SOURCE.to_string(),
        entity_id: key.entity_id,
        version: key.version,
        column: key.column,
        before: None,
        after: None,
        impact: weight.impact.map(|impact| impact.to_string()),
        currency: content.currency.clone(),
        score: None,
        editor: content.modified_by.clone(),
        modified_at: written(version.at()),
        period: content.period_end.map(|day| day.to_string()),
        legal_entity: content.legal_entity.clone(),
        link: content.link.clone(),
    }
}

/// For the kinds about one change editor and time are those of the change; before, after, impact and risk as well.
pub(super) fn of_change(kind: &str, change: &RowChange<'_>) -> Flag {
    Flag {
        before: change.before.written(),
        after: change.after.written(),
        editor: change.editor.map(str::to_string),
        modified_at: written(change.at),
        ..of_version(kind, change.version, Some(change.column), Some(change.weight))
    }
}

/// For lock_change before and after are the field's two values as text.
pub(super) fn of_lock(field: &str, after: &Standing<'_>, values: (Option<String>, Option<String>)) -> Flag {
    let (before, value) = values;
    Flag {
        before,
        after: value,
        ..of_version("lock_change", after, Some(field), None)
    }
}

/// A violated rule of this name.
pub(super) fn of_rule(name: &str, version: &Standing<'_>, weight: Weight) -> Flag {
    of_version("rule_violation", version, Some(name), Some(weight))
}

/// "row_deleted takes currency, period, legal entity and link from the version before where the delete does not say
/// them; if the currency differs, the impact is null and the risk HIGH."
pub(super) fn of_delete(before: &Standing<'_>, delete: &Standing<'_>) -> Flag {
    let said = delete.content;
    let currency = said.currency.clone().or(before.content.currency.clone());
    let weight = match worth(before).impact {
        Some(amount) if currency == before.content.currency => {
            Weight::of(amount.negated(), currency.as_deref())
        }
        _ => Weight::UNKNOWN,
    };
    let flag = of_version("row_deleted", delete, None, Some(weight));
    Flag {
        currency,
        period: flag
            .period
            .or(before.content.period_end.map(|day| day.to_string())),
        legal_entity: flag.legal_entity.or(before.content.legal_entity.clone()),
        link: flag.link.or(before.content.link.clone()),
        ..flag
    }
}
