//! What a cell is worth to a rule: nothing, an amount, or text.

use std::collections::BTreeMap;

use crate::amount::Amount;
use crate::event::Cell;
use crate::rulebook::FOREMAN;

/// The value of a cell, read as its column's type says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Read {
    Nothing,
    Amount(Amount),
    Text(String),
}

impl Read {
    /// As an amount, where nothing counts as zero; none for text.
    pub fn or_zero(&self) -> Option<Amount> {
        match self {
            Self::Nothing => Some(Amount::ZERO),
            Self::Amount(amount) => Some(*amount),
            Self::Text(_) => None,
        }
    }

    /// As canonical text.
    pub fn written(&self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Amount(amount) => Some(amount.to_string()),
            Self::Text(text) => Some(text.clone()),
        }
    }
}

/// "Decimal text in an amount column is that amount."
pub(super) fn as_amount(cell: Option<&Cell>) -> Read {
    match cell {
        None | Some(Cell::Null) => Read::Nothing,
        Some(Cell::Number(amount)) => Read::Amount(*amount),
        Some(Cell::Text(text)) => match Amount::parse(text) {
            Some(amount) => Read::Amount(amount),
            None => Read::Text(text.clone()),
        },
    }
}

/// A cell to the letter.
pub(super) fn as_text(cell: Option<&Cell>) -> Read {
    match cell {
        None | Some(Cell::Null) => Read::Nothing,
        Some(Cell::Number(amount)) => Read::Text(amount.to_string()),
        Some(Cell::Text(text)) => Read::Text(text.clone()),
    }
}

/// A column, read as its type says.
pub(super) fn read(columns: &BTreeMap<String, Cell>, column: &str) -> Read {
    read_cell(column, columns.get(column))
}

/// A cell of a column, read as the column's type says. Of the tracked ones only the foreman is text; what is not tracked
/// is taken as it was sent.
pub(super) fn read_cell(column: &str, cell: Option<&Cell>) -> Read {
    match column {
        crate::rulebook::QUANTITY | crate::rulebook::PRICE | crate::rulebook::TOTAL => as_amount(cell),
        FOREMAN => as_text(cell),
        _ => as_text(cell),
    }
}
