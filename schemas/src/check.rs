//! The limits that every event keeps, whichever way it came in.

use crate::time::{Date, Timestamp, check_month};

/// Characters in an id.
pub const MAX_ID_CHARACTERS: usize = 200;
/// Columns of one row.
pub const MAX_COLUMNS: usize = 500;
/// Bytes of all column names and texts of one row.
pub const MAX_COLUMN_BYTES: usize = 64 * 1024;
/// Bytes of a link.
const MAX_LINK_BYTES: usize = 2_000;
/// Greatest version: flag ids are JSON by RFC 8785, whose numbers are exact up to here (2^53 - 1).
pub const MAX_VERSION: i64 = 9_007_199_254_740_991;

/// A field that is not as the contract says.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{field}` {reason}")]
pub struct FieldError {
    /// Name of the field, with dots inside of maps (`columns.Quantity`).
    pub field: String,
    /// What is wrong and what is expected, as the rest of a sentence that begins with the field.
    pub reason: String,
}

impl FieldError {
    /// An error about one field.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason: reason.into(),
        }
    }
}

/// What every check answers.
pub type Checked = Result<(), FieldError>;

/// An id: 1 to 200 characters, no control characters.
///
/// # Errors
/// What is expected instead.
pub fn id(field: &str, text: &str) -> Checked {
    if text.is_empty() {
        return Err(FieldError::new(
            field,
            "is empty; 1 to 200 characters are expected",
        ));
    }
    if text.len() > MAX_ID_CHARACTERS && text.chars().count() > MAX_ID_CHARACTERS {
        return Err(FieldError::new(field, "is longer than 200 characters"));
    }
    if text.chars().any(char::is_control) {
        return Err(FieldError::new(field, "contains a control character"));
    }
    Ok(())
}

/// An id that is also the first part of a key, hence without `/`.
///
/// # Errors
/// What is expected instead.
pub fn source_id(field: &str, text: &str) -> Checked {
    id(field, text)?;
    if text.contains('/') {
        return Err(FieldError::new(
            field,
            "contains `/`, which divides the parts of a key",
        ));
    }
    Ok(())
}

/// An id that may be absent.
pub(crate) fn optional_id(field: &str, text: Option<&str>) -> Checked {
    text.map_or(Ok(()), |text| id(field, text))
}

/// A version from 0 to 2^53 - 1.
pub(crate) fn version(version: i64) -> Checked {
    if (0..=MAX_VERSION).contains(&version) {
        return Ok(());
    }
    Err(FieldError::new(
        "version",
        "is not a whole number from 0 to 9007199254740991",
    ))
}

/// One of a fixed set of words.
///
/// # Errors
/// What is expected instead.
pub fn word(field: &str, text: &str, words: &[&str]) -> Checked {
    if words.contains(&text) {
        return Ok(());
    }
    Err(FieldError::new(
        field,
        format!("is not one of {}", words.join(", ")),
    ))
}

/// An instant in the years 1900 to 2200.
pub(crate) fn time(field: &str, time: Timestamp) -> Checked {
    if time.is_in_range() {
        return Ok(());
    }
    Err(FieldError::new(field, "lies outside the years 1900 to 2200"))
}

/// An instant that may be absent.
///
/// # Errors
/// What is expected instead.
pub fn optional_time(field: &str, value: Option<Timestamp>) -> Checked {
    value.map_or(Ok(()), |value| time(field, value))
}

/// A day that may be absent, in the years 1900 to 2200.
pub(crate) fn optional_date(field: &str, value: Option<Date>) -> Checked {
    if value.is_none_or(Date::is_in_range) {
        return Ok(());
    }
    Err(FieldError::new(field, "lies outside the years 1900 to 2200"))
}

/// A month `YYYY-MM`.
pub(crate) fn month(field: &str, text: &str) -> Checked {
    check_month(text).map_err(|reason| FieldError::new(field, reason))
}

/// A currency code of ISO 4217: three capital letters.
pub(crate) fn currency(text: &str) -> Checked {
    if text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Ok(());
    }
    Err(FieldError::new(
        "currency",
        "is not a currency code such as USD (ISO 4217, three capital letters)",
    ))
}

/// A country code of ISO 3166-1: two capital letters, or absent.
pub(crate) fn optional_country(field: &str, text: Option<&str>) -> Checked {
    if text.is_none_or(|text| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase())) {
        return Ok(());
    }
    Err(FieldError::new(
        field,
        "is not a country code such as US (ISO 3166-1, two capital letters)",
    ))
}

/// An http or https address, or absent.
pub(crate) fn optional_link(text: Option<&str>) -> Checked {
    let Some(text) = text else { return Ok(()) };
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    if text.len() > MAX_LINK_BYTES {
        return Err(FieldError::new("link", "is longer than 2000 bytes"));
    }
    if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) {
        return Err(FieldError::new("link", "is not an http or https address"));
    }
    if text
        .chars()
        .any(|character| character.is_control() || character.is_whitespace())
    {
        return Err(FieldError::new(
            "link",
            "contains white space or a control character",
        ));
    }
    Ok(())
}

/// Free text. Postgres holds no U+0000, so nothing that is recorded may contain it.
///
/// # Errors
/// What is expected instead.
pub fn text(field: &str, text: &str) -> Checked {
    if text.contains('\0') {
        return Err(FieldError::new(field, "contains the character U+0000"));
    }
    Ok(())
}
