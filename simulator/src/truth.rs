//! The truth about a sheet: which changes and which flags there have to be.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::settings::SimulationSettings;

/// How bad a flag is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Risk {
    /// Routine.
    Low,
    /// Routine, sooner.
    Medium,
    /// At once.
    High,
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Low => "LOW",
            Self::Medium => "MEDIUM",
            Self::High => "HIGH",
        })
    }
}

/// One tracked column between two versions. Its names are those of the table `changes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The source.
    pub source: String,
    /// The row.
    pub entity_id: String,
    /// The version that brought it.
    pub version: u64,
    /// The column.
    pub column_name: String,
    /// The value before, as text.
    pub before: Option<String>,
    /// The value after, as text.
    pub after: Option<String>,
    /// What it costs, as text.
    pub impact: Option<String>,
    /// The currency of the version.
    pub currency: Option<String>,
    /// Who made it.
    pub editor: Option<String>,
    /// When.
    pub modified_at: String,
    /// Whether an approval allowed it.
    pub authorised: bool,
}

/// A standing flag. Its names are those of the fields of a flag; what depends on words or on places (`revision`,
/// `position`, `reason`, `details`, `rules_hash`) is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flag {
    /// The flag.
    pub flag_id: String,
    /// Always `standing`.
    pub status: String,
    /// What is wrong.
    pub kind: String,
    /// How bad it is.
    pub risk: Risk,
    /// Always `row`.
    pub entity_type: String,
    /// The source.
    pub source: String,
    /// The row.
    pub entity_id: String,
    /// The version.
    pub version: u64,
    /// The column, field or rule.
    pub column: Option<String>,
    /// The value before, as text.
    pub before: Option<String>,
    /// The value after, as text.
    pub after: Option<String>,
    /// What it costs, as text.
    pub impact: Option<String>,
    /// The currency.
    pub currency: Option<String>,
    /// Always absent for rows.
    pub score: Option<i64>,
    /// Who did it.
    pub editor: Option<String>,
    /// When.
    pub modified_at: String,
    /// The last day of the period.
    pub period: Option<String>,
    /// The company.
    pub legal_entity: Option<String>,
    /// Where a person finds the row.
    pub link: Option<String>,
}

/// What a flag is about. Its hash is the flag's id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FlagKey {
    /// What is wrong.
    pub kind: String,
    /// The row.
    pub entity_id: String,
    /// The version.
    pub version: u64,
    /// The column, field or rule.
    pub column: Option<String>,
}

impl FlagKey {
    /// The key of a flag about a row.
    pub fn new(kind: &str, entity_id: &str, version: u64, column: Option<&str>) -> Self {
        let column = column.map(str::to_string);
        Self {
            kind: kind.to_string(),
            entity_id: entity_id.to_string(),
            version,
            column,
        }
    }

    /// SHA-256 of the RFC 8785 array. Of text and whole numbers that is what serde_json writes without white space.
    pub fn flag_id(&self) -> String {
        let list = json!([
            self.kind,
            "row",
            crate::rulebook::SOURCE,
            self.entity_id,
            self.version,
            self.column
        ]);
        Sha256::digest(list.to_string())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// A finding that was made on purpose, and what has to be seen of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planted {
    /// What was done, in a few words.
    pub scenario: String,
    /// Flags that have to stand.
    pub expected: Vec<FlagKey>,
    /// Flags that must not stand: the scenario looks like a finding there, and is none.
    pub absent: Vec<FlagKey>,
    /// Changes (row, version, column) that an approval allows.
    pub authorised: Vec<(String, u64, String)>,
}

/// Everything that has to be found in a sheet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truth {
    /// What the simulation was asked for.
    pub settings: SimulationSettings,
    /// Flags by kind and risk.
    pub counts: BTreeMap<String, BTreeMap<String, usize>>,
    /// What was made on purpose.
    pub planted: Vec<Planted>,
    /// Every change, by row, version and column.
    pub changes: Vec<Change>,
    /// Every standing flag, by row, version, kind and column.
    pub flags: Vec<Flag>,
}

impl Truth {
    /// Sorts and counts what was found.
    pub(crate) fn new(
        settings: SimulationSettings,
        planted: Vec<Planted>,
        mut changes: Vec<Change>,
        mut flags: Vec<Flag>,
    ) -> Self {
        changes.sort_by(|a, b| {
            (&a.entity_id, a.version, &a.column_name).cmp(&(&b.entity_id, b.version, &b.column_name))
        });
        flags.sort_by(|a, b| {
            (&a.entity_id, a.version, &a.kind, &a.column).cmp(&(&b.entity_id, b.version, &b.kind, &b.column))
        });
        let mut counts: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        for flag in &flags {
            *counts
                .entry(flag.kind.clone())
                .or_default()
                .entry(flag.risk.to_string())
                .or_default() += 1;
        }
        Self {
            settings,
            counts,
            planted,
            changes,
            flags,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_id_is_the_hash_of_the_array_in_the_contract() {
        let key = FlagKey::new("row_deleted", "R-1001", 7, None);
        let text = r#"["row_deleted","row","billing","R-1001",7,null]"#;
        let hash: String = Sha256::digest(text)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(key.flag_id(), hash);
    }
}
