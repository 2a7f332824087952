//! Any text as an amount and as times: what is read is written in one way, and read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use redline_schemas::{Amount, Date, Timestamp};

fuzz_target!(|text: &str| {
    if let Ok(amount) = text.parse::<Amount>() {
        let written = amount.to_string();
        assert_eq!(written.parse(), Ok(amount));
        assert_eq!(Amount::from_json_number(&written), Ok(amount));
        assert_eq!(Amount::from_avro_bytes(&amount.to_avro_bytes()), Ok(amount));
        assert!(!written.contains(['e', 'E', '+']) && written != "-0", "{written}");
        if let Some(negative) = amount.negated().checked_sub(amount) {
            assert_eq!(negative.checked_add(amount), Some(amount.negated()));
        }
    }
    if let Ok(amount) = Amount::from_json_number(text) {
        assert_eq!(amount.to_string().parse(), Ok(amount));
    }
    if let Ok(time) = Timestamp::parse(text) {
        assert!(time.is_in_range());
        assert_eq!(Timestamp::parse(&time.to_string()), Ok(time));
    }
    if let Ok(date) = Date::parse(text) {
        assert!(date.is_in_range());
        assert_eq!(Date::parse(&date.to_string()), Ok(date));
    }
});
