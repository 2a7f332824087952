//! Reading JSON at the door: exact numbers, every field named, unknown and repeated fields refused.
//!
//! Values are kept as the text they were sent in until their field is known, so no number passes through
//! floating point, and nesting deeper than the contract's is refused without being parsed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::amount::{Amount, AmountError};
use crate::check::{FieldError, MAX_COLUMNS};
use crate::row::ColumnValue;
use crate::time::{Date, Timestamp};

/// Members of one JSON object that have not been asked for yet.
pub(crate) struct Fields<'a> {
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// What goes before a field's name in errors, with its dot.
    prefix: String,
}

impl<'a> Fields<'a> {
    /// Reads one JSON object.
    ///
    /// # Errors
    /// When it is no JSON object, or names a field twice.
    pub(crate) fn parse(text: &'a str) -> Result<Self, FieldError> {
        Self::parse_within("", text)
    }

    fn parse_within(prefix: &str, text: &'a str) -> Result<Self, FieldError> {
        let members = members(text).map_err(|reason| match prefix {
            "" => FieldError::new("", reason),
            _ => FieldError::new(prefix.trim_end_matches('.'), reason),
        })?;
        let mut seen = std::collections::HashSet::with_capacity(members.len());
        for (name, _) in &members {
            if !seen.insert(name) {
                return Err(FieldError::new(format!("{prefix}{name}"), "is named twice"));
            }
        }
        Ok(Self {
            members,
            prefix: prefix.to_owned(),
        })
    }

    /// Takes a field out; a JSON null counts as absent.
    fn take(&mut self, name: &str) -> Option<&'a str> {
        let position = self.members.iter().position(|(member, _)| member == name)?;
        let (_, value) = self.members.swap_remove(position);
        (value.get() != "null").then(|| value.get())
    }

    fn error(&self, name: &str, reason: impl Into<String>) -> FieldError {
        FieldError::new(format!("{}{name}", self.prefix), reason)
    }

    fn required<T>(&self, name: &str, value: Option<T>) -> Result<T, FieldError> {
        value.ok_or_else(|| self.error(name, "is missing"))
    }

    /// Text, or absent.
    pub(crate) fn optional_text(&mut self, name: &str) -> Result<Option<String>, FieldError> {
        self.take(name)
            .map(|value| json_text(value).unwrap_or_else(|| Err("is not text in quotes".to_owned())))
            .transpose()
            .map_err(|reason| self.error(name, reason))
    }

    /// Text that must be there.
    pub(crate) fn text(&mut self, name: &str) -> Result<String, FieldError> {
        let value = self.optional_text(name)?;
        self.required(name, value)
    }

    /// A whole number, or absent.
    pub(crate) fn optional_integer(&mut self, name: &str) -> Result<Option<i64>, FieldError> {
        self.take(name)
            .map(|value| {
                value
                    .parse()
                    .map_err(|_| self.error(name, "is not a whole number within 64 bits"))
            })
            .transpose()
    }

    /// A whole number that must be there.
    pub(crate) fn integer(&mut self, name: &str) -> Result<i64, FieldError> {
        let value = self.optional_integer(name)?;
        self.required(name, value)
    }

    /// True or false; absent is false.
    pub(crate) fn boolean(&mut self, name: &str) -> Result<bool, FieldError> {
        match self.take(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(self.error(name, "is neither true nor false")),
        }
    }

    /// An amount that must be there: a JSON number, or its text.
    pub(crate) fn amount(&mut self, name: &str) -> Result<Amount, FieldError> {
        let value = self.optional_amount(name)?;
        self.required(name, value)
    }

    /// An amount, or absent.
    pub(crate) fn optional_amount(&mut self, name: &str) -> Result<Option<Amount>, FieldError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let amount = match json_text(value) {
            Some(text) => text.and_then(|text| text.parse().map_err(|error: AmountError| error.to_string())),
            None => Amount::from_json_number(value).map_err(|error| error.to_string()),
        };
        amount.map(Some).map_err(|reason| self.error(name, reason))
    }

    /// A column's value; absent is null.
    pub(crate) fn column_value(&mut self, name: &str) -> Result<ColumnValue, FieldError> {
        let value = self.take(name).map_or(Ok(ColumnValue::Null), column_value);
        value.map_err(|reason| self.error(name, reason))
    }

    /// An instant, or absent.
    pub(crate) fn optional_time(&mut self, name: &str) -> Result<Option<Timestamp>, FieldError> {
        self.optional_text(name)?
            .map(|text| Timestamp::parse(&text).map_err(|reason| self.error(name, reason)))
            .transpose()
    }

    /// An instant that must be there.
    pub(crate) fn time(&mut self, name: &str) -> Result<Timestamp, FieldError> {
        let value = self.optional_time(name)?;
        self.required(name, value)
    }

    /// A day, or absent.
    pub(crate) fn optional_date(&mut self, name: &str) -> Result<Option<Date>, FieldError> {
        self.optional_text(name)?
            .map(|text| Date::parse(&text).map_err(|reason| self.error(name, reason)))
            .transpose()
    }

    /// An object inside this one, or absent.
    pub(crate) fn optional_object(&mut self, name: &str) -> Result<Option<Fields<'a>>, FieldError> {
        let inner = format!("{}{name}.", self.prefix);
        self.take(name)
            .map(|value| Self::parse_within(&inner, value))
            .transpose()
    }

    /// A map of named objects; absent is empty.
    pub(crate) fn objects<T>(
        &mut self,
        name: &str,
        read: impl Fn(&mut Fields<'a>) -> Result<T, FieldError>,
    ) -> Result<BTreeMap<String, T>, FieldError> {
        let Some(map) = self.optional_object(name)? else {
            return Ok(BTreeMap::new());
        };
        map.check_size(name)?;
        let mut out = BTreeMap::new();
        for (key, value) in map.members {
            let mut inner = Self::parse_within(&format!("{}{key}.", map.prefix), value.get())?;
            let item = read(&mut inner)?;
            inner.finish()?;
            out.insert(key.into_owned(), item);
        }
        Ok(out)
    }

    /// A map of column values; absent is empty.
    pub(crate) fn columns(&mut self, name: &str) -> Result<BTreeMap<String, ColumnValue>, FieldError> {
        Ok(self.optional_columns(name)?.unwrap_or_default())
    }

    /// A map of column values, or absent.
    pub(crate) fn optional_columns(
        &mut self,
        name: &str,
    ) -> Result<Option<BTreeMap<String, ColumnValue>>, FieldError> {
        let Some(map) = self.optional_object(name)? else {
            return Ok(None);
        };
        map.check_size(name)?;
        map.into_columns().map(Some)
    }

    /// All members as column values.
    pub(crate) fn into_columns(self) -> Result<BTreeMap<String, ColumnValue>, FieldError> {
        self.members
            .iter()
            .map(|(key, value)| {
                let value = column_value(value.get()).map_err(|reason| self.error(key, reason))?;
                Ok((key.as_ref().to_owned(), value))
            })
            .collect()
    }

    /// Refuses a huge map before its values are read.
    fn check_size(&self, name: &str) -> Result<(), FieldError> {
        if self.members.len() > MAX_COLUMNS {
            return Err(FieldError::new(name, "has more than 500 members"));
        }
        Ok(())
    }

    /// Refuses whatever field nobody asked for.
    pub(crate) fn finish(self) -> Result<(), FieldError> {
        match self.members.iter().map(|(name, _)| name).min() {
            Some(name) => Err(self.error(name, "is no field of this event")),
            None => Ok(()),
        }
    }
}

/// The members of a JSON object, in the order they were sent.
fn members(text: &str) -> Result<Vec<(Cow<'_, str>, &RawValue)>, String> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

        fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            out.write_str("a JSON object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some((Name(name), value)) = map.next_entry()? {
                members.push((name, value));
            }
            Ok(members)
        }
    }
    if !text.trim_start().starts_with('{') && serde_json::from_str::<&RawValue>(text).is_ok() {
        return Err("is not a JSON object".to_owned());
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let members = reader.deserialize_map(Members).map_err(|error| explain(&error))?;
    reader.end().map_err(|error| explain(&error))?;
    Ok(members)
}

fn explain(error: &serde_json::Error) -> String {
    format!("is not valid JSON: {error}")
}

/// A member's name, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// The text of a JSON string; none for any other value.
fn json_text(raw: &str) -> Option<Result<String, String>> {
    // The rest of its syntax was checked when it was cut out.
    let half_a_pair =
        |_| "holds half of a surrogate pair, which is no character; send both halves".to_owned();
    raw.starts_with('"')
        .then(|| serde_json::from_str(raw).map_err(half_a_pair))
}

/// A JSON number is an amount, a JSON string is text.
fn column_value(raw: &str) -> Result<ColumnValue, String> {
    if let Some(text) = json_text(raw) {
        return text.map(ColumnValue::Text);
    }
    match raw.as_bytes().first() {
        Some(b'n') => Ok(ColumnValue::Null),
        Some(b't') => Ok(ColumnValue::Boolean(true)),
        Some(b'f') => Ok(ColumnValue::Boolean(false)),
        Some(b'-' | b'0'..=b'9') => Amount::from_json_number(raw)
            .map(ColumnValue::Amount)
            .map_err(|error| error.to_string()),
        _ => Err("is neither null, true, false, a number nor text".to_owned()),
    }
}
