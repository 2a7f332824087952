//! The canonical form of an event's content and its hash.
//!
//! The canonical form is one JSON object, as RFC 8785 writes it: keys sorted by UTF-16 code units, no white
//! space, strings with the shortest escapes. Two things are our own: amounts are JSON numbers written as exact
//! decimals (RFC 8785 would round them through a double), and what is absent, false (`completed`) or an
//! empty map is left out, so that a field added later does not change the hash of older events.
//! `observed_at` is no content. The form is itself a valid body for the HTTP door once `observed_at` is added.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use sha2::{Digest, Sha256};

use crate::amount::Amount;
use crate::time::Timestamp;

/// SHA-256 of a canonical form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(pub [u8; 32]);

impl ContentHash {
    /// The hash of any bytes: of a canonical form, or of a raw value that could not be read.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

/// Writes one JSON object, member by member; the caller names the members in sorted order.
pub(crate) struct Object<'a> {
    out: &'a mut String,
    empty: bool,
}

impl<'a> Object<'a> {
    pub(crate) fn open(out: &'a mut String) -> Self {
        out.push('{');
        Self { out, empty: true }
    }

    pub(crate) fn close(self) {
        self.out.push('}');
    }

    fn name(&mut self, name: &str) {
        if !self.empty {
            self.out.push(',');
        }
        self.empty = false;
        push_text(self.out, name);
        self.out.push(':');
    }

    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        push_text(self.out, value);
    }

    pub(crate) fn optional_text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// Numbers, amounts and whatever else is written as it displays itself.
    pub(crate) fn bare(&mut self, name: &str, value: impl fmt::Display) {
        self.name(name);
        push_display(self.out, value);
    }

    /// Times and days: quoted as they display themselves, or left out.
    pub(crate) fn optional_quoted(&mut self, name: &str, value: Option<impl fmt::Display>) {
        if let Some(value) = value {
            self.name(name);
            self.out.push('"');
            push_display(self.out, value);
            self.out.push('"');
        }
    }

    /// A map in the order of UTF-16 code units, or left out when it is empty.
    pub(crate) fn map<V>(
        &mut self,
        name: &str,
        map: &BTreeMap<String, V>,
        mut member: impl FnMut(&mut Object<'_>, &str, &V),
    ) {
        if map.is_empty() {
            return;
        }
        self.name(name);
        let mut inner = Object::open(self.out);
        if map.keys().all(|key| key.is_ascii()) {
            map.iter().for_each(|(key, value)| member(&mut inner, key, value));
        } else {
            let mut sorted: Vec<_> = map.iter().collect();
            sorted.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            sorted
                .into_iter()
                .for_each(|(key, value)| member(&mut inner, key, value));
        }
        inner.close();
    }

    /// An object inside this one.
    pub(crate) fn object(&mut self, name: &str, write: impl FnOnce(&mut Object<'_>)) {
        self.name(name);
        let mut inner = Object::open(self.out);
        write(&mut inner);
        inner.close();
    }

    pub(crate) fn amount(&mut self, name: &str, value: Amount) {
        self.bare(name, value);
    }

    pub(crate) fn time(&mut self, name: &str, value: Timestamp) {
        self.optional_quoted(name, Some(value));
    }
}

fn push_display(out: &mut String, value: impl fmt::Display) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{value}");
}

/// A JSON string with the escapes of RFC 8785.
pub(crate) fn push_text(out: &mut String, text: &str) {
    out.push('"');
    let mut clean = 0;
    for (position, byte) in text.bytes().enumerate() {
        let short = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            0x08 => "\\b",
            0x09 => "\\t",
            0x0a => "\\n",
            0x0c => "\\f",
            0x0d => "\\r",
            0x00..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[clean..position]);
        clean = position + 1;
        if short.is_empty() {
            push_display(out, format_args!("\\u{byte:04x}"));
        } else {
            out.push_str(short);
        }
    }
    out.push_str(&text[clean..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_is_escaped_as_serde_json_escapes_it(text in any::<String>()) {
            let mut out = String::new();
            push_text(&mut out, &text);
            prop_assert_eq!(out, serde_json::to_string(&text).expect("text is JSON"));
        }
    }

    #[test]
    fn keys_are_sorted_by_utf16_code_units() {
        // RFC 8785, section 3.2.3: U+1F600 comes before U+FB33, whose UTF-8 comes first.
        let map = BTreeMap::from([
            ("\u{fb33}".to_owned(), 1),
            ("\u{1f600}".to_owned(), 2),
            ("a".to_owned(), 3),
        ]);
        let mut out = String::new();
        let mut object = Object::open(&mut out);
        object.map("m", &map, |inner, key, value| inner.bare(key, value));
        object.close();
        assert_eq!(out, "{\"m\":{\"a\":3,\"\u{1f600}\":2,\"\u{fb33}\":1}}");
    }
}
