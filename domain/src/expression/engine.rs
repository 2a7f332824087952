//! What expressions can compute: the operators and functions of the language, and its bounds.

use std::sync::LazyLock;

use redline_schemas::Amount;
use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString};

use super::{Columns, MAX_DEPTH, MAX_STEPS};

type Evaluated<T> = Result<T, Box<EvalAltResult>>;

fn fail<T>(message: impl Into<String>) -> Evaluated<T> {
    Err(Box::new(EvalAltResult::ErrorRuntime(
        Dynamic::from(message.into()),
        rhai::Position::NONE,
    )))
}

/// An amount, a whole number, or nothing as zero.
pub(super) fn amount_of(value: &Dynamic) -> Evaluated<Amount> {
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

pub(super) static ENGINE: LazyLock<Engine> = LazyLock::new(engine);

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
