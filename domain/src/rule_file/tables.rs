//! The tables of a rule file, as they are written.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::risk::Risk;
use crate::rules::TrackedColumn;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileOfRules {
    #[serde(default)]
    pub(super) sources: BTreeMap<String, SourceTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceTable {
    pub(super) time_zone: Option<String>,
    pub(super) calendar: Option<CalendarTable>,
    pub(super) grace_days: Option<GraceTable>,
    pub(super) amount: Option<String>,
    #[serde(default)]
    pub(super) tracked: BTreeMap<String, TrackedColumn>,
    #[serde(default)]
    pub(super) thresholds: BTreeMap<String, ThresholdsTable>,
    pub(super) editors: Option<Vec<String>>,
    pub(super) editors_table: Option<String>,
    #[serde(default)]
    pub(super) risks: BTreeMap<String, Risk>,
    #[serde(default)]
    pub(super) read: Vec<String>,
    pub(super) natural_key: Option<Vec<String>>,
    pub(super) moved_within_days: Option<i32>,
    pub(super) contract_price: Option<ContractPriceTable>,
    #[serde(default)]
    pub(super) rules: Vec<OwnRuleTable>,
}

/// `{ weeks_ending = "sunday" }` or `"months"`.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "is neither \"months\" nor a table such as { weeks_ending = \"sunday\" }"
)]
pub(super) enum CalendarTable {
    Named(String),
    Weeks(WeeksTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WeeksTable {
    pub(super) weeks_ending: String,
}

/// A number of days, or `{ business = 2, holidays = "us" }`.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "is neither a number of days nor a table such as { business = 2, holidays = \"us\" }"
)]
pub(super) enum GraceTable {
    Days(i64),
    Business(BusinessTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BusinessTable {
    pub(super) business: i64,
    pub(super) holidays: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ThresholdsTable {
    pub(super) medium: String,
    pub(super) high: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ContractPriceTable {
    pub(super) table: String,
    pub(super) key: Vec<String>,
    pub(super) price: String,
    pub(super) quantity: String,
    pub(super) value: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnRuleTable {
    pub(crate) name: String,
    pub(crate) violated: String,
    pub(crate) impact: Option<String>,
    pub(crate) risk: Option<Risk>,
}
