//! The schema registry behind one trait, and its client for registries that speak Confluent's API.
//!
//! schema_registry_converter remembers errors in its decoders' cache; only its plain calls are used here, and
//! what may be remembered is decided by those who ask.

use std::error::Error;
use std::time::Duration;

use redline_connections::tls::{self, TlsTrouble};
use redline_connections::{Keys, refused_login};
use schema_registry_converter::async_impl::schema_registry::{
    SrSettings, get_schema_by_id, perform_sr_call, post_schema,
};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{RawError, SchemaType, SrCall, SuppliedSchema};
use secrecy::{ExposeSecret as _, SecretString};

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
    /// It does not take our login, or cannot be trusted. Class: stop at the start; later it is waited for.
    #[error("{0}")]
    Unusable(String),
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
        Ok(parsed) if parsed.query().is_some() || parsed.fragment().is_some() => {
            "it may have no query; a login belongs into registry.username, or registry.token".to_owned()
        }
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

/// The settings of this connection, as errors name them.
const KEYS: Keys = Keys {
    address: "registry.url",
    authority: "registry.ca_file",
    certificate: None,
    login: "registry.username and registry.password, or registry.token",
};

/// How a registry knows us, and we it.
#[derive(Clone, Default, Debug)]
pub struct Access {
    /// User of basic authentication.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<SecretString>,
    /// A bearer token instead.
    pub token: Option<SecretString>,
    /// The certificate of the only authority that is trusted, in PEM. None is whom the system trusts.
    pub authority: Option<Vec<u8>>,
}

/// A client for registries that speak Confluent's API.
pub struct ConfluentRegistry {
    url: String,
    access: Access,
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
        Self::with_access(url, timeout, Access::default())
    }

    /// The same with a login, or an authority of one's own.
    ///
    /// # Errors
    /// When the address or the authority's certificate cannot be used.
    pub fn with_access(url: &str, timeout: Duration, access: Access) -> Result<Self, RegistryError> {
        let url = url.trim_end_matches('/').to_owned();
        check_address(&url)?;
        tls::choose_cryptography();
        let mut builder = SrSettings::new_builder(url.clone());
        match (&access.token, &access.username) {
            (Some(token), _) => {
                builder.set_token_authorization(token.expose_secret());
            }
            (None, Some(username)) => {
                let password = access.password.as_ref().map(SecretString::expose_secret);
                builder.set_basic_authorization(username, password);
            }
            (None, None) => {}
        }
        let settings = builder
            .set_timeout(timeout)
            .no_proxy()
            .build_with(trusting(&access)?)
            .map_err(|error| unusable_address(error.to_string()))?;
        let http = trusting(&access)?
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
            access,
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
            Some(raw) if refuses_login(raw, error) => Answer::Error(self.refused_login(&error.error)),
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
                let reason = error.cause.clone().unwrap_or_else(|| error.error.clone());
                Answer::Error(self.unanswered(error, reason))
            }
        }
    }

    /// Without user and password.
    fn shown(&self, text: &str) -> String {
        match &self.credentials {
            Some(credentials) => text.replace(credentials, ""),
            None => text.to_owned(),
        }
    }

    fn named(&self) -> String {
        format!("the schema registry at {}", self.shown(&self.url))
    }

    fn unavailable(&self, reason: String) -> RegistryError {
        RegistryError::Unavailable {
            url: self.shown(&self.url),
            reason: self.shown(&reason),
        }
    }

    fn unanswered(&self, error: &(dyn Error + 'static), reason: String) -> RegistryError {
        match TlsTrouble::of(error) {
            Some(trouble) => RegistryError::Unusable(trouble.told(self.named(), KEYS)),
            None => self.unavailable(reason),
        }
    }

    fn refused_login(&self, words: &str) -> RegistryError {
        RegistryError::Unusable(refused_login(self.named(), self.shown(words), KEYS))
    }

    /// Whether the registry can be used: that it answers about a subject, registered or not, is who it says, and takes our
    /// login.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn reach(&self, subject: &str) -> Result<(), RegistryError> {
        match perform_sr_call(&self.settings, SrCall::GetLatest(subject)).await {
            Ok(_) => Ok(()),
            Err(error) => match self.sort(&format!("the schema of {subject}"), &error) {
                Answer::NotFound => Ok(()),
                Answer::Error(error) => Err(self.or_tls_alone(error).await),
            },
        }
    }

    /// What does not answer in plain text may answer in TLS.
    async fn or_tls_alone(&self, error: RegistryError) -> RegistryError {
        const PATIENCE: Duration = Duration::from_secs(3);
        let asked = matches!(error, RegistryError::Unavailable { .. })
            .then(|| reqwest::Url::parse(&self.url).ok())
            .flatten()
            .filter(|url| url.scheme() == "http");
        let Some((host, port)) =
            asked.and_then(|url| Some((url.host_str()?.to_owned(), url.port_or_known_default()?)))
        else {
            return error;
        };
        let answers = tokio::task::spawn_blocking(move || tls::answers_in_tls(&host, port, PATIENCE));
        match answers.await {
            Ok(true) => RegistryError::Unusable(TlsTrouble::OnlyTls.told(self.named(), KEYS)),
            _ => error,
        }
    }

    /// A request with what logs in.
    fn with_login(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.access {
            Access {
                token: Some(token), ..
            } => request.bearer_auth(token.expose_secret()),
            Access {
                username: Some(username),
                password,
                ..
            } => request.basic_auth(username, password.as_ref().map(SecretString::expose_secret)),
            _ => request,
        }
    }

    /// The level of a subject; none when it has none of its own.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn compatibility(&self, subject: &str) -> Result<Option<String>, RegistryError> {
        let request = self.http.get(format!("{}/config/{subject}", self.url));
        let answer = self.with_login(request).send().await.map_err(|error| {
            let reason = error.to_string();
            self.unanswered(&error, reason)
        })?;
        let status = answer.status();
        if status == reqwest::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if matches!(status.as_u16(), 401 | 403) {
            return Err(self.refused_login(&status.to_string()));
        }
        let text = answer.text().await.unwrap_or_default();
        if !status.is_success() {
            return Err(self.unavailable(format!("the level of {subject}: {status} {text}")));
        }
        let level = serde_json::from_str::<serde_json::Value>(&text).ok();
        let level = level.and_then(|answer| Some(answer.get("compatibilityLevel")?.as_str()?.to_owned()));
        Ok(level)
    }

    async fn set_compatibility(&self, subject: &str) -> Result<(), RegistryError> {
        let request = self.http.put(format!("{}/config/{subject}", self.url));
        let answer = self
            .with_login(request)
            .header("content-type", "application/vnd.schemaregistry.v1+json")
            .body(format!(r#"{{"compatibility":"{COMPATIBILITY}"}}"#))
            .send()
            .await
            .map_err(|error| {
                let reason = error.to_string();
                self.unanswered(&error, reason)
            })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        if matches!(status.as_u16(), 401 | 403) {
            return Err(self.refused_login(&status.to_string()));
        }
        let reason = answer.text().await.unwrap_or_default();
        let what = format!("{COMPATIBILITY} for {subject}");
        if status.is_server_error() {
            return Err(self.unavailable(format!("{what}: {status} {reason}")));
        }
        Err(RegistryError::Refused { what, reason })
    }
}

/// A client that trusts whom it is told to.
fn trusting(access: &Access) -> Result<reqwest::ClientBuilder, RegistryError> {
    let builder = reqwest::Client::builder();
    let Some(authority) = &access.authority else {
        return Ok(builder);
    };
    let trusted = reqwest::Certificate::from_pem_bundle(authority)
        .map_err(|error| RegistryError::Unusable(format!("{}: {error}", KEYS.authority)))?;
    Ok(builder.tls_certs_only(trusted))
}

/// Whether the answer is that of a registry, or of a gateway before it, that does not take our login.
fn refuses_login(raw: &RawError, error: &SRCError) -> bool {
    match raw.error_code {
        401 | 403 | 40101 | 40301 => true,
        // A gateway's own words are no registry's; its status the client keeps in its text only.
        0 => ["status 401", "status 403"]
            .iter()
            .any(|status| error.error.contains(status)),
        _ => false,
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
