//! Rule files: TOML, read whole or refused with the line, the key and what is expected there.

mod place;
mod source;
mod tables;

use std::fmt;

use redline_schemas::ContentHash;

use self::place::{line_at, line_of, path_at, shown};
use self::source::source_rules;
use self::tables::FileOfRules;
pub(crate) use self::tables::OwnRuleTable;
use crate::rules::RuleSet;

/// Why a rule file is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// The line of the key, from 1, where it is known.
    pub line: Option<usize>,
    /// The key with all that it lies in; empty for what is no TOML.
    pub key: String,
    /// What is wrong, and what is expected.
    pub reason: String,
}

impl std::error::Error for RuleError {}

impl fmt::Display for RuleError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(out, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(out, "{} ", self.key)?;
        }
        out.write_str(&self.reason)
    }
}

impl RuleError {
    /// What the TOML reader says: no TOML, a key that is not known, a value of another type.
    fn of_toml(error: &toml::de::Error, text: &str) -> Self {
        let path = error.span().and_then(|span| path_at(text, &span));
        let message = error.message();
        let is_sentence = path.is_none() || message.starts_with("is ");
        let reason = match is_sentence {
            true => message.to_owned(),
            false => format!("cannot be used: {message}"),
        };
        Self {
            line: error.span().map(|span| line_at(text, span.start)),
            key: path.map_or_else(String::new, |path| shown(&path)),
            reason,
        }
    }
}

/// A key that cannot be used: the names on the way to it, and a reason.
pub(crate) struct Refusal {
    /// From within the source's table; a number is a place in a list.
    path: Vec<String>,
    /// What is wrong, and what is expected.
    reason: String,
}

impl Refusal {
    pub(crate) fn new<const N: usize>(path: [&str; N], reason: impl Into<String>) -> Self {
        Self {
            path: path.iter().map(|name| (*name).to_owned()).collect(),
            reason: reason.into(),
        }
    }

    fn of(self, source: &str, text: &str) -> RuleError {
        let path: Vec<String> = ["sources".to_owned(), source.to_owned()]
            .into_iter()
            .chain(self.path)
            .collect();
        RuleError {
            line: line_of(text, &path),
            key: shown(&path),
            reason: self.reason,
        }
    }
}

impl RuleSet {
    /// Reads a rule file.
    ///
    /// # Errors
    /// The key that cannot be used, and what is expected.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let of_toml = |error: toml::de::Error| RuleError::of_toml(&error, text);
        let file: FileOfRules = toml::from_str(text).map_err(of_toml)?;
        let whole: toml::Table = toml::from_str(text).map_err(of_toml)?;
        let sources = file
            .sources
            .into_iter()
            .map(|(source, table)| {
                let hash = hash_of(whole.get("sources").and_then(|sources| sources.get(&source)));
                let rules = source_rules(table, hash).map_err(|refusal| refusal.of(&source, text))?;
                Ok((source, rules))
            })
            .collect::<Result<_, RuleError>>()?;
        Ok(Self::new(sources))
    }
}

/// The hash of a source's table, the same whatever the order of its keys.
fn hash_of(table: Option<&toml::Value>) -> String {
    let json = serde_json::json!(table);
    ContentHash::of(json.to_string().as_bytes()).to_string()
}
