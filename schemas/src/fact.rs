//! Facts: recorded statements that detection depends on and that are no events.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::canonical::Object;
use crate::check::{self, Checked, FieldError};
use crate::json::Fields;
use crate::person::is_same_person;
use crate::row::ColumnValue;
use crate::time::Timestamp;

/// A recorded statement. Key: `{kind}/{id}`. A higher version of one id replaces lower ones.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fact {
    /// `rules`, `reference`, `approval`, `period`, `outcome` or `tick`.
    pub kind: String,
    /// What the statement is about.
    pub id: String,
    /// The higher replaces the lower.
    #[serde(default)]
    pub version: i64,
    /// From when on it counts.
    pub effective_at: Timestamp,
    /// Who said it.
    pub recorded_by: String,
    /// `rules`: the whole rule file.
    #[serde(default)]
    pub text: Option<String>,
    /// `reference`: the table's name.
    #[serde(default)]
    pub table: Option<String>,
    /// `reference`: the row's key.
    #[serde(default)]
    pub key: Option<String>,
    /// `reference`: the row's values by name.
    #[serde(default)]
    pub values: Option<BTreeMap<String, ColumnValue>>,
    /// `reference`, `approval`: first instant of validity.
    #[serde(default)]
    pub valid_from: Option<Timestamp>,
    /// `reference`, `approval`: first instant after validity.
    #[serde(default)]
    pub valid_until: Option<Timestamp>,
    /// `approval`, `period`: a source, or the pair of a reconciliation.
    #[serde(default)]
    pub source: Option<String>,
    /// `approval`.
    #[serde(default)]
    pub row_id: Option<String>,
    /// `approval`.
    #[serde(default)]
    pub column: Option<String>,
    /// `approval`: who may make the change.
    #[serde(default)]
    pub editor: Option<String>,
    /// `approval`: who allows it.
    #[serde(default)]
    pub approver: Option<String>,
    /// `approval`: the value that the column may take.
    #[serde(default)]
    pub value: ColumnValue,
    /// `approval`: greatest absolute impact.
    #[serde(default)]
    pub ceiling: Option<Amount>,
    /// `period`: the last day of a row period, or `YYYY-MM`.
    #[serde(default)]
    pub period: Option<String>,
    /// `period`: `closed` or `open`.
    #[serde(default)]
    pub state: Option<String>,
    /// `outcome`.
    #[serde(default)]
    pub order_id: Option<String>,
    /// `outcome`: `fraud` or `legitimate`.
    #[serde(default)]
    pub outcome: Option<String>,
    /// The legal entity that the statement is about.
    #[serde(default)]
    pub legal_entity: Option<String>,
}

impl Fact {
    /// The rules in force from an instant on.
    pub fn rules(id: &str, version: i64, effective_at: Timestamp, recorded_by: &str, text: &str) -> Self {
        Self {
            kind: "rules".to_owned(),
            id: id.to_owned(),
            version,
            effective_at,
            recorded_by: recorded_by.to_owned(),
            text: Some(text.to_owned()),
            table: None,
            key: None,
            values: None,
            valid_from: None,
            valid_until: None,
            source: None,
            row_id: None,
            column: None,
            editor: None,
            approver: None,
            value: ColumnValue::Null,
            ceiling: None,
            period: None,
            state: None,
            order_id: None,
            outcome: None,
            legal_entity: None,
        }
    }

    /// The Kafka key.
    pub fn key(&self) -> String {
        format!("{}/{}", self.kind, self.id)
    }

    /// Reads the fields of a JSON object.
    pub(crate) fn from_fields(mut fields: Fields<'_>) -> Result<Self, FieldError> {
        let kind = fields.text("kind")?;
        let recorded_by = fields.text("recorded_by")?;
        Self::with_fields(fields, kind, recorded_by)
    }

    /// Reads what somebody says where the kind is known, by a key of this name. It is not checked yet.
    ///
    /// `kind` may be left out. `recorded_by` is the key's name, and whom the body names is named before it, so that
    /// nobody can speak in another's name without leaving their own.
    ///
    /// # Errors
    /// The field that is not as the contract says.
    pub fn said(text: &str, kind: &str, key_name: &str) -> Result<Self, FieldError> {
        let mut fields = Fields::parse(text)?;
        if fields.optional_text("kind")?.is_some_and(|given| given != kind) {
            let reason = format!("is not `{kind}`, the only kind that is taken here; leave it out");
            return Err(FieldError::new("kind", reason));
        }
        let recorded_by = match fields.optional_text("recorded_by")? {
            None => key_name.to_owned(),
            Some(given) => {
                check::id("recorded_by", &given)?;
                format!("{given} via {key_name}")
            }
        };
        if recorded_by.chars().count() > check::MAX_ID_CHARACTERS {
            let reason =
                format!("is longer than 200 characters together with ` via {key_name}`, the API key");
            return Err(FieldError::new("recorded_by", reason));
        }
        Self::with_fields(fields, kind.to_owned(), recorded_by)
    }

    fn with_fields(mut fields: Fields<'_>, kind: String, recorded_by: String) -> Result<Self, FieldError> {
        let fact = Self {
            kind,
            id: fields.text("id")?,
            version: fields.optional_integer("version")?.unwrap_or_default(),
            effective_at: fields.time("effective_at")?,
            recorded_by,
            text: fields.optional_text("text")?,
            table: fields.optional_text("table")?,
            key: fields.optional_text("key")?,
            values: fields
                .optional_columns("values")?
                .filter(|values| !values.is_empty()),
            valid_from: fields.optional_time("valid_from")?,
            valid_until: fields.optional_time("valid_until")?,
            source: fields.optional_text("source")?,
            row_id: fields.optional_text("row_id")?,
            column: fields.optional_text("column")?,
            editor: fields.optional_text("editor")?,
            approver: fields.optional_text("approver")?,
            value: fields.column_value("value")?,
            ceiling: fields.optional_amount("ceiling")?,
            period: fields.optional_text("period")?,
            state: fields.optional_text("state")?,
            order_id: fields.optional_text("order_id")?,
            outcome: fields.optional_text("outcome")?,
            legal_entity: fields.optional_text("legal_entity")?,
        };
        fields.finish()?;
        Ok(fact)
    }

    /// Whether an approval is given by the one who may make the change, so that it has no effect (ASCII case ignored).
    pub fn approves_itself(&self) -> bool {
        match (&self.editor, &self.approver) {
            (Some(editor), Some(approver)) => is_same_person(editor, approver),
            _ => false,
        }
    }

    /// The canonical form, as events have it.
    pub fn canonical(&self) -> String {
        let mut out = String::with_capacity(256);
        let mut object = Object::open(&mut out);
        self.write_canonical(&mut object);
        object.close();
        out
    }

    pub(crate) fn write_canonical(&self, object: &mut Object<'_>) {
        object.optional_text("approver", self.approver.as_deref());
        if let Some(ceiling) = self.ceiling {
            object.amount("ceiling", ceiling);
        }
        object.optional_text("column", self.column.as_deref());
        object.optional_text("editor", self.editor.as_deref());
        object.time("effective_at", self.effective_at);
        object.text("id", &self.id);
        object.optional_text("key", self.key.as_deref());
        object.text("kind", &self.kind);
        object.optional_text("legal_entity", self.legal_entity.as_deref());
        object.optional_text("order_id", self.order_id.as_deref());
        object.optional_text("outcome", self.outcome.as_deref());
        object.optional_text("period", self.period.as_deref());
        object.text("recorded_by", &self.recorded_by);
        object.optional_text("row_id", self.row_id.as_deref());
        object.optional_text("source", self.source.as_deref());
        object.optional_text("state", self.state.as_deref());
        object.optional_text("table", self.table.as_deref());
        object.optional_text("text", self.text.as_deref());
        object.optional_quoted("valid_from", self.valid_from);
        object.optional_quoted("valid_until", self.valid_until);
        self.value.write_canonical(object, "value");
        if let Some(values) = &self.values {
            object.map("values", values, |map, name, value| value.write_member(map, name));
        }
        object.bare("version", self.version);
    }

    /// Checks the fields that every kind has.
    ///
    /// # Errors
    /// The first field that is not as the contract says.
    pub fn check(&self) -> Checked {
        check::word(
            "kind",
            &self.kind,
            &["rules", "reference", "approval", "period", "outcome", "tick"],
        )?;
        check::id("id", &self.id)?;
        check::version(self.version)?;
        check::time("effective_at", self.effective_at)?;
        check::id("recorded_by", &self.recorded_by)?;
        check::optional_time("valid_from", self.valid_from)?;
        check::optional_time("valid_until", self.valid_until)?;
        for (field, id) in [
            ("table", &self.table),
            ("source", &self.source),
            ("row_id", &self.row_id),
            ("column", &self.column),
            ("editor", &self.editor),
            ("approver", &self.approver),
            ("period", &self.period),
            ("state", &self.state),
            ("order_id", &self.order_id),
            ("outcome", &self.outcome),
            ("legal_entity", &self.legal_entity),
        ] {
            check::optional_id(field, id.as_deref())?;
        }
        self.check_values()
    }

    fn check_values(&self) -> Checked {
        const MAX_TEXT_BYTES: usize = 512 * 1024;
        /// A key may hold the values of several columns.
        const MAX_KEY_BYTES: usize = 4_000;
        if let Some(text) = &self.text {
            check::text("text", text)?;
            if text.len() > MAX_TEXT_BYTES {
                return Err(FieldError::new("text", "is longer than 512 KiB"));
            }
        }
        if let Some(key) = &self.key {
            check::text("key", key)?;
            if !(1..=MAX_KEY_BYTES).contains(&key.len()) {
                let reason = format!("needs 1 to {MAX_KEY_BYTES} bytes");
                return Err(FieldError::new("key", reason));
            }
        }
        if let ColumnValue::Text(text) = &self.value {
            check::text("value", text)?;
        }
        let values = self.values.iter().flatten();
        let mut bytes = 0;
        for (name, value) in values {
            check::id("values", name)?;
            bytes += name.len();
            if let ColumnValue::Text(text) = value {
                check::text(&format!("values.{name}"), text)?;
                bytes += text.len();
            }
        }
        if bytes > check::MAX_COLUMN_BYTES {
            return Err(FieldError::new(
                "values",
                "holds more than 64 KiB of names and texts",
            ));
        }
        Ok(())
    }
}
