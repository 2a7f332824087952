//! Row events: the state of one row at one version.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::amount::Amount;
use crate::canonical::Object;
use crate::check::{self, Checked, FieldError, MAX_COLUMN_BYTES, MAX_COLUMNS};
use crate::json::Fields;
use crate::time::{Date, Timestamp};

/// What a version says happened to its row.
pub const OPERATIONS: [&str; 4] = ["snapshot", "create", "update", "delete"];

/// The value of one column. The variants stand in the order of the Avro union.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub enum ColumnValue {
    /// No value; a column that is not there counts as null.
    #[default]
    Null,
    /// True or false.
    Boolean(bool),
    /// A number, read exactly.
    Amount(Amount),
    /// Text, to the letter.
    Text(String),
}

impl ColumnValue {
    /// The value as text; none for null.
    pub fn to_text(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Boolean(value) => Some(value.to_string()),
            Self::Amount(amount) => Some(amount.to_string()),
            Self::Text(text) => Some(text.clone()),
        }
    }

    /// Writes the value as a member of a map, null too.
    pub(crate) fn write_member(&self, map: &mut Object<'_>, name: &str) {
        match self {
            Self::Null => map.bare(name, "null"),
            Self::Boolean(value) => map.bare(name, value),
            Self::Amount(amount) => map.amount(name, *amount),
            Self::Text(text) => map.text(name, text),
        }
    }

    /// Writes the value as a field, which null leaves out.
    pub(crate) fn write_canonical(&self, object: &mut Object<'_>, name: &str) {
        if *self != Self::Null {
            self.write_member(object, name);
        }
    }
}

/// Any order of the union's branches is read, since a producer may have registered another one.
impl<'de> Deserialize<'de> for ColumnValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl de::Visitor<'_> for Any {
            type Value = ColumnValue;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("null, a boolean, a decimal or a string")
            }

            fn visit_unit<E: de::Error>(self) -> Result<ColumnValue, E> {
                Ok(ColumnValue::Null)
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<ColumnValue, E> {
                Ok(ColumnValue::Boolean(value))
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<ColumnValue, E> {
                let amount = Amount::from_avro_bytes(bytes);
                amount
                    .map(ColumnValue::Amount)
                    .map_err(|error| E::custom(format_args!("an amount {error}")))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ColumnValue, E> {
                Ok(ColumnValue::Text(text.to_owned()))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<ColumnValue, E> {
                Ok(ColumnValue::Text(text))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Who changed one column and when, where the source knows it for each cell.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ColumnEdit {
    /// When the cell was changed.
    #[serde(default)]
    pub modified_at: Option<Timestamp>,
    /// Who changed it.
    #[serde(default)]
    pub modified_by: Option<String>,
}

/// The state of one row at one version. Key: `{source}/{row_id}`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RowEvent {
    /// Where the row lives: 1 to 200 characters, no `/`.
    pub source: String,
    /// The row's id in its source.
    pub row_id: String,
    /// The higher is the newer.
    pub version: i64,
    /// One of [`OPERATIONS`].
    pub op: String,
    /// When the collector saw this version; no part of the content.
    pub observed_at: Timestamp,
    /// When the source says that this version was made.
    #[serde(default)]
    pub modified_at: Option<Timestamp>,
    /// Who the source says made it.
    #[serde(default)]
    pub modified_by: Option<String>,
    /// Last day of the period that the row belongs to.
    #[serde(default)]
    pub period_end: Option<Date>,
    /// Whether the row counts as done.
    #[serde(default)]
    pub completed: bool,
    /// ISO 4217.
    #[serde(default)]
    pub currency: Option<String>,
    /// Address of the row in its source.
    #[serde(default)]
    pub link: Option<String>,
    /// Values by column name.
    #[serde(default)]
    pub columns: BTreeMap<String, ColumnValue>,
    /// Who changed which column, by column name.
    #[serde(default)]
    pub column_edits: BTreeMap<String, ColumnEdit>,
    /// The legal entity that the row belongs to.
    #[serde(default)]
    pub legal_entity: Option<String>,
}

impl RowEvent {
    /// Reads the fields of a JSON object; `observed_at` is given where the object is a recorded content.
    pub(crate) fn from_fields(
        mut fields: Fields<'_>,
        observed_at: Option<Timestamp>,
    ) -> Result<Self, FieldError> {
        let event = Self {
            source: fields.text("source")?,
            row_id: fields.text("row_id")?,
            version: fields.integer("version")?,
            op: fields.text("op")?,
            observed_at: match observed_at {
                Some(time) => time,
                None => fields.time("observed_at")?,
            },
            modified_at: fields.optional_time("modified_at")?,
            modified_by: fields.optional_text("modified_by")?,
            period_end: fields.optional_date("period_end")?,
            completed: fields.boolean("completed")?,
            currency: fields.optional_text("currency")?,
            link: fields.optional_text("link")?,
            columns: fields.columns("columns")?,
            column_edits: fields.objects("column_edits", |edit| {
                Ok(ColumnEdit {
                    modified_at: edit.optional_time("modified_at")?,
                    modified_by: edit.optional_text("modified_by")?,
                })
            })?,
            legal_entity: fields.optional_text("legal_entity")?,
        };
        fields.finish()?;
        Ok(event)
    }

    pub(crate) fn check(&self) -> Checked {
        check::source_id("source", &self.source)?;
        check::id("row_id", &self.row_id)?;
        check::version(self.version)?;
        check::word("op", &self.op, &OPERATIONS)?;
        check::time("observed_at", self.observed_at)?;
        check::optional_time("modified_at", self.modified_at)?;
        check::optional_id("modified_by", self.modified_by.as_deref())?;
        check::optional_date("period_end", self.period_end)?;
        self.currency.as_deref().map_or(Ok(()), check::currency)?;
        check::optional_link(self.link.as_deref())?;
        check::optional_id("legal_entity", self.legal_entity.as_deref())?;
        self.check_columns()?;
        self.check_column_edits()
    }

    fn check_columns(&self) -> Checked {
        if self.columns.len() > MAX_COLUMNS {
            return Err(FieldError::new("columns", "has more than 500 members"));
        }
        let mut bytes = 0;
        for (name, value) in &self.columns {
            check::id("columns", name)?;
            bytes += name.len();
            if let ColumnValue::Text(text) = value {
                bytes += text.len();
                if text.contains('\0') {
                    check::text(&format!("columns.{name}"), text)?;
                }
            }
        }
        if bytes > MAX_COLUMN_BYTES {
            return Err(FieldError::new(
                "columns",
                "holds more than 64 KiB of names and texts",
            ));
        }
        Ok(())
    }

    fn check_column_edits(&self) -> Checked {
        if self.column_edits.len() > MAX_COLUMNS {
            return Err(FieldError::new("column_edits", "has more than 500 members"));
        }
        for (name, edit) in &self.column_edits {
            check::id("column_edits", name)?;
            check::optional_time("column_edits.modified_at", edit.modified_at)?;
            check::optional_id("column_edits.modified_by", edit.modified_by.as_deref())?;
        }
        Ok(())
    }

    pub(crate) fn write_canonical(&self, object: &mut Object<'_>) {
        object.map("column_edits", &self.column_edits, |map, name, edit| {
            map.object(name, |inner| {
                inner.optional_quoted("modified_at", edit.modified_at);
                inner.optional_text("modified_by", edit.modified_by.as_deref());
            });
        });
        object.map("columns", &self.columns, |map, name, value| {
            value.write_member(map, name)
        });
        if self.completed {
            object.bare("completed", true);
        }
        object.optional_text("currency", self.currency.as_deref());
        object.optional_text("legal_entity", self.legal_entity.as_deref());
        object.optional_text("link", self.link.as_deref());
        object.optional_quoted("modified_at", self.modified_at);
        object.optional_text("modified_by", self.modified_by.as_deref());
        object.text("op", &self.op);
        object.optional_quoted("period_end", self.period_end);
        object.text("row_id", &self.row_id);
        object.text("source", &self.source);
        object.bare("version", self.version);
    }
}

/// Column values as one JSON object with sorted keys and exact numbers.
pub fn columns_to_json(columns: &BTreeMap<String, ColumnValue>) -> String {
    let mut out = String::with_capacity(64);
    let mut object = Object::open(&mut out);
    columns
        .iter()
        .for_each(|(name, value)| value.write_member(&mut object, name));
    object.close();
    out
}

/// Reads what [`columns_to_json`] wrote.
///
/// # Errors
/// The column that cannot be read.
pub fn columns_from_json(text: &str) -> Result<BTreeMap<String, ColumnValue>, FieldError> {
    Fields::parse(text)?.into_columns()
}
