//! The rules of the simulated source: as the file that Redline reads, and as what the oracle knows about it.

use crate::amount::Amount;
use crate::settings::Grace;
use crate::truth::Risk;

/// The source of all simulated rows.
pub const SOURCE: &str = "billing";
/// The topic of row events.
pub const TOPIC_OF_ROWS: &str = "redline.rows";
/// The topic of facts.
pub const TOPIC_OF_FACTS: &str = "redline.facts";
/// The time zone in which its days are counted.
pub const TIME_ZONE: &str = "America/New_York";
/// The column that says what a row is worth.
pub const TOTAL: &str = "Redlined Total Price";
/// The column with the price of one.
pub const PRICE: &str = "Unit Price";
/// The column with the number of things.
pub const QUANTITY: &str = "Quantity";
/// The column with the responsible person.
pub const FOREMAN: &str = "Foreman";
/// The tracked columns, sorted by name.
pub const TRACKED: [&str; 4] = [FOREMAN, QUANTITY, TOTAL, PRICE];
/// The columns of the natural key.
pub const NATURAL_KEY: [&str; 3] = ["Work Order", "Task", "Period End"];
/// The columns of the contract prices' key.
pub const CONTRACT_KEY: [&str; 2] = ["Work Order", "Task"];
/// Who may edit, besides those in the table.
pub const EDITORS: [&str; 2] = ["*@example.com", "api-billing"];
/// The reference table with more editors.
pub const EDITORS_TABLE: &str = "billing_editors";
/// The reference table with contract prices.
pub const CONTRACT_TABLE: &str = "contract_prices";
/// The reference table with holidays.
pub const HOLIDAYS_TABLE: &str = "us";
/// How long after a delete a new row is a moved one.
pub const MOVED_WITHIN_DAYS: i64 = 7;

/// Risk of a flag of this kind that has no impact.
pub fn risk_of_kind(kind: &str) -> Risk {
    match kind {
        "lock_change" => Risk::Medium,
        _ => Risk::Low,
    }
}

/// The least impacts of MEDIUM and HIGH risk; none for a currency without thresholds.
pub fn thresholds(currency: &str) -> Option<(Amount, Amount)> {
    match currency {
        "USD" => Some((Amount::whole(100), Amount::whole(1000))),
        "EUR" => Some((Amount::cents(9_050), Amount::cents(90_050))),
        _ => None,
    }
}

/// The rules as the file that Redline reads.
pub fn rules_toml(grace: Grace) -> String {
    let grace_days = match grace {
        Grace::CalendarDays(days) => days.to_string(),
        Grace::BusinessDays(days) => format!("{{ business = {days}, holidays = \"{HOLIDAYS_TABLE}\" }}"),
    };
    format!(
        r#"# The rules of a simulated source.
[sources.billing]
time_zone = "America/New_York"
calendar = {{ weeks_ending = "sunday" }}
grace_days = {grace_days}
amount = "Redlined Total Price"
natural_key = ["Work Order", "Task", "Period End"]
moved_within_days = 7
editors = ["*@example.com", "api-billing"]
editors_table = "billing_editors"
read = ["Work Order", "Task", "Period End"]

[sources.billing.tracked]
"Quantity" = {{ type = "amount", unit = "Unit Price" }}
"Unit Price" = {{ type = "amount" }}
"Redlined Total Price" = {{ type = "amount" }}
"Foreman" = {{ type = "text", risk = "LOW" }}

[sources.billing.thresholds]
USD = {{ medium = "100", high = "1000" }}
EUR = {{ medium = "90.50", high = "900.50" }}

[sources.billing.risks]
lock_change = "MEDIUM"

[sources.billing.contract_price]
table = "contract_prices"
key = ["Work Order", "Task"]
price = "Unit Price"
quantity = "Quantity"
value = "price"

[[sources.billing.rules]]
name = "total_is_quantity_times_price"
violated = 'after["Redlined Total Price"] != after["Quantity"] * after["Unit Price"]'

[[sources.billing.rules]]
name = "quantity_is_not_negative"
violated = 'after["Quantity"] < 0'
"#
    )
}
