//! Flags: a change or discrepancy that somebody should look at.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::canonical::{ContentHash, Object, push_text};
use crate::time::Timestamp;

/// Where the flagged version was accepted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Position {
    /// Topic name.
    pub topic: String,
    /// Topic id.
    pub incarnation: String,
    /// Partition, from 0.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
}

/// A change or discrepancy with kind, risk, impact and reason. Key: `{source}/{entity_id}`, for orders `{order_id}`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Flag {
    /// [`flag_id`] of what the flag is about.
    pub flag_id: String,
    /// From 1; the greatest counts.
    pub revision: i64,
    /// `standing` or `withdrawn`.
    pub status: String,
    /// Which rule flagged it, such as `retroactive_change`.
    pub kind: String,
    /// `LOW`, `MEDIUM` or `HIGH`.
    pub risk: String,
    /// `row`, `payout`, `order`, `match`, `editor` or `source`.
    pub entity_type: String,
    /// The source, the system for payouts, `orders` for orders.
    pub source: String,
    /// The entity's id in its source.
    pub entity_id: String,
    /// The flagged version; 0 where no single event is flagged.
    pub version: i64,
    /// The column that the flag is about.
    pub column: Option<String>,
    /// The value before, as text.
    pub before: Option<String>,
    /// The value after, as text.
    pub after: Option<String>,
    /// Financial impact in `currency`, signed.
    pub impact: Option<Amount>,
    /// ISO 4217.
    pub currency: Option<String>,
    /// Points of the fraud rules.
    pub score: Option<i64>,
    /// Who made the change.
    pub editor: Option<String>,
    /// When the change was made.
    pub modified_at: Option<Timestamp>,
    /// Last day of the period, or `YYYY-MM`.
    pub period: Option<String>,
    /// The legal entity.
    pub legal_entity: Option<String>,
    /// Address of the entity in its source.
    pub link: Option<String>,
    /// One sentence for a person; no content.
    pub reason: String,
    /// What the rule compared, by name.
    pub details: BTreeMap<String, String>,
    /// Hash of the part of the rules that applied.
    pub rules_hash: String,
    /// Where the flagged version was accepted; no content.
    pub position: Position,
}

impl Flag {
    /// The Kafka key: `{source}/{entity_id}`, for orders `{order_id}`.
    pub fn key(&self) -> String {
        match self.entity_type.as_str() {
            "order" => self.entity_id.clone(),
            _ => format!("{}/{}", self.source, self.entity_id),
        }
    }

    /// The content: every field but `revision`, `position` and `reason`, in canonical form.
    pub fn canonical(&self) -> String {
        let mut out = String::with_capacity(512);
        let mut object = Object::open(&mut out);
        self.write_content(&mut object, None);
        object.close();
        out
    }

    /// Every field as one JSON object with sorted keys, as the API answers it.
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(640);
        let mut object = Object::open(&mut out);
        self.write_content(&mut object, Some(self));
        object.close();
        out
    }

    /// Writes the members in sorted order; with `whole`, those that are no content too.
    fn write_content(&self, object: &mut Object<'_>, whole: Option<&Self>) {
        object.optional_text("after", self.after.as_deref());
        object.optional_text("before", self.before.as_deref());
        object.optional_text("column", self.column.as_deref());
        object.optional_text("currency", self.currency.as_deref());
        object.map("details", &self.details, |map, name, value| map.text(name, value));
        object.optional_text("editor", self.editor.as_deref());
        object.text("entity_id", &self.entity_id);
        object.text("entity_type", &self.entity_type);
        object.text("flag_id", &self.flag_id);
        if let Some(impact) = self.impact {
            object.amount("impact", impact);
        }
        object.text("kind", &self.kind);
        object.optional_text("legal_entity", self.legal_entity.as_deref());
        object.optional_text("link", self.link.as_deref());
        object.optional_quoted("modified_at", self.modified_at);
        object.optional_text("period", self.period.as_deref());
        if let Some(flag) = whole {
            object.object("position", |inner| {
                inner.text("incarnation", &flag.position.incarnation);
                inner.bare("offset", flag.position.offset);
                inner.bare("partition", flag.position.partition);
                inner.text("topic", &flag.position.topic);
            });
            object.text("reason", &flag.reason);
            object.bare("revision", flag.revision);
        }
        object.text("risk", &self.risk);
        object.text("rules_hash", &self.rules_hash);
        if let Some(score) = self.score {
            object.bare("score", score);
        }
        object.text("source", &self.source);
        object.text("status", &self.status);
        object.bare("version", self.version);
    }
}

/// SHA-256, hexadecimal, of the RFC 8785 array `[kind,entity_type,source,entity_id,version,column]`; an absent
/// column is null.
pub fn flag_id(
    kind: &str,
    entity_type: &str,
    source: &str,
    entity_id: &str,
    version: i64,
    column: Option<&str>,
) -> String {
    let mut array = String::with_capacity(128);
    array.push('[');
    for text in [kind, entity_type, source, entity_id] {
        push_text(&mut array, text);
        array.push(',');
    }
    array.push_str(&version.to_string());
    array.push(',');
    match column {
        Some(column) => push_text(&mut array, column),
        None => array.push_str("null"),
    }
    array.push(']');
    ContentHash::of(array.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_id_is_the_hash_of_the_contracts_array() {
        // printf '%s' '["late_row","row","billing","R-1",3,null]' | sha256sum
        assert_eq!(
            flag_id("late_row", "row", "billing", "R-1", 3, None),
            "86b1c01ad01be38d9d0d7bb823f8da9c5a9e63d3ef1194a25f27948291b64a40".to_owned()
        );
    }
}
