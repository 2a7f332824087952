//! Rules of one's own: an expression over the columns before and after, such as
//! `after["Total"] > 2 * before["Total"]`.
//!
//! Amounts are exact: whole numbers and columns are computed in 256 bits and never in floating point, and there is no
//! division. An absent or null column counts as zero in arithmetic and in comparisons with amounts. An evaluation is bounded in
//! steps and depth, so that it ends, and the same on every machine.

mod engine;
mod named;
mod samples;

use std::collections::BTreeMap;
use std::sync::Arc;

use redline_schemas::row::RowEvent;
use redline_schemas::{Amount, ColumnValue};
use rhai::{AST, Dynamic, EvalAltResult, Scope};

use self::engine::{ENGINE, amount_of};
use self::named::named_columns;
pub(crate) use self::samples::Expected;
use crate::change::read;
use crate::rules::ColumnType;

/// Steps of one evaluation, at most.
const MAX_STEPS: u64 = 10_000;
/// Depth of an expression, at most.
const MAX_DEPTH: usize = 64;
/// Characters of an expression, at most.
const MAX_LENGTH: usize = 4_000;

/// An expression that was compiled.
#[derive(Clone, Debug)]
pub struct Expression {
    text: String,
    ast: AST,
    columns: BTreeMap<String, ColumnType>,
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
    fn new(values: impl Iterator<Item = (String, ColumnValue)>) -> Self {
        let value = |value| match value {
            ColumnValue::Null => Dynamic::UNIT,
            ColumnValue::Boolean(value) => value.into(),
            ColumnValue::Amount(amount) => Dynamic::from(amount),
            ColumnValue::Text(text) => text.into(),
        };
        Self(Arc::new(values.map(|(name, sent)| (name, value(sent))).collect()))
    }
}

impl Expression {
    /// Compiles an expression whose columns are read by their types: amounts, or as they were sent.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn compile(text: &str, type_of: impl Fn(&str) -> ColumnType) -> Result<Self, String> {
        if text.chars().count() > MAX_LENGTH {
            return Err(format!("has more than {MAX_LENGTH} characters"));
        }
        let named = named_columns(text)?;
        if named.is_empty() {
            return Err("names no column: after[\"Quantity\"] is expected somewhere".to_owned());
        }
        let ast = ENGINE
            .compile_expression(text)
            .map_err(|error| format!("does not compile: {error}"))?;
        Ok(Self {
            text: text.to_owned(),
            ast,
            names_before: named.iter().any(|(version, _)| *version == "before"),
            columns: named
                .into_iter()
                .map(|(_, column)| {
                    let column_type = type_of(&column);
                    (column, column_type)
                })
                .collect(),
        })
    }

    /// The text that was compiled.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The columns that it names, in the order of their names.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.keys().map(String::as_str)
    }

    /// The columns that it names, as it reads them in a version.
    pub fn values(&self, row: &RowEvent) -> BTreeMap<String, ColumnValue> {
        self.columns
            .iter()
            .map(|(name, column_type)| (name.clone(), read(row, name, *column_type)))
            .collect()
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
        let columns = |row| Columns::new(self.values(row).into_iter());
        self.compute_with(before.map(columns), columns(after))
    }

    fn compute_with(&self, before: Option<Columns>, after: Columns) -> Result<Computed, String> {
        let mut scope = Scope::new();
        if let Some(before) = before {
            scope.push_constant("before", before);
        }
        scope.push_constant("after", after);
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

    fn compile(text: &str) -> Result<Expression, String> {
        Expression::compile(text, |column| match column {
            "F" | "Code" => ColumnType::Text,
            _ => ColumnType::Amount,
        })
    }

    fn compute(text: &str) -> Result<Computed, String> {
        let before =
            row(r#"{"Q":2,"P":"95.10","T":"190.20","N/A":"N/A","F":"B. Lee","Code":"007","Done":true}"#);
        let after = row(
            r#"{"Q":3,"P":"95.10","T":285.3,"N/A":"N/A","F":"b. lee","Code":"7","Done":false,"Nil":null}"#,
        );
        compile(text)?.compute(Some(&before), &after)
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
            (r#"after["Q"] + 1 == 4"#, true),
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
            (r#"before["Code"] != after["Code"]"#, true),
            (r#"after["Code"] == "7""#, true),
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
            (
                r#"amount("x") == after["Q"]"#,
                "amount(\"x\") is no decimal number",
            ),
            (
                r#"9000000000000000000 * 9000000000000000000 * 9000000000000000000 > after["Q"]"#,
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
            assert!(compile(text).is_err(), "{text}");
        }
        let error = compile("1.05 > 1").unwrap_err();
        assert!(error.contains("amount(\"1.05\")"), "{error}");
    }

    #[test]
    fn columns_are_named_and_so_is_the_version_before() {
        let expression = compile(r#"after[ "A" ] > 1 && "after" != before["B c"]"#).unwrap();
        assert_eq!(expression.columns().collect::<Vec<_>>(), ["A", "B c"]);
        assert!(expression.names_before());
        assert!(!compile(r#"after["A"] > 1"#).unwrap().names_before());
    }

    #[test]
    fn what_the_language_does_not_document_is_refused_and_named() {
        for (text, part) in [
            (
                r#"Q > after["Q"]"#,
                "names `Q`, which a rule does not know: before[\"…\"]",
            ),
            (r#"f(after["Q"])"#, "names `f`"),
            (r#"if after["Q"] > 1 { true } else { false }"#, "names `if`"),
            (r#"switch after["Q"] { }"#, "names `switch`"),
            (r#"after["Q"] in [1]"#, "names `in`"),
            (r#"timestamp() == after["Q"]"#, "names `timestamp`"),
            (r#"type_of(after["Q"]) == "x""#, "names `type_of`"),
            (r#"after["Q"] > 1e3"#, "names `e3`"),
            (r#"after["Q"] > 1 // and so on"#, "holds a comment"),
            (r#"after["Q"] > /* more than */ 1"#, "holds a comment"),
            (r#"after["F"] == `x`"#, "holds ``` outside"),
            (r#"after["F"] == 'x'"#, "holds `'` outside"),
            (r##"after["F"] == #"x"#"##, "holds `#` outside"),
            (r#"amount("1") > 2"#, "names no column"),
        ] {
            let error = compile(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        for text in [
            r#"after["// if `Q` 'x'"] > 1"#,
            r#"after["F"] == "/* it's # */""#,
            r#"(abs(after["Q"]) > amount("1.5")) == true || after["Q"] != 0 && false"#,
        ] {
            assert!(compile(text).is_ok(), "{text}");
        }
    }
}
