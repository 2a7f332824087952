//! The rules of the simulated source: its own, its calendar's, and its contract prices'.

use jiff::civil::Weekday;

use super::changes::Weight;
use super::history::Standing;
use super::known::Known;
use super::values::{Read, as_amount, as_text, read};
use crate::amount::Amount;
use crate::rulebook::{CONTRACT_KEY, CONTRACT_TABLE, PRICE, QUANTITY, TOTAL, risk_of_kind};

/// A rule: some weight when a version violates it at its own time.
pub(super) struct Rule {
    pub name: &'static str,
    pub judge: fn(&Known<'_>, &Standing<'_>) -> Option<Weight>,
}

/// All rules in force.
pub(super) const RULES: [Rule; 4] = [
    Rule {
        name: "total_is_quantity_times_price",
        judge: total_is_quantity_times_price,
    },
    Rule {
        name: "quantity_is_not_negative",
        judge: quantity_is_not_negative,
    },
    Rule {
        name: "week_ends_on_sunday",
        judge: week_ends_on_sunday,
    },
    Rule {
        name: "price_within_contract",
        judge: price_within_contract,
    },
];

fn number(version: &Standing<'_>, column: &str) -> Option<Amount> {
    read(&version.content.columns, column).or_zero()
}

/// "A rule that cannot be computed for a version counts as violated, HIGH." The impact is the total minus the product.
fn total_is_quantity_times_price(_: &Known<'_>, version: &Standing<'_>) -> Option<Weight> {
    let product = number(version, QUANTITY)
        .zip(number(version, PRICE))
        .and_then(|(quantity, price)| quantity.times(price));
    let (Some(total), Some(product)) = (number(version, TOTAL), product) else {
        return Some(Weight::UNKNOWN);
    };
    if total == product {
        return None;
    }
    let currency = version.content.currency.as_deref();
    Some(
        total
            .minus(product)
            .map_or(Weight::UNKNOWN, |impact| Weight::of(impact, currency)),
    )
}

fn quantity_is_not_negative(_: &Known<'_>, version: &Standing<'_>) -> Option<Weight> {
    match number(version, QUANTITY) {
        None => Some(Weight::UNKNOWN),
        Some(quantity) if quantity < Amount::ZERO => Some(of_the_kind()),
        Some(_) => None,
    }
}

/// "A version whose period_end is another day violates it. A version without period_end keeps them."
fn week_ends_on_sunday(_: &Known<'_>, version: &Standing<'_>) -> Option<Weight> {
    let end = version.content.period_end?;
    (end.weekday() != Weekday::Sunday).then(of_the_kind)
}

/// "Violated when the price is above that of the reference row valid at the version's own time; without such a row it is
/// kept. The impact is the excess times the quantity."
fn price_within_contract(known: &Known<'_>, version: &Standing<'_>) -> Option<Weight> {
    let mut key = Vec::new();
    for column in CONTRACT_KEY {
        // "A row that has nothing in one of the columns has no agreed price."
        key.push(as_text(version.content.columns.get(column)).written()?);
    }
    let key = serde_json::Value::from(key).to_string();
    let agreed = known.reference(CONTRACT_TABLE, &key, version.at())?;
    let agreed = as_amount(agreed.values.get("price"));
    let price = read(&version.content.columns, PRICE);
    let (Some(price), Read::Amount(agreed)) = (price.or_zero(), agreed) else {
        return Some(Weight::UNKNOWN);
    };
    if price <= agreed {
        return None;
    }
    let impact = price
        .minus(agreed)
        .zip(number(version, QUANTITY))
        .and_then(|(excess, n)| excess.times(n));
    let currency = version.content.currency.as_deref();
    Some(impact.map_or(Weight::UNKNOWN, |impact| Weight::of(impact, currency)))
}

fn of_the_kind() -> Weight {
    Weight::without_impact(risk_of_kind("rule_violation"))
}
