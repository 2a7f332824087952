//! Any text as a rule file: rules or a refusal that names a line, never a panic; and the same text always the same rules.
#![no_main]

use libfuzzer_sys::fuzz_target;
use redline_domain::rules::RuleSet;

fuzz_target!(|text: &str| {
    let hashes = |set: &RuleSet| -> Vec<(String, String)> {
        set.sources().map(|(source, rules)| (source.to_owned(), rules.hash.clone())).collect()
    };
    let first = RuleSet::parse(text);
    let again = RuleSet::parse(text);
    match (first, again) {
        (Ok(first), Ok(again)) => assert_eq!(hashes(&first), hashes(&again)),
        (Err(first), Err(again)) => assert_eq!(first.to_string(), again.to_string()),
        _ => panic!("the same text is taken and refused"),
    }
});
