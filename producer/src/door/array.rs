//! A JSON body cut into its events, without reading them.

use std::fmt;

use serde::de::{Deserializer as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The events of a body that is whole JSON.
pub(crate) struct Elements<'a> {
    /// The first ones, up to the limit.
    pub(crate) kept: Vec<&'a RawValue>,
    /// How many there are.
    pub(crate) number: usize,
}

/// The elements of an array, or the one value that stands without an array. Nested values are skipped over
/// without recursion, so their depth does not matter.
pub(crate) fn elements(text: &str, limit: usize) -> Result<Elements<'_>, serde_json::Error> {
    let is_array = text.trim_start().starts_with('[');
    let mut reader = serde_json::Deserializer::from_str(text);
    if is_array {
        let elements = reader.deserialize_seq(Keep { limit })?;
        reader.end()?;
        return Ok(elements);
    }
    let kept = vec![serde_json::from_str(text)?];
    Ok(Elements { kept, number: 1 })
}

struct Keep {
    limit: usize,
}

impl<'de> Visitor<'de> for Keep {
    type Value = Elements<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < self.limit
            && let Some(element) = elements.next_element()?
        {
            kept.push(element);
        }
        let mut number = kept.len();
        // The rest is counted without being kept: a broken end outranks too many elements.
        while elements.next_element::<IgnoredAny>()?.is_some() {
            number += 1;
        }
        Ok(Elements { kept, number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_is_cut_into_its_elements_and_only_the_first_are_kept() {
        let elements = elements(" [1, {\"a\":[2]}, \"]\", null]\n", 2).unwrap();
        let kept: Vec<&str> = elements.kept.iter().map(|element| element.get()).collect();
        assert_eq!((kept, elements.number), (vec!["1", "{\"a\":[2]}"], 4));
    }

    #[test]
    fn what_is_broken_as_json_has_no_elements() {
        for text in [
            "",
            " ",
            "[",
            "[1",
            "[1,]",
            "[1] 2",
            "{",
            "{\"a\":1}{",
            "[1,2,3,x]",
        ] {
            assert!(elements(text, 2).is_err(), "{text}");
        }
    }

    #[test]
    fn depth_does_not_matter() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(elements(&deep, 2).unwrap().number, 1);
        assert!(elements(&"[".repeat(100_000), 2).is_err());
    }
}
