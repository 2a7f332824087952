//! Exact sums of a range, per period, currency and outcome.

use std::collections::BTreeMap;

use ethnum::I256;
use redline_domain::change::read;
use redline_domain::rules::{ColumnType, RuleBook};
use redline_schemas::{Amount, ColumnValue, Event};
use redline_store::record::{RecordOutcome, Sum, SumKey};

use crate::batch::{Body, Decoded};

/// Sums the amounts of a part's events. Records that could not be read have no amount and are in no sum.
pub fn of_range(records: &[Decoded], outcomes: &[RecordOutcome], rules: &RuleBook) -> BTreeMap<SumKey, Sum> {
    let mut sums = BTreeMap::new();
    for (record, outcome) in records.iter().zip(outcomes) {
        let Body::Event(sighting) = &record.body else {
            continue;
        };
        let Some(amount) = amount_of(&sighting.event, rules) else {
            continue;
        };
        let (period, currency) = period_and_currency(&sighting.event);
        let key = SumKey {
            period,
            currency,
            outcome: outcome.outcome,
        };
        let sum = sums.entry(key).or_insert(Sum {
            records: 0,
            units: I256::ZERO,
        });
        sum.records += 1;
        sum.units += I256::from(amount.units());
    }
    sums
}

/// What an event is worth: a row by its source's amount column under the rules of its time.
fn amount_of(event: &Event, rules: &RuleBook) -> Option<Amount> {
    match event {
        Event::Row(row) => {
            let column = rules.of(&row.source, event.time())?.amount.as_deref()?;
            match read(row, column, ColumnType::Amount) {
                ColumnValue::Amount(amount) => Some(amount),
                _ => None,
            }
        }
        Event::Payout(payout) => Some(payout.amount),
        Event::Order(order) => Some(order.amount),
        Event::Fact(_) => None,
    }
}

/// The period is that of the row or payout; of an order the month in which it was placed, in UTC.
fn period_and_currency(event: &Event) -> (Option<String>, Option<String>) {
    match event {
        Event::Row(row) => (row.period_end.map(|end| end.to_string()), row.currency.clone()),
        Event::Payout(payout) => (Some(payout.period.clone()), Some(payout.currency.clone())),
        Event::Order(order) => {
            let month = order.created_at.to_string().chars().take(7).collect();
            (Some(month), Some(order.currency.clone()))
        }
        Event::Fact(_) => (None, None),
    }
}
