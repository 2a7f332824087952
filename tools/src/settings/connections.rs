//! The sections of the services that are connected to, and how their secrets come in.
//!
//! A secret never has to stand in the settings file: `REDLINE_KAFKA__PASSWORD` gives it, or `password_file` names a
//! file that holds it. Variables with secrets, and librdkafka's properties, are texts as they stand: a password may be
//! made of digits.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use redline_connections::{secret, tls};
use redline_consumer::redis_connection;
use redline_schemas::registry::{Access, ConfluentRegistry, check_address};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

/// The keys whose variables are texts, whatever they look like: secrets, and the names that go with them.
const TEXTS: [&str; 10] = [
    "kafka.username",
    "kafka.oauth.client_id",
    "registry.username",
    "kafka.password",
    "kafka.oauth.client_secret",
    "registry.password",
    "registry.token",
    "database.password",
    "redis.password",
    // Addresses may hold passwords.
    "database.url",
];

/// Before the name of a librdkafka property, in which `_` stands for a dot: `REDLINE_KAFKA__CLIENT__SECURITY_PROTOCOL`.
const PROPERTY: &str = "KAFKA__CLIENT__";

/// Whether a key's value must not be repeated in an error.
pub(super) fn is_secret(key: &str) -> bool {
    (TEXTS.contains(&key) && !key.ends_with("username"))
        || ["redis.url", "registry.url"].contains(&key)
        || key.starts_with("kafka.client.")
}

fn key_of(variable: &str) -> String {
    variable.to_ascii_lowercase().replace("__", ".")
}

/// Whether a variable, without `REDLINE_`, is a text whatever it looks like.
pub(super) fn is_read_as_text(variable: &str) -> bool {
    let is_property = variable
        .get(..PROPERTY.len())
        .is_some_and(|begin| begin.eq_ignore_ascii_case(PROPERTY));
    is_property || TEXTS.contains(&key_of(variable).as_str())
}

/// The texts that variables give, by their keys.
pub(super) fn texts(variables: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let ours = variables.filter_map(|(name, value)| Some((key_of(name.strip_prefix("REDLINE_")?), value)));
    ours.filter(|(key, _)| TEXTS.contains(&key.as_str())).collect()
}

/// The properties of librdkafka that variables give, by their own names.
pub(super) fn properties(variables: impl Iterator<Item = (String, String)>) -> BTreeMap<String, String> {
    let ours = variables.filter_map(|(name, value)| {
        let property = name.strip_prefix("REDLINE_")?.strip_prefix(PROPERTY)?;
        // No property that can be set as text has an underscore in its name.
        Some((property.to_ascii_lowercase().replace('_', "."), value))
    });
    ours.collect()
}

/// The section `[registry]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RegistrySettings {
    /// Address of a registry that speaks Confluent's API.
    pub(crate) url: String,
    /// Seconds that it may take to answer.
    pub(crate) timeout_seconds: u64,
    /// User of basic authentication.
    pub(crate) username: Option<String>,
    password: Option<SecretString>,
    password_file: Option<PathBuf>,
    /// A bearer token instead.
    token: Option<SecretString>,
    token_file: Option<PathBuf>,
    /// The certificate of the only authority that is trusted; default whom the system trusts.
    ca_file: Option<PathBuf>,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8081".to_owned(),
            timeout_seconds: 10,
            username: None,
            password: None,
            password_file: None,
            token: None,
            token_file: None,
            ca_file: None,
        }
    }
}

impl RegistrySettings {
    pub(crate) fn client(&self) -> anyhow::Result<ConfluentRegistry> {
        let timeout = Duration::from_secs(self.timeout_seconds.max(1));
        let access = Access {
            username: self.username.clone(),
            password: self.password.clone(),
            token: self.token.clone(),
            authority: authority(self.ca_file.as_ref(), "registry.ca_file")?,
        };
        ConfluentRegistry::with_access(&self.url, timeout, access).context("registry.url cannot be used")
    }

    pub(super) fn read_secrets(&mut self) -> Result<(), String> {
        secret::settle(
            &mut self.password,
            self.password_file.as_deref(),
            ("registry.password", "registry.password_file"),
        )?;
        secret::settle(
            &mut self.token,
            self.token_file.as_deref(),
            ("registry.token", "registry.token_file"),
        )
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        check_address(&self.url).context("registry.url cannot be used")?;
        if self.username.is_some() && self.token.is_some() {
            anyhow::bail!("registry.username and registry.token are both set; keep one way to log in");
        }
        if self.password.is_some() && self.username.is_none() {
            anyhow::bail!("registry.password is set and registry.username is not");
        }
        authority(self.ca_file.as_ref(), "registry.ca_file")?;
        Ok(())
    }
}

fn authority(file: Option<&PathBuf>, key: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let read = file.map(|file| tls::authorities(file, key));
    read.transpose().map_err(anyhow::Error::msg)
}

/// The section `[database]`. The address may hold a password.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DatabaseSettings {
    url: SecretString,
    password: Option<SecretString>,
    password_file: Option<PathBuf>,
}

impl Default for DatabaseSettings {
    fn default() -> Self {
        Self {
            url: "postgres://redline@127.0.0.1:5432/redline".into(),
            password: None,
            password_file: None,
        }
    }
}

impl DatabaseSettings {
    /// The address, with the password in it where there is one.
    pub(crate) fn url(&self) -> &str {
        self.url.expose_secret()
    }

    /// The database at this address.
    pub(crate) fn at(url: &str) -> Self {
        Self {
            url: url.into(),
            password: None,
            password_file: None,
        }
    }

    pub(super) fn read_secrets(&mut self) -> Result<(), String> {
        secret::settle(
            &mut self.password,
            self.password_file.as_deref(),
            ("database.password", "database.password_file"),
        )?;
        put_into(&mut self.url, self.password.as_ref(), "database")
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        redline_store::options(self.url(), "settings").context("database.url")?;
        // A file that is missing would look like a server that is away.
        let parsed = reqwest::Url::parse(self.url()).ok();
        let names = ["sslrootcert", "sslcert", "sslkey"];
        let pairs = parsed.iter().flat_map(reqwest::Url::query_pairs);
        for (name, file) in pairs.filter(|(name, _)| names.contains(&name.as_ref())) {
            if let Err(error) = std::fs::File::open(&*file) {
                anyhow::bail!("{name} in database.url names {file}, which cannot be read: {error}");
            }
        }
        Ok(())
    }

    /// The same server and user with another database; none when the address names none.
    pub(crate) fn with_database(&self, name: &str) -> Option<Self> {
        let url = self.url();
        let (address, query) = url
            .split_once('?')
            .map_or((url, None), |(address, query)| (address, Some(query)));
        let (server, _) = address
            .rsplit_once('/')
            .filter(|(server, _)| server.contains("://") && !server.ends_with('/'))?;
        let query = query.map_or_else(String::new, |query| format!("?{query}"));
        Some(Self {
            url: format!("{server}/{name}{query}").into(),
            ..self.clone()
        })
    }
}

/// Writes a password into an address.
fn put_into(url: &mut SecretString, password: Option<&SecretString>, section: &str) -> Result<(), String> {
    let Some(password) = password else { return Ok(()) };
    let mut parsed = reqwest::Url::parse(url.expose_secret())
        .map_err(|_| format!("{section}.password is set, and {section}.url is no address"))?;
    if parsed.password().is_some() {
        return Err(format!(
            "{section}.url holds a password, and {section}.password is set too; keep one of them"
        ));
    }
    parsed
        .set_password(Some(password.expose_secret()))
        .map_err(|()| {
            format!("{section}.password is set, and {section}.url has no host that it could be for")
        })?;
    *url = parsed.as_str().into();
    Ok(())
}

/// The section `[redis]`. The address may hold a password.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RedisSettings {
    url: SecretString,
    password: Option<SecretString>,
    password_file: Option<PathBuf>,
    /// The certificate of the only authority that is trusted; default whom the system trusts.
    ca_file: Option<PathBuf>,
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379/".into(),
            password: None,
            password_file: None,
            ca_file: None,
        }
    }
}

impl RedisSettings {
    #[cfg(test)]
    pub(crate) fn url(&self) -> &str {
        self.url.expose_secret()
    }

    /// A client; it connects when it is first used.
    pub(crate) fn client(&self) -> anyhow::Result<redline_consumer::RedisClient> {
        let authority = authority(self.ca_file.as_ref(), "redis.ca_file")?;
        redis_connection::client(self.url.expose_secret(), authority.as_deref()).map_err(anyhow::Error::msg)
    }

    pub(super) fn read_secrets(&mut self) -> Result<(), String> {
        secret::settle(
            &mut self.password,
            self.password_file.as_deref(),
            ("redis.password", "redis.password_file"),
        )?;
        put_into(&mut self.url, self.password.as_ref(), "redis")
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        self.client().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_with_secrets_and_properties_are_texts_as_they_stand() {
        let variables = [
            ("REDLINE_KAFKA__PASSWORD", "007"),
            ("REDLINE_KAFKA__OAUTH__CLIENT_SECRET", "[x]"),
            ("REDLINE_KAFKA__CLIENT__SSL_CA_LOCATION", "/ca.pem"),
            (
                "REDLINE_KAFKA__CLIENT__ENABLE_SSL_CERTIFICATE_VERIFICATION",
                "true",
            ),
            ("REDLINE_WORK__GROUP", "redline"),
            ("PATH", "/bin"),
        ];
        let variables = || {
            variables
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into_iter()
        };
        assert_eq!(
            texts(variables()),
            [("kafka.password", "007"), ("kafka.oauth.client_secret", "[x]")]
                .map(|(key, text)| (key.to_owned(), text.to_owned()))
        );
        let properties = properties(variables());
        assert_eq!(properties["ssl.ca.location"], "/ca.pem");
        assert_eq!(properties["enable.ssl.certificate.verification"], "true");
        assert_eq!(properties.len(), 2);
        assert!(is_read_as_text("KAFKA__PASSWORD") && is_read_as_text("KAFKA__CLIENT__DEBUG"));
        assert!(!is_read_as_text("WORK__GROUP") && !is_read_as_text("KAFKA__CA_FILE"));
    }

    #[test]
    fn a_password_is_put_into_its_address_and_never_printed() {
        let mut database = DatabaseSettings {
            url: "postgres://redline@h:1/d?sslmode=verify-full".into(),
            password: Some("p@ss/word".into()),
            password_file: None,
        };
        database.read_secrets().unwrap();
        assert_eq!(
            database.url(),
            "postgres://redline:p%40ss%2Fword@h:1/d?sslmode=verify-full"
        );
        assert!(!format!("{database:?}").contains("word@"));
        let twice = database.read_secrets().unwrap_err();
        assert!(
            twice.starts_with("database.url holds a password") && !twice.contains("p%40"),
            "{twice}"
        );
    }

    #[test]
    fn what_does_not_go_together_is_named() {
        let registry = RegistrySettings {
            username: Some("redline".to_owned()),
            token: Some("hunter2".into()),
            ..RegistrySettings::default()
        };
        let error = registry.check().unwrap_err().to_string();
        assert!(error.contains("registry.username and registry.token"), "{error}");
        let file = RegistrySettings {
            ca_file: Some(PathBuf::from("/nowhere.pem")),
            ..RegistrySettings::default()
        };
        let error = file.check().unwrap_err().to_string();
        assert!(
            error.starts_with("registry.ca_file names /nowhere.pem, which cannot be read"),
            "{error}"
        );
        let redis = RedisSettings {
            url: "redis+nowhere://:hunter2@h".into(),
            ..RedisSettings::default()
        };
        let error = redis.check().unwrap_err().to_string();
        assert!(
            error.starts_with("redis.url is not") && !error.contains("hunter2"),
            "{error}"
        );
    }
}
