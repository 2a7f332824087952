//! Contract prices: a price may not be above the agreed one of a reference table.

use redline_schemas::row::RowEvent;
use redline_schemas::{Amount, ColumnValue, Timestamp};

use crate::change::{number, read, read_value};
use crate::facts::{Knowledge, ReferenceRow};
use crate::natural_key::value;
use crate::rules::{ColumnType, SourceRules};

/// The name of the rule.
pub(crate) const RULE: &str = "price_within_contract";

/// Where prices and agreed prices of a source are found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContractPrice {
    /// The reference table.
    pub table: String,
    /// The columns whose values are its key.
    pub key: Vec<String>,
    /// The column that may not be above the agreed price.
    pub price: String,
    /// The column by which an excess becomes money.
    pub quantity: String,
    /// The name of the agreed price in the table.
    pub value: String,
}

/// A price above the agreed one, or one that cannot be compared, which counts as above.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Excess {
    /// The id of the reference fact.
    pub(crate) reference: String,
    /// The key of the reference row.
    pub(crate) key: String,
    pub(crate) agreed: ColumnValue,
    pub(crate) price: ColumnValue,
    pub(crate) quantity: ColumnValue,
    /// The excess times the quantity; none where that cannot be told.
    pub(crate) impact: Option<Amount>,
    /// Whether price or agreed price is no amount.
    pub(crate) is_unreadable: bool,
}

impl ContractPrice {
    /// The columns that it reads.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &str> {
        let key = self.key.iter().map(String::as_str);
        key.chain([self.price.as_str(), self.quantity.as_str()])
    }

    /// Judges a row by the agreed price of an instant; none where it is kept, or nothing was agreed.
    pub(crate) fn excess(
        &self,
        row: &RowEvent,
        rules: &SourceRules,
        knowledge: &Knowledge,
        time: Timestamp,
    ) -> Option<Excess> {
        let key = self.key_of(row, rules)?;
        let ReferenceRow { id, values } = knowledge.reference(&self.table, &key, time)?;
        let agreed = values
            .get(&self.value)
            .map_or(ColumnValue::Null, |agreed| read_value(agreed, ColumnType::Amount));
        let price = read(row, &self.price, ColumnType::Amount);
        let quantity = read(row, &self.quantity, ColumnType::Amount);
        let prices = number(&price).zip(number(&agreed));
        if prices.is_some_and(|(price, agreed)| price <= agreed) {
            return None;
        }
        let excess = prices.and_then(|(price, agreed)| price.checked_sub(agreed));
        Some(Excess {
            reference: id.to_owned(),
            key,
            impact: excess
                .zip(number(&quantity))
                .and_then(|(excess, quantity)| excess.checked_mul(quantity)),
            agreed,
            price,
            quantity,
            is_unreadable: prices.is_none(),
        })
    }

    /// The key of the reference row: one value as text, of several columns a JSON array; none where a value is missing.
    fn key_of(&self, row: &RowEvent, rules: &SourceRules) -> Option<String> {
        let values: Option<Vec<String>> = self.key.iter().map(|column| value(row, column, rules)).collect();
        match values?.as_slice() {
            [single] => Some(single.clone()),
            several => Some(serde_json::json!(several).to_string()),
        }
    }
}
