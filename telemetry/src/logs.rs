//! Logs on the error stream: for people, or one JSON object a line.

use std::sync::Arc;

use serde::Deserialize;
use tracing::Subscriber;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::fmt::format::{Format as Lines, JsonFields};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::Filter;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

use crate::StartError;
use crate::lines::WithTrace;

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

/// Where lines go.
#[derive(Debug)]
pub enum Destination {
    /// The error stream: what operators need.
    ErrorStream,
    /// The error stream, and only what goes wrong: for a command that is expected to say little.
    OnlyErrors,
    /// A file, for a command that has the terminal for itself.
    File(std::fs::File),
}

/// The layer that writes lines. `RUST_LOG` says how much; the default depends on the destination.
pub(crate) fn layer<S>(
    settings: &LogSettings,
    destination: Destination,
) -> Result<Box<dyn Layer<S> + Send + Sync>, StartError>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    const DEFAULT: &str = "info,sqlx=warn,rdkafka=warn,librdkafka=warn,hyper=warn,apache_avro=warn,sqlx_postgres::options=error,\
                           h2=warn,tower=warn,tonic=warn,opentelemetry=warn,opentelemetry_sdk=off,opentelemetry-otlp=off";
    const LITTLE: &str = "error";
    let directives = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let directives = directives.as_deref().unwrap_or(match destination {
        Destination::OnlyErrors => LITTLE,
        Destination::ErrorStream | Destination::File(_) => DEFAULT,
    });
    let wanted = EnvFilter::try_new(directives)
        .map_err(|error| StartError(format!("RUST_LOG cannot be read: {error}")))?;
    let (writer, is_terminal) = match destination {
        Destination::File(file) => (BoxMakeWriter::new(Arc::new(file)), false),
        _ => (
            BoxMakeWriter::new(std::io::stderr),
            std::io::IsTerminal::is_terminal(&std::io::stderr()),
        ),
    };
    let colours = is_terminal && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(colours);
    Ok(match settings.format {
        Format::Pretty => lines
            .event_format(WithTrace::Text(
                Lines::default().with_target(false).with_ansi(colours),
            ))
            .with_filter(only_lines(wanted))
            .boxed(),
        Format::Json => lines
            .event_format(WithTrace::Json(Lines::default().json().flatten_event(true)))
            .fmt_fields(JsonFields::new())
            .with_filter(only_lines(wanted))
            .boxed(),
    })
}

/// Without an endpoint for traces nothing wants a span, and making one costs no more than finding that out.
pub(crate) fn only_lines<S>(wanted: EnvFilter) -> impl Filter<S>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    let most = Filter::<S>::max_level_hint(&wanted).unwrap_or(tracing::level_filters::LevelFilter::TRACE);
    filter_fn(|metadata| metadata.is_event())
        .with_max_level_hint(most)
        .and(wanted)
}
