//! Rules of one's own: an expression over the columns before and after, such as
//! `after["Total"] > 2 * before["Total"]`.
//!
//! Amounts are exact: whole numbers and columns are computed in 256 bits and never in floating point, and there is no
//! division. An absent or null column counts as zero in arithmetic and in comparisons with amounts. An evaluation is bounded in
//! steps and depth, so that it ends, and the same on every machine.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use redline_schemas::row::RowEvent;
use redline_schemas::{Amount, ColumnValue};
use rhai::{AST, Dynamic, Engine, EvalAltResult, ImmutableString, Scope};

use crate::change::read;
use crate::rules::ColumnType;

/// Steps of one evaluation, at most.
const MAX_STEPS: u64 = 10_000;
/// Depth of an expression, at most.
const MAX_DEPTH: usize = 64;
/// Characters of an expression, at most.
const MAX_LENGTH: usize = 4_000;

/// Words that would make an expression go on.
const LOOPS: [&str; 4] = ["while", "loop", "do", "for"];

/// An expression that was compiled.
#[derive(Clone, Debug)]
pub struct Expression {
    text: String,
    ast: AST,
    columns: Vec<String>,
    names_before: bool,
}

/// What an expression computed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Computed {
    /// True or false.
    Boolean(bool),
    /// An exact amount.
    Amount(Amount),
    /// Nothing: an absent column.
    Null,
}

/// The columns of one version that an expression names.
#[derive(Clone)]
struct Columns(Arc<BTreeMap<String, Dynamic>>);

impl Columns {
    fn of(row: &RowEvent, names: &[String]) -> Self {
        let value = |name: &String| match read(row, name, ColumnType::Amount) {
            ColumnValue::Null => Dynamic::UNIT,
            ColumnValue::Boolean(value) => value.into(),
            ColumnValue::Amount(amount) => Dynamic::from(amount),
            ColumnValue::Text(text) => text.into(),
        };
        Self(Arc::new(
            names.iter().map(|name| (name.clone(), value(name))).collect(),
        ))
    }
}

type Evaluated<T> = Result<T, Box<EvalAltResult>>;

impl Expression {
    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn compile(text: &str) -> Result<Self, String> {
        if text.chars().count() > MAX_LENGTH {
            return Err(format!("has more than {MAX_LENGTH} characters"));
        }
        let named = named_columns(text)?;
        let ast = ENGINE
            .compile_expression(text)
            .map_err(|error| format!("does not compile: {error}"))?;
        Ok(Self {
            text: text.to_owned(),
            ast,
            names_before: named.iter().any(|(version, _)| *version == "before"),
            columns: named.into_iter().map(|(_, column)| column).collect(),
        })
    }

    /// The text that was compiled.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The columns that it names.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Whether it names the version before.
    pub fn names_before(&self) -> bool {
        self.names_before
    }

    /// Computes it for two versions.
    ///
    /// # Errors
    /// A sentence: text where an amount is needed, a result out of range, too many steps.
    pub fn compute(&self, before: Option<&RowEvent>, after: &RowEvent) -> Result<Computed, String> {
        let mut scope = Scope::new();
        if let Some(before) = before {
            scope.push_constant("before", Columns::of(before, &self.columns));
        }
        scope.push_constant("after", Columns::of(after, &self.columns));
        let value = ENGINE
            .eval_ast_with_scope::<Dynamic>(&mut scope, &self.ast)
            .map_err(|error| plain(&error))?;
        if value.is_unit() {
            return Ok(Computed::Null);
        }
        if let Ok(boolean) = value.as_bool() {
            return Ok(Computed::Boolean(boolean));
        }
        amount_of(&value)
            .map(Computed::Amount)
            .map_err(|error| plain(&error))
    }
}

/// The words of an error without its position, which means nothing to those who see the flag.
fn plain(error: &EvalAltResult) -> String {
    match error {
        EvalAltResult::ErrorRuntime(message, _) => message.to_string(),
        EvalAltResult::ErrorTooManyOperations(_) => format!("it takes more than {MAX_STEPS} steps"),
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) => plain(inner),
        other => other.unwrap_inner().to_string(),
    }
}

/// Every `before["…"]` and `after["…"]` of an expression. Whatever else follows those names is refused, so that no column
/// escapes the look.
fn named_columns(text: &str) -> Result<Vec<(&'static str, String)>, String> {
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
            let Some(version) = ["before", "after"].into_iter().find(|version| *version == word) else {
                continue;
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
        } else {
            rest = &rest[character.len_utf8()..];
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

fn fail<T>(message: impl Into<String>) -> Evaluated<T> {
    Err(Box::new(EvalAltResult::ErrorRuntime(
        Dynamic::from(message.into()),
        rhai::Position::NONE,
    )))
}

/// An amount, a whole number, or nothing as zero.
fn amount_of(value: &Dynamic) -> Evaluated<Amount> {
    if value.is_unit() {
        return Ok(Amount::ZERO);
    }
    if let Ok(whole) = value.as_int() {
        return in_range(
            i128::from(whole)
                .checked_mul(1_000_000_000)
                .and_then(Amount::from_units),
        );
    }
    if let Some(amount) = value.read_lock::<Amount>() {
        return Ok(*amount);
    }
    match value.clone().into_immutable_string() {
        Ok(text) => fail(format!("{text:?} is no amount")),
        Err(_) => fail("true or false is no amount"),
    }
}

fn in_range(amount: Option<Amount>) -> Evaluated<Amount> {
    amount.map_or_else(
        || fail("the result has more than 29 digits before or 9 behind the point"),
        Ok,
    )
}

fn column(columns: &mut Columns, name: ImmutableString) -> Dynamic {
    columns.0.get(name.as_str()).cloned().unwrap_or(Dynamic::UNIT)
}

static ENGINE: LazyLock<Engine> = LazyLock::new(engine);

fn engine() -> Engine {
    let mut engine = Engine::new_raw();
    engine
        .set_max_operations(MAX_STEPS)
        .set_max_expr_depths(MAX_DEPTH)
        .set_max_string_size(64 * 1024)
        // So that whole numbers are computed as amounts too.
        .set_fast_operators(false)
        .set_allow_looping(false)
        .set_allow_statement_expression(false);
    for operator in ["/", "%", "**", "<<", ">>", "|", "&", "^", "eval"] {
        engine.disable_symbol(operator);
    }
    engine
        .register_type_with_name::<Amount>("amount")
        .register_type_with_name::<Columns>("columns")
        .register_indexer_get(column);
    register_arithmetic(&mut engine);
    register_comparisons(&mut engine);
    engine
}

fn register_arithmetic(engine: &mut Engine) {
    type Operation = fn(Amount, Amount) -> Option<Amount>;
    let operations: [(&str, Operation); 3] = [
        ("+", Amount::checked_add),
        ("-", Amount::checked_sub),
        ("*", Amount::checked_mul),
    ];
    for (name, operation) in operations {
        engine.register_fn(name, move |one: Dynamic, other: Dynamic| -> Evaluated<Amount> {
            in_range(operation(amount_of(&one)?, amount_of(&other)?))
        });
    }
    engine
        .register_fn("-", |value: Dynamic| -> Evaluated<Amount> {
            Ok(amount_of(&value)?.negated())
        })
        .register_fn("abs", |value: Dynamic| -> Evaluated<Amount> {
            Ok(amount_of(&value)?.abs())
        })
        .register_fn("amount", |text: ImmutableString| -> Evaluated<Amount> {
            text.parse()
                .or_else(|_| fail(format!("amount({text:?}) is no decimal number")))
        });
}

fn register_comparisons(engine: &mut Engine) {
    type Comparison = fn(std::cmp::Ordering) -> bool;
    let comparisons: [(&str, Comparison); 4] = [
        ("<", std::cmp::Ordering::is_lt),
        ("<=", std::cmp::Ordering::is_le),
        (">", std::cmp::Ordering::is_gt),
        (">=", std::cmp::Ordering::is_ge),
    ];
    for (name, comparison) in comparisons {
        engine.register_fn(name, move |one: Dynamic, other: Dynamic| -> Evaluated<bool> {
            Ok(comparison(amount_of(&one)?.cmp(&amount_of(&other)?)))
        });
    }
    engine
        .register_fn("!", |value: bool| !value)
        .register_fn("==", |one: Dynamic, other: Dynamic| equal(&one, &other))
        .register_fn("!=", |one: Dynamic, other: Dynamic| -> Evaluated<bool> {
            Ok(!equal(&one, &other)?)
        });
}

/// Texts to the letter, booleans, else amounts; nothing equals nothing and zero.
fn equal(one: &Dynamic, other: &Dynamic) -> Evaluated<bool> {
    let text = |value: &Dynamic| value.clone().into_immutable_string().ok();
    match (text(one), text(other)) {
        (Some(one), Some(other)) => return Ok(one == other),
        // A text is not what is not there.
        (Some(_), None) if other.is_unit() => return Ok(false),
        (None, Some(_)) if one.is_unit() => return Ok(false),
        _ => {}
    }
    if let (Ok(one), Ok(other)) = (one.as_bool(), other.as_bool()) {
        return Ok(one == other);
    }
    Ok(amount_of(one)? == amount_of(other)?)
}

#[cfg(test)]
mod tests {
    use redline_schemas::{Event, EventKind};

    use super::*;

    fn row(columns: &str) -> RowEvent {
        let json = format!(
            r#"{{"source":"a","row_id":"R","version":1,"op":"update","observed_at":"2026-03-02T10:00:00Z","columns":{columns}}}"#
        );
        match Event::from_json(EventKind::Row, &json).unwrap() {
            Event::Row(row) => row,
            _ => unreachable!(),
        }
    }

    fn compute(text: &str) -> Result<Computed, String> {
        let before = row(r#"{"Q":2,"P":"95.10","T":"190.20","N/A":"N/A","F":"B. Lee","Done":true}"#);
        let after = row(r#"{"Q":3,"P":"95.10","T":285.3,"N/A":"N/A","F":"b. lee","Done":false,"Nil":null}"#);
        Expression::compile(text)?.compute(Some(&before), &after)
    }

    #[test]
    fn amounts_are_computed_exactly() {
        for (text, expected) in [
            (r#"after["T"] != after["Q"] * after["P"]"#, false),
            (r#"after["T"] == 2 * before["T"]"#, false),
            (r#"after["T"] > before["T"] && before["Q"] < 3"#, true),
            (r#"-after["Q"] <= 0 - 3"#, true),
            (r#"abs(before["T"] - after["T"]) >= amount("95.1")"#, true),
            (r#"after["T"] == amount("285.300000001")"#, false),
            (r#"!(after["Q"] == 3)"#, false),
            (r#"1 + 1 == 2"#, true),
        ] {
            assert_eq!(compute(text), Ok(Computed::Boolean(expected)), "{text}");
        }
        assert_eq!(
            compute(r#"after["Q"] * after["P"] - 300"#),
            Ok(Computed::Amount("-14.7".parse().unwrap()))
        );
    }

    #[test]
    fn what_is_absent_or_null_counts_as_zero_and_text_is_compared_to_the_letter() {
        for (text, expected) in [
            (r#"after["Nil"] == 0 && after["None"] + 1 == 1"#, true),
            (r#"after["Nil"] == after["None"]"#, true),
            (r#"before["F"] == after["F"]"#, false),
            (r#"before["F"] == "B. Lee""#, true),
            (r#"before["F"] != after["Nil"]"#, true),
            (r#"before["Done"] != after["Done"]"#, true),
            (r#"after["Done"]"#, false),
        ] {
            assert_eq!(compute(text), Ok(Computed::Boolean(expected)), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_computed_says_why() {
        for (text, part) in [
            (r#"after["N/A"] > 1"#, "\"N/A\" is no amount"),
            (r#"after["Q"] * after["N/A"] == 1"#, "\"N/A\" is no amount"),
            (r#"after["N/A"] == 1"#, "\"N/A\" is no amount"),
            (r#"after["Done"] < 1"#, "true or false is no amount"),
            (r#"amount("x") == 1"#, "amount(\"x\") is no decimal number"),
            (
                r#"9000000000000000000 * 9000000000000000000 * 9000000000000000000 > 1"#,
                "29 digits",
            ),
        ] {
            let error = compute(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn what_does_not_compile_or_could_run_for_ever_is_refused() {
        let deep = format!("{}1{}", "(".repeat(500), ")".repeat(500));
        for text in [
            "after[\"Q\"] >",
            "",
            "after",
            "after[1]",
            "after[x]",
            "after[\"a\\u0041\"]",
            "after.Q",
            "let x = 1; x",
            "while true { }",
            "loop { }",
            "eval(\"1\")",
            "after[\"Q\"] / 2 > 1",
            "after[\"Q\"] % 2 > 1",
            "2 ** 200 > 1",
            "1.05 > 1",
            &deep,
            &"1 + ".repeat(3_000),
        ] {
            assert!(Expression::compile(text).is_err(), "{text}");
        }
        let error = Expression::compile("1.05 > 1").unwrap_err();
        assert!(error.contains("amount(\"1.05\")"), "{error}");
    }

    #[test]
    fn columns_are_named_and_so_is_the_version_before() {
        let expression = Expression::compile(r#"after[ "A" ] > 1 && "after" != before["B c"]"#).unwrap();
        assert_eq!(expression.columns(), ["A", "B c"]);
        assert!(expression.names_before());
        assert!(!Expression::compile(r#"after["A"] > 1"#).unwrap().names_before());
    }
}
