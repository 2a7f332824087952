//! Who may edit a source's rows.

/// Patterns of editors: `*` stands for any text, everything else for itself, ASCII case ignored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Editors {
    patterns: Vec<String>,
}

/// A pattern that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BadPattern {
    /// Its place in the list, from 0.
    pub(crate) place: usize,
    /// What is wrong, and what to do.
    pub(crate) reason: String,
}

impl Editors {
    /// Patterns as the rule file has them.
    ///
    /// # Errors
    /// A pattern that is empty and so can match nobody, or whose editors another one allows already.
    pub(crate) fn new(patterns: Vec<String>) -> Result<Self, BadPattern> {
        for (place, pattern) in patterns.iter().enumerate() {
            if pattern.is_empty() {
                let reason = "is \"\"; a pattern is a name in which `*` stands for anything".to_owned();
                return Err(BadPattern { place, reason });
            }
            let mut others = patterns.iter().enumerate().filter(|(other, _)| *other != place);
            // Of two patterns that cover each other the later one is the one to remove.
            let cover =
                others.find(|(other, by)| covers(by, pattern) && (*other < place || !covers(pattern, by)));
            if let Some((_, cover)) = cover {
                let reason = format!("is {pattern:?}, whose editors {cover:?} allows already: remove it");
                return Err(BadPattern { place, reason });
            }
        }
        Ok(Self { patterns })
    }

    /// The patterns as they were given.
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }

    /// Whether an editor is one of them.
    pub fn allow(&self, editor: &str) -> bool {
        self.patterns.iter().any(|pattern| matches(pattern, editor))
    }
}

/// Whether every editor that a pattern allows is allowed by another one. A `*` is a character that only a `*` matches, so
/// that it stands for all that it may be.
fn covers(by: &str, pattern: &str) -> bool {
    matches(by, pattern)
}

/// The first part must begin the text, the last one end it, and those between follow one another.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(first) else {
        return false;
    };
    let (between, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in between.split('*') {
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_star_is_special_and_ascii_case_is_ignored() {
        for (pattern, editor, expected) in [
            ("*@example.com", "Ann@Example.COM", true),
            ("*@example.com", "ann@example.com.evil", false),
            ("api-billing", "API-billing", true),
            ("api-billing", "api-billing-2", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("ab*ba", "aba", false),
            ("*", "", true),
            ("**", "x", true),
            ("a?c", "abc", false),
            ("[ab]", "a", false),
            ("ä*", "Äx", false),
        ] {
            assert_eq!(matches(pattern, editor), expected, "{pattern} {editor}");
        }
    }
}
