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
    format!("# The rules of a simulated source.\n{}", rules_of(SOURCE, grace))
}

/// The same rules for a source of any name, as a part of such a file.
pub fn rules_of(source: &str, grace: Grace) -> String {
    let grace_days = match grace {
        Grace::CalendarDays(days) => days.to_string(),
        Grace::BusinessDays(days) => format!("{{ business = {days}, holidays = \"{HOLIDAYS_TABLE}\" }}"),
    };
    format!(
        r#"[sources.{source}]
time_zone = "America/New_York"
calendar = {{ weeks_ending = "sunday" }}
grace_days = {grace_days}
amount = "Redlined Total Price"
natural_key = ["Work Order", "Task", "Period End"]
moved_within_days = 7
editors = ["*@example.com", "api-billing"]
editors_table = "billing_editors"
read = ["Work Order", "Task", "Period End"]

[sources.{source}.tracked]
"Quantity" = {{ type = "amount", unit = "Unit Price" }}
"Unit Price" = {{ type = "amount" }}
"Redlined Total Price" = {{ type = "amount" }}
"Foreman" = {{ type = "text", risk = "LOW" }}

[sources.{source}.thresholds]
USD = {{ medium = "100", high = "1000" }}
EUR = {{ medium = "90.50", high = "900.50" }}

[sources.{source}.risks]
lock_change = "MEDIUM"

[sources.{source}.contract_price]
table = "contract_prices"
key = ["Work Order", "Task"]
price = "Unit Price"
quantity = "Quantity"
value = "price"

[[sources.{source}.rules]]
name = "total_is_quantity_times_price"
violated = 'after["Redlined Total Price"] != after["Quantity"] * after["Unit Price"]'

[[sources.{source}.rules]]
name = "quantity_is_not_negative"
violated = 'after["Quantity"] < 0'
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(value: &toml::Value) -> Vec<&str> {
        value
            .as_array()
            .unwrap()
            .iter()
            .map(|text| text.as_str().unwrap())
            .collect()
    }

    #[test]
    fn the_file_says_what_the_oracle_knows() {
        let file: toml::Table = toml::from_str(&rules_toml(Grace::BusinessDays(2))).unwrap();
        let source = &file["sources"][SOURCE];
        assert_eq!(source["time_zone"].as_str(), Some(TIME_ZONE));
        assert_eq!(source["amount"].as_str(), Some(TOTAL));
        assert_eq!(source["moved_within_days"].as_integer(), Some(MOVED_WITHIN_DAYS));
        assert_eq!(source["grace_days"]["business"].as_integer(), Some(2));
        assert_eq!(source["grace_days"]["holidays"].as_str(), Some(HOLIDAYS_TABLE));
        assert_eq!(texts(&source["natural_key"]), NATURAL_KEY);
        assert_eq!(texts(&source["editors"]), EDITORS);
        assert_eq!(source["editors_table"].as_str(), Some(EDITORS_TABLE));
        let mut tracked: Vec<&str> = source["tracked"]
            .as_table()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        tracked.sort_unstable();
        assert_eq!(tracked, TRACKED);
        assert_eq!(source["tracked"][QUANTITY]["unit"].as_str(), Some(PRICE));
        assert_eq!(source["contract_price"]["table"].as_str(), Some(CONTRACT_TABLE));
        assert_eq!(texts(&source["contract_price"]["key"]), CONTRACT_KEY);
        assert_eq!(source["risks"]["lock_change"].as_str(), Some("MEDIUM"));
        for (currency, limits) in source["thresholds"].as_table().unwrap() {
            let read = |name: &str| Amount::parse(limits[name].as_str().unwrap()).unwrap();
            assert_eq!(thresholds(currency), Some((read("medium"), read("high"))));
        }
        assert_eq!(thresholds("GBP"), None);
    }

    #[test]
    fn a_grace_of_calendar_days_is_a_number() {
        assert!(rules_toml(Grace::CalendarDays(0)).contains("\ngrace_days = 0\n"));
    }
}
