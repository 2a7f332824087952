//! Which fields a fact of each kind has.

use redline_schemas::FieldError;
use redline_schemas::fact::Fact;

use crate::rules::RuleSet;

/// Checks a fact before it is accepted: the fields of its kind are there and can be used, those of other kinds are absent.
///
/// # Errors
/// The first field that is not as the contract says.
pub fn check(fact: &Fact) -> Result<(), FieldError> {
    fact.check()?;
    if fact.kind == "rules" {
        let text = fact.text.as_deref().unwrap_or_default();
        RuleSet::parse(text).map_err(|error| FieldError::new("text", error.to_string()))?;
    }
    Ok(())
}
