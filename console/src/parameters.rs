//! Parameters of an address: every one is known and read as a whole, or the request is refused by its name.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use redline_http::{Kind, Problem};
use redline_schemas::Timestamp;

/// Items of a page when nobody says otherwise.
const DEFAULT_LIMIT: usize = 100;
/// Items of a page, at most.
const MAX_LIMIT: usize = 1_000;
/// Characters of an id.
const MAX_ID: usize = 200;
/// Characters of a value that an answer repeats.
const SHOWN: usize = 100;

/// The parameters of one request.
#[derive(Debug)]
pub(crate) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Reads what stands behind the `?`. Every name must be among the known ones, and stand there once.
    pub(crate) fn read(query: Option<&str>, known: &[&str]) -> Result<Self, Box<Problem>> {
        let mut values = BTreeMap::new();
        for pair in query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).ok_or_else(|| unknown(name, known))?;
            if !known.contains(&name.as_str()) {
                return Err(unknown(&name, known));
            }
            let value = decode(value).ok_or_else(|| wrong(&name, value, "percent-encoded UTF-8"))?;
            if values.contains_key(&name) {
                let detail = format!("`{name}` stands there more than once; one value is expected");
                return Err(Problem::new(Kind::BadParameter, detail).with("parameter", &name));
            }
            values.insert(name, value);
        }
        Ok(Self(values))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A source or an id.
    pub(crate) fn id(&self, name: &str) -> Result<Option<String>, Box<Problem>> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        if !is_id(value) {
            let expected = "an id of 1 to 200 characters without control characters";
            return Err(wrong(name, value, expected));
        }
        Ok(Some(value.to_owned()))
    }

    /// A word such as a kind; new ones may come.
    pub(crate) fn word(&self, name: &str) -> Result<Option<String>, Box<Problem>> {
        let is_word = |value: &str| {
            (1..=64).contains(&value.len())
                && value
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        match self.get(name) {
            Some(value) if !is_word(value) => Err(wrong(name, value, "a word such as `retroactive_change`")),
            value => Ok(value.map(str::to_owned)),
        }
    }

    /// One of these words.
    pub(crate) fn one_of(&self, name: &str, words: &[&str]) -> Result<Option<String>, Box<Problem>> {
        match self.get(name) {
            Some(value) if !words.contains(&value) => Err(wrong(name, value, &alternatives(words))),
            value => Ok(value.map(str::to_owned)),
        }
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, Box<Problem>> {
        let word = self.one_of(name, &["true", "false"])?;
        Ok(word.map(|word| word == "true"))
    }

    /// An instant.
    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, Box<Problem>> {
        let expected =
            "a time such as 2026-03-02T09:58:11Z (RFC 3339, years 1900 to 2200, a `+` written as %2B)";
        self.get(name)
            .map(|value| Timestamp::parse(value).map_err(|_| wrong(name, value, expected)))
            .transpose()
    }

    /// Items of the page.
    pub(crate) fn limit(&self) -> Result<usize, Box<Problem>> {
        let Some(value) = self.get("limit") else {
            return Ok(DEFAULT_LIMIT);
        };
        let number = Some(value)
            .filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|value| value.parse().ok());
        number
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .ok_or_else(|| wrong("limit", value, "a whole number from 1 to 1000"))
    }

    /// The cursor behind which the page begins.
    pub(crate) fn after(&self) -> Option<&str> {
        self.get("after")
    }
}

/// Whether a text can be an id at all.
pub(crate) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= MAX_ID && !text.chars().any(char::is_control)
}

/// A problem about a parameter's value.
pub(crate) fn wrong(name: &str, value: &str, expected: &str) -> Box<Problem> {
    let value = shortened(value);
    let detail = format!("`{name}` is `{value}`; {expected} is expected");
    Problem::new(Kind::BadParameter, detail).with("parameter", &name)
}

fn unknown(name: &str, known: &[&str]) -> Box<Problem> {
    let name = shortened(name);
    let detail = match known {
        [] => format!("`{name}` is no parameter here; there are none"),
        known => format!("`{name}` is no parameter here; there are {}", known.join(", ")),
    };
    Problem::new(Kind::BadParameter, detail).with("parameter", &name)
}

fn shortened(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

fn alternatives(words: &[&str]) -> String {
    words
        .iter()
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(" or ")
}

/// As a form writes it: `+` is a space. None when it is no UTF-8.
fn decode(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(decoded.into_owned())
}
