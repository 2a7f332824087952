//! Logs on the error stream: for people, or one JSON object a line.

use serde::Deserialize;
use tracing_subscriber::EnvFilter;

/// The section `[log]`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// How lines look. Default `pretty`.
    pub format: Format,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    #[default]
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Starts logging. `RUST_LOG` says how much; the default is what operators need, or, for a command that is
/// expected to say little, only what goes wrong.
///
/// # Errors
/// When `RUST_LOG` cannot be read.
pub fn start(settings: &LogSettings, says_little: bool) -> Result<(), String> {
    const DEFAULT: &str = "info,sqlx=warn,rdkafka=warn,librdkafka=warn,hyper=warn,apache_avro=warn,sqlx_postgres::options=error";
    const LITTLE: &str = "error";
    let directives = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let filter =
        EnvFilter::try_new(
            directives
                .as_deref()
                .unwrap_or(if says_little { LITTLE } else { DEFAULT }),
        )
        .map_err(|error| format!("RUST_LOG cannot be read: {error}"))?;
    let colours =
        std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours);
    match settings.format {
        Format::Pretty => lines.with_target(false).init(),
        Format::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}
