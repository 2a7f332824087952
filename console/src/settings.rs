//! The section `[console]`.

use std::time::Duration;

use serde::Deserialize;

/// What the console may vary.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsoleSettings {
    /// Connections to Postgres. Default: 4.
    pub connections: u32,
    /// Milliseconds after which Postgres ends a query; the request is then answered 503. Default: 5000.
    pub statement_timeout_milliseconds: u64,
    /// Bytes of one answer, about: a page ends where they are reached. Default: 4194304 (4 MiB).
    pub max_answer_bytes: usize,
}

impl Default for ConsoleSettings {
    fn default() -> Self {
        Self {
            connections: 4,
            statement_timeout_milliseconds: 5_000,
            max_answer_bytes: 4 << 20,
        }
    }
}

impl ConsoleSettings {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// The key, its value and what is expected.
    pub fn check(&self) -> Result<(), String> {
        within("connections", self.connections.into(), 1, 1_000)?;
        within(
            "statement_timeout_milliseconds",
            self.statement_timeout_milliseconds,
            100,
            600_000,
        )?;
        within("max_answer_bytes", self.max_answer_bytes as u64, 1_024, 1 << 30)
    }

    /// How long a query may take.
    pub fn statement_timeout(&self) -> Duration {
        Duration::from_millis(self.statement_timeout_milliseconds)
    }
}

fn within(key: &str, value: u64, least: u64, greatest: u64) -> Result<(), String> {
    if (least..=greatest).contains(&value) {
        return Ok(());
    }
    Err(format!(
        "console.{key} is {value}; {least} to {greatest} are expected"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_out_of_bounds_is_named_with_what_is_expected() {
        assert_eq!(ConsoleSettings::default().check(), Ok(()));
        let none = ConsoleSettings {
            connections: 0,
            ..ConsoleSettings::default()
        };
        assert_eq!(
            none.check(),
            Err("console.connections is 0; 1 to 1000 are expected".to_owned())
        );
    }
}
