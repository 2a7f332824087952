//! The schema registry behind one trait, and its client for registries that speak Confluent's API.
//!
//! schema_registry_converter remembers errors in its decoders' cache; only its plain calls are used here, and
//! what may be remembered is decided by those who ask.

use std::time::Duration;

use schema_registry_converter::async_impl::schema_registry::{
    SrSettings, get_schema_by_id, perform_sr_call, post_schema,
};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{RawError, SchemaType, SrCall, SuppliedSchema};

/// The level that every subject of ours is set to.
pub const COMPATIBILITY: &str = "FULL_TRANSITIVE";

/// What a registry can answer besides what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It did not answer, or said that it cannot now. Class: try again.
    #[error("the schema registry at {url} cannot be reached or is not ready: {reason}")]
    Unavailable {
        /// Its address.
        url: String,
        /// What the client says.
        reason: String,
    },
    /// It understood and said no. Class: stop.
    #[error("the schema registry refuses {what}: {reason}")]
    Refused {
        /// What was asked for.
        what: String,
        /// The registry's own words.
        reason: String,
    },
}

/// A schema registry. Answers are never cached here.
pub trait SchemaRegistry {
    /// The schema of an id; none when the registry does not know it.
    ///
    /// # Errors
    /// See [`RegistryError`].
    fn schema_text(
        &self,
        schema_id: u32,
    ) -> impl Future<Output = Result<Option<String>, RegistryError>> + Send;

    /// The id under which a schema is registered for a subject; none when it is not. Registers nothing.
    ///
    /// # Errors
    /// See [`RegistryError`].
    fn schema_id(
        &self,
        subject: &str,
        schema: &str,
    ) -> impl Future<Output = Result<Option<u32>, RegistryError>> + Send;

    /// Sets a subject's compatibility and registers a schema for it; answers its id. Idempotent.
    ///
    /// # Errors
    /// See [`RegistryError`]; a breaking schema is refused with the registry's reason.
    fn register(
        &self,
        subject: &str,
        schema: &str,
    ) -> impl Future<Output = Result<u32, RegistryError>> + Send;
}

impl<R: SchemaRegistry + Send + Sync> SchemaRegistry for std::sync::Arc<R> {
    async fn schema_text(&self, schema_id: u32) -> Result<Option<String>, RegistryError> {
        self.as_ref().schema_text(schema_id).await
    }

    async fn schema_id(&self, subject: &str, schema: &str) -> Result<Option<u32>, RegistryError> {
        self.as_ref().schema_id(subject, schema).await
    }

    async fn register(&self, subject: &str, schema: &str) -> Result<u32, RegistryError> {
        self.as_ref().register(subject, schema).await
    }
}

/// Checks that an address can be one of a registry.
///
/// # Errors
/// Why not, without the address: it may hold a password.
pub fn check_address(url: &str) -> Result<(), RegistryError> {
    let reason = match reqwest::Url::parse(url) {
        Ok(parsed) if ["http", "https"].contains(&parsed.scheme()) => return Ok(()),
        Ok(_) => "http:// or https:// is expected".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(unusable_address(reason))
}

fn unusable_address(reason: String) -> RegistryError {
    RegistryError::Refused {
        what: "this address".to_owned(),
        reason,
    }
}

/// A client for registries that speak Confluent's API.
pub struct ConfluentRegistry {
    url: String,
    /// User and password in the address, with their `@`; never shown.
    credentials: Option<String>,
    settings: SrSettings,
    http: reqwest::Client,
}

impl ConfluentRegistry {
    /// A client for one address, such as `http://127.0.0.1:8081`.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub fn new(url: &str, timeout: Duration) -> Result<Self, RegistryError> {
        let url = url.trim_end_matches('/').to_owned();
        check_address(&url)?;
        // The process's choice of cryptography, once; whoever chose before keeps theirs.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = SrSettings::new_builder(url.clone());
        let settings = builder
            .set_timeout(timeout)
            .no_proxy()
            .build()
            .map_err(|error| unusable_address(error.to_string()))?;
        let http = reqwest::Client::builder()
            .timeout(timeout)
            .no_proxy()
            .build()
            .map_err(|error| unusable_address(error.to_string()))?;
        let credentials = url
            .split_once("://")
            .and_then(|(_, rest)| rest.split_once('@'))
            .map(|(credentials, _)| format!("{credentials}@"));
        Ok(Self {
            url,
            credentials,
            settings,
            http,
        })
    }

    /// Sorts an error of the client: not found, refused, or unavailable.
    fn sort(&self, what: &str, error: &SRCError) -> Answer {
        let raw = std::error::Error::source(error).and_then(|source| source.downcast_ref::<RawError>());
        match raw {
            Some(raw) if matches!(raw.error_code, 40401..=40403) => Answer::NotFound,
            // 0 stands for an answer that was no registry's; 5xx and 5xxxx for a registry in trouble.
            Some(raw)
                if raw.error_code != 0
                    && !(500..600).contains(&raw.error_code)
                    && raw.error_code < 50_000 =>
            {
                Answer::Error(RegistryError::Refused {
                    what: what.to_owned(),
                    reason: raw.message.clone(),
                })
            }
            Some(raw) => Answer::Error(self.unavailable(format!("{}, {}", error.error, raw.message))),
            None => {
                Answer::Error(self.unavailable(error.cause.clone().unwrap_or_else(|| error.error.clone())))
            }
        }
    }

    fn unavailable(&self, reason: String) -> RegistryError {
        let shown = |text: &str| match &self.credentials {
            Some(credentials) => text.replace(credentials, ""),
            None => text.to_owned(),
        };
        RegistryError::Unavailable {
            url: shown(&self.url),
            reason: shown(&reason),
        }
    }

    async fn set_compatibility(&self, subject: &str) -> Result<(), RegistryError> {
        let answer = self
            .http
            .put(format!("{}/config/{subject}", self.url))
            .header("content-type", "application/vnd.schemaregistry.v1+json")
            .body(format!(r#"{{"compatibility":"{COMPATIBILITY}"}}"#))
            .send()
            .await
            .map_err(|error| self.unavailable(error.to_string()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let reason = answer.text().await.unwrap_or_default();
        let what = format!("{COMPATIBILITY} for {subject}");
        if status.is_server_error() {
            return Err(self.unavailable(format!("{what}: {status} {reason}")));
        }
        Err(RegistryError::Refused { what, reason })
    }
}

enum Answer {
    NotFound,
    Error(RegistryError),
}

impl Answer {
    fn into_option<T>(self) -> Result<Option<T>, RegistryError> {
        match self {
            Self::NotFound => Ok(None),
            Self::Error(error) => Err(error),
        }
    }
}

fn supplied(schema: &str) -> SuppliedSchema {
    SuppliedSchema::new(None, SchemaType::Avro, schema.to_owned())
}

impl SchemaRegistry for ConfluentRegistry {
    async fn schema_text(&self, schema_id: u32) -> Result<Option<String>, RegistryError> {
        match get_schema_by_id(schema_id, &self.settings).await {
            Ok(registered) => Ok(Some(registered.schema)),
            Err(error) => self.sort(&format!("schema {schema_id}"), &error).into_option(),
        }
    }

    async fn schema_id(&self, subject: &str, schema: &str) -> Result<Option<u32>, RegistryError> {
        let body = serde_json::json!({ "schema": schema, "schemaType": "AVRO" }).to_string();
        match perform_sr_call(&self.settings, SrCall::PostForVersion(subject, &body)).await {
            Ok(registered) => Ok(registered.id),
            Err(error) => self
                .sort(&format!("the schema of {subject}"), &error)
                .into_option(),
        }
    }

    async fn register(&self, subject: &str, schema: &str) -> Result<u32, RegistryError> {
        self.set_compatibility(subject).await?;
        let what = format!("the schema of {subject}");
        match post_schema(&self.settings, subject.to_owned(), supplied(schema)).await {
            Ok(registered) => Ok(registered.id),
            Err(error) => Err(match self.sort(&what, &error) {
                Answer::NotFound => self.unavailable(format!("{what} cannot be registered: not found")),
                Answer::Error(error) => error,
            }),
        }
    }
}
