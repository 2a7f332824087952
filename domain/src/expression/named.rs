//! Which columns an expression names, told from its text before it is compiled.

/// Words that would make an expression go on.
const LOOPS: [&str; 4] = ["while", "loop", "do", "for"];

/// The names that an expression may use beside its columns.
const NAMES: [&str; 4] = ["true", "false", "abs", "amount"];
/// The characters that operators, brackets and parameters are made of.
const SIGNS: &str = "[]()+-*=!<>&|,";

/// Every `before["…"]` and `after["…"]` of an expression. Whatever else follows those names is refused, and so is
/// every other name and sign that the language does not document, so that no column escapes the look.
pub(super) fn named_columns(text: &str) -> Result<Vec<(&'static str, String)>, String> {
    let mut named = Vec::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if character == '"' {
            rest = after_text(rest)
                .ok_or("holds a text without its closing quote")?
                .1;
        } else if character.is_alphabetic() || character == '_' {
            let end = rest
                .find(|other: char| !(other.is_alphanumeric() || other == '_'))
                .unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            rest = behind;
            if LOOPS.contains(&word) {
                return Err(format!(
                    "holds `{word}`: a rule is one expression that ends, without loops"
                ));
            }
            if NAMES.contains(&word) {
                continue;
            }
            let Some(version) = ["before", "after"].into_iter().find(|version| *version == word) else {
                return Err(format!(
                    "names `{word}`, which a rule does not know: before[\"…\"], after[\"…\"], abs(…), amount(\"…\"), \
                     true and false are allowed, and text stands in double quotes"
                ));
            };
            let column = behind
                .trim_start()
                .strip_prefix('[')
                .map(str::trim_start)
                .and_then(after_text)
                .filter(|(_, behind)| behind.trim_start().starts_with(']'));
            let Some((column, behind)) = column else {
                return Err(format!(
                    "names `{version}` without a column: {version}[\"Quantity\"] is expected"
                ));
            };
            named.push((version, column.to_owned()));
            rest = behind;
        } else if character.is_ascii_digit() {
            rest = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
            if rest.starts_with('.') {
                return Err("holds a number with a point: amount(\"1.05\") is expected".to_owned());
            }
        } else if rest.starts_with("//") || rest.starts_with("/*") {
            return Err("holds a comment: write it beside the rule, behind a #".to_owned());
        } else if SIGNS.contains(character) || character.is_whitespace() {
            rest = &rest[character.len_utf8()..];
        } else {
            return Err(format!(
                "holds `{character}` outside of a text in double quotes, which means nothing in a rule: + - * == != < <= > \
                 >= && || ! and parentheses are allowed"
            ));
        }
    }
    Ok(named)
}

/// A text in quotes at the beginning, without escapes, and what follows it.
fn after_text(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('"')?;
    let (column, behind) = inner.split_once('"')?;
    (!column.contains('\\')).then_some((column, behind))
}
