//! Whether two names are those of one person.

/// Whether two names are the same to whoever reads them: case, blanks around them and characters that nobody sees are
/// ignored. Four eyes must not become two by a letter that cannot be seen.
pub fn is_same_person(one: &str, other: &str) -> bool {
    seen(one) == seen(other)
}

fn seen(name: &str) -> String {
    let visible: String = name
        .chars()
        .filter(|character| !is_invisible(*character))
        .collect();
    visible.trim().to_lowercase()
}

/// Zero-width and formatting characters, and other white space than the blank.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
        || (character.is_whitespace() && character != ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_makes_no_other_person() {
        for other in [
            "ANN@example.com",
            "ann@example.com ",
            " ann@example.com",
            "ann@example.com\u{200b}",
            "a\u{ad}nn@example.com",
            "ann@example.com\u{a0}",
        ] {
            assert!(is_same_person("ann@example.com", other), "{other:?}");
        }
        assert!(is_same_person("änn", "ÄNN"));
        assert!(!is_same_person("ann@example.com", "anne@example.com"));
        assert!(!is_same_person("ann lee", "annlee"));
    }
}
