//! Traces over OTLP: settings, start and end.
//!
//! Off unless an endpoint is set. Spans wait in a bounded queue and are sent in the background; nothing ever waits for
//! the collector. What goes into a span: names, numbers and outcomes, never a value of an event, an id of a row, a
//! person, an address of a client or a header.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{
    Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};
use tonic::metadata::{MetadataKey, MetadataMap, MetadataValue};
use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterFn, filter_fn};

use crate::StartError;
use crate::exporter::{Exporter, PATIENCE};
use crate::sampling::Decision;
pub use crate::sampling::Sampling;

/// How long the end of a process may wait for the collector.
const LAST_PATIENCE: Duration = Duration::from_millis(500);

/// The section `[traces]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TraceSettings {
    /// Address of a collector that speaks OTLP. Default none: nothing is traced.
    pub endpoint: Option<String>,
    /// How it is spoken to. Default gRPC.
    pub protocol: OtlpProtocol,
    /// Which traces are kept. Default `parentbased_traceidratio`.
    pub sampler: Sampling,
    /// Of traces that begin here, the part that is kept: 0 to 1. Default 1.
    #[serde(deserialize_with = "number")]
    pub sample_ratio: f64,
    /// `service.name`. Default `redline`.
    pub service_name: String,
    /// Headers of every export, `name=value` divided by commas; may hold a key. Default none.
    pub headers: Option<SecretString>,
}

impl Default for TraceSettings {
    fn default() -> Self {
        Self {
            endpoint: None,
            protocol: OtlpProtocol::default(),
            sampler: Sampling::default(),
            sample_ratio: 1.0,
            service_name: "redline".to_owned(),
            headers: None,
        }
    }
}

/// How the collector is spoken to, by the names that OpenTelemetry gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
pub enum OtlpProtocol {
    /// gRPC, by custom on port 4317.
    #[default]
    #[serde(rename = "grpc")]
    Grpc,
    /// HTTP, by custom on port 4318.
    #[serde(rename = "http/protobuf")]
    Http,
}

/// A number, or its text, as variables have it.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    struct Number;
    impl serde::de::Visitor<'_> for Number {
        type Value = f64;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("a number from 0 to 1")
        }

        fn visit_f64<E>(self, number: f64) -> Result<f64, E> {
            Ok(number)
        }

        fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<f64, E> {
            self.visit_str(&number.to_string())
        }

        fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<f64, E> {
            self.visit_str(&number.to_string())
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<f64, E> {
            let wrong = || E::invalid_value(serde::de::Unexpected::Str(text), &self);
            text.trim().parse().map_err(|_| wrong())
        }
    }
    deserializer.deserialize_any(Number)
}

impl TraceSettings {
    /// Whether every value can be used; names the key of one that cannot.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn check(&self) -> Result<(), String> {
        if let Some(endpoint) = self.endpoint() {
            place(endpoint)?;
        }
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            return Err(format!(
                "traces.sample_ratio is {}; 0 to 1 are expected",
                self.sample_ratio
            ));
        }
        if self.service_name.trim().is_empty() {
            return Err("traces.service_name is empty; a name such as redline is expected".to_owned());
        }
        self.metadata().map(|_| ())
    }

    fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref().filter(|endpoint| !endpoint.is_empty())
    }

    /// The headers, as gRPC names them; HTTP has the same rules for names and values.
    fn metadata(&self) -> Result<MetadataMap, String> {
        let mut metadata = MetadataMap::new();
        for (name, value) in self.headers()? {
            let wrong = || format!("traces.headers: the header {name:?} cannot be sent");
            let key = MetadataKey::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            let mut value: MetadataValue<_> = value.parse().map_err(|_| wrong())?;
            value.set_sensitive(true);
            metadata.insert(key, value);
        }
        Ok(metadata)
    }

    fn headers(&self) -> Result<HashMap<String, String>, String> {
        let text = self
            .headers
            .as_ref()
            .map_or("", |headers| headers.expose_secret());
        text.split(',')
            .filter(|header| !header.trim().is_empty())
            .map(|header| {
                // What stands there is not repeated: it may be a key.
                let (name, value) = header
                    .split_once('=')
                    .ok_or("traces.headers is not of the form name=value,name=value")?;
                Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
            })
            .collect()
    }
}

/// Where an endpoint leads, `scheme://host:port`; user, password and path are left out.
fn place(endpoint: &str) -> Result<String, String> {
    let refused =
        || "traces.endpoint cannot be used; an address such as http://127.0.0.1:4317 is expected".to_owned();
    let uri: tonic::codegen::http::Uri = endpoint.parse().map_err(|_| refused())?;
    let (Some(scheme @ ("http" | "https")), Some(host)) = (uri.scheme_str(), uri.host()) else {
        return Err(refused());
    };
    if uri.query().is_some()
        || uri
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err(
            "traces.endpoint may have no query and no user; keys belong into traces.headers".to_owned(),
        );
    }
    let port = uri.port().map_or_else(String::new, |port| format!(":{port}"));
    Ok(format!("{scheme}://{host}{port}"))
}

/// Traces of this process on their way to the collector.
pub(crate) struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Nothing when no endpoint is set, or `OTEL_SDK_DISABLED` is `true`.
    pub(crate) fn start(settings: &TraceSettings, role: &'static str) -> Result<Option<Self>, StartError> {
        settings.check().map_err(StartError)?;
        let is_off = std::env::var("OTEL_SDK_DISABLED").is_ok_and(|is| is.eq_ignore_ascii_case("true"));
        let Some(endpoint) = settings.endpoint().filter(|_| !is_off) else {
            return Ok(None);
        };
        let place = place(endpoint).map_err(StartError)?;
        let sender = sender(settings, endpoint)
            .map_err(|error| StartError(format!("traces.endpoint cannot be used: {error}")))?;
        let resource = Resource::builder()
            .with_service_name(settings.service_name.clone())
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", uuid::Uuid::new_v4().to_string()),
                KeyValue::new("redline.role", role),
            ])
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(Exporter::new(sender, place))
            .with_sampler(Decision::new(settings.sampler, settings.sample_ratio))
            .with_resource(resource)
            .build();
        crate::context::turn_on();
        Ok(Some(Self { provider }))
    }

    pub(crate) fn tracer(&self) -> SdkTracer {
        self.provider.tracer("redline")
    }

    pub(crate) async fn shutdown(self) {
        let provider = self.provider;
        // It blocks, and what it waits for runs beside it.
        let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST_PATIENCE)).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::debug!("the last spans were not sent");
        }
    }
}

fn sender(
    settings: &TraceSettings,
    endpoint: &str,
) -> Result<SpanExporter, opentelemetry_otlp::ExporterBuildError> {
    // Checked before; a header that cannot be read is none.
    let builder = SpanExporter::builder();
    match settings.protocol {
        OtlpProtocol::Grpc => {
            let builder = builder
                .with_tonic()
                .with_endpoint(endpoint)
                .with_timeout(PATIENCE)
                .with_metadata(settings.metadata().unwrap_or_default());
            if endpoint.starts_with("https") {
                builder
                    .with_tls_config(ClientTlsConfig::new().with_enabled_roots())
                    .build()
            } else {
                builder.build()
            }
        }
        OtlpProtocol::Http => {
            // The process's choice of cryptography, once; whoever chose before keeps theirs.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let base = endpoint.trim_end_matches('/');
            let path = if base.ends_with("/v1/traces") {
                ""
            } else {
                "/v1/traces"
            };
            builder
                .with_http()
                .with_protocol(Protocol::HttpBinary)
                .with_endpoint(format!("{base}{path}"))
                .with_timeout(PATIENCE)
                .with_headers(settings.headers().unwrap_or_default())
                .build()
        }
    }
}

/// The spans that belong to traces are our own; libraries make theirs for debugging them, with whatever they handle.
pub(crate) fn only_own_spans() -> FilterFn<fn(&Metadata<'_>) -> bool> {
    let is_own: fn(&Metadata<'_>) -> bool =
        |metadata| metadata.is_span() && metadata.target().starts_with("redline");
    filter_fn(is_own).with_max_level_hint(LevelFilter::INFO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(endpoint: &str, headers: &str) -> Result<(), String> {
        TraceSettings {
            endpoint: Some(endpoint.to_owned()),
            headers: Some(headers.to_owned().into()),
            ..TraceSettings::default()
        }
        .check()
    }

    #[test]
    fn an_endpoint_that_cannot_be_used_is_named_and_not_repeated() {
        assert_eq!(check("http://127.0.0.1:4317", ""), Ok(()));
        assert_eq!(check("https://traces.example.com/otlp", "api-key=1"), Ok(()));
        for wrong in [
            "127.0.0.1:4317",
            "ftp://hunter2:1",
            "http://",
            "http://a:hunter2@b:1",
            "http://a/?k=hunter2",
        ] {
            let error = check(wrong, "").unwrap_err();
            assert!(
                error.starts_with("traces.endpoint") && !error.contains("hunter2"),
                "{wrong}: {error}"
            );
        }
    }

    #[test]
    fn headers_are_checked_and_never_printed() {
        for wrong in ["hunter2", "a b=hunter2", "a=b\u{7f}hunter2"] {
            let error = check("http://127.0.0.1:4317", wrong).unwrap_err();
            assert!(
                error.starts_with("traces.headers") && !error.contains("hunter2"),
                "{error}"
            );
        }
        let settings = TraceSettings {
            headers: Some("authorization=Bearer hunter2, x-team = 7".to_owned().into()),
            ..TraceSettings::default()
        };
        assert_eq!(
            settings
                .headers()
                .unwrap()
                .get("authorization")
                .map(String::as_str),
            Some("Bearer hunter2")
        );
        assert_eq!(
            settings.headers().unwrap().get("x-team").map(String::as_str),
            Some("7")
        );
        let shown = format!("{settings:?} {:?}", settings.metadata().unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_ratio_is_a_number_or_its_text_from_0_to_1() {
        let read = |json: &str| serde_json::from_str::<TraceSettings>(json);
        for (json, ratio) in [
            (r#"{"sample_ratio":0.25}"#, 0.25),
            (r#"{"sample_ratio":"0.25"}"#, 0.25),
            (r#"{"sample_ratio":1}"#, 1.0),
        ] {
            let settings = read(json).unwrap();
            assert_eq!((settings.sample_ratio, settings.check()), (ratio, Ok(())));
        }
        assert!(read(r#"{"sample_ratio":"some"}"#).is_err());
        let error = read(r#"{"sample_ratio":1.5}"#).unwrap().check().unwrap_err();
        assert_eq!(error, "traces.sample_ratio is 1.5; 0 to 1 are expected");
        assert!(read(r#"{"sample_ratio":"NaN"}"#).unwrap().check().is_err());
    }
}
