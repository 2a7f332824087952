//! Pure rules: changes, periods, risk, rule files, facts. No I/O, no async, no clock, no randomness.
//!
//! The promise kept here is confluence: what [`entity::EntityState::apply`] finds, applied to the standing
//! versions of an entity in the order of their versions, is a function of those versions and the rules alone.

pub mod approval;
pub mod calendar;
pub mod change;
pub mod contract_price;
pub mod editors;
pub mod entity;
pub mod expression;
pub mod facts;
pub mod finding;
pub mod natural_key;
pub mod own_rule;
pub mod period;
pub mod risk;
pub mod rule_file;
pub mod rules;
