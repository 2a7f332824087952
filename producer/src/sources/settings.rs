//! The sections `[collect.<source>]`: how the files of a source are read.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The fields of a row event that a column or a constant can fill.
pub(crate) const FIELDS: [&str; 11] = [
    "row_id",
    "version",
    "op",
    "observed_at",
    "modified_at",
    "modified_by",
    "period_end",
    "completed",
    "currency",
    "link",
    "legal_entity",
];

/// How the files of one source are read. NDJSON needs no settings; its lines are row objects as the HTTP door
/// takes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CollectSettings {
    /// `csv` or `ndjson`. Default: by the file's ending, `.csv`, `.tsv`, `.ndjson` or `.jsonl`, each also with `.gz`.
    pub format: Option<Format>,
    /// What divides the cells of a CSV file: one ASCII character. Default: a comma, in `.tsv` files a tab.
    pub delimiter: Option<char>,
    /// From a field of the event to the header of the CSV column that fills it. `row_id` and `version` must be here
    /// or among the constants. Default: none.
    pub fields: BTreeMap<String, String>,
    /// From a field of the event to its fixed text, such as `currency = "USD"`. Default: none; without an `op`,
    /// rows are snapshots, and without an `observed_at`, it is the moment at which the file is read.
    pub constants: BTreeMap<String, String>,
    /// From the name under which a column is recorded to where it comes from; at least one in a CSV file.
    pub columns: BTreeMap<String, ColumnSettings>,
}

/// A format of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Cells divided by a character, by RFC 4180, with a header.
    Csv,
    /// One JSON object a line.
    Ndjson,
}

/// Where a recorded column comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ColumnSettings {
    /// The header of the CSV column. Default: the name under which it is recorded.
    pub column: Option<String>,
    /// How cells are read. Default: `text`.
    #[serde(rename = "type")]
    pub kind: ColumnType,
}

/// How the cells of a column are read. What does not read as its type is kept as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    /// To the letter.
    #[default]
    Text,
    /// Decimal text such as `1140.00`.
    Amount,
    /// `true`, `yes` or `1`; `false`, `no` or `0`; in any case of letters.
    Boolean,
}
