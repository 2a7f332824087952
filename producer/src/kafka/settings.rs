//! The section `[kafka]`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use rdkafka::ClientConfig;
use redline_connections::{Keys, secret, tls};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::oauth::OauthSettings;

/// The settings of this connection, as errors name them.
const KEYS: Keys = Keys {
    address: "kafka.bootstrap_servers",
    authority: "kafka.ca_file",
    certificate: Some("\"ssl.certificate.location\" and \"ssl.key.location\" in kafka.client"),
    login: "kafka.username and kafka.password",
};

/// Keys of ours, and the properties of librdkafka that they are.
const OWN: [(&str, &str); 3] = [
    ("kafka.username", "sasl.username"),
    ("kafka.password", "sasl.password"),
    ("kafka.ca_file", "ssl.ca.location"),
];

/// The section `[kafka]`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaSettings {
    /// Addresses `host:port`, divided by commas. Default: `127.0.0.1:9092`.
    pub bootstrap_servers: String,
    /// The user of SASL; then the protocol is `SASL_SSL` and the mechanism `SCRAM-SHA-512`, unless `client` says
    /// otherwise. Default: none.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<SecretString>,
    /// A file with the password instead.
    pub password_file: Option<PathBuf>,
    /// The certificate of the only authority that is trusted; then the protocol is TLS. Default: whom the system trusts.
    pub ca_file: Option<PathBuf>,
    /// Tokens instead of a password.
    pub oauth: OauthSettings,
    /// Any further librdkafka property by its own name, such as `security.protocol`. Default: none.
    pub client: BTreeMap<String, String>,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            bootstrap_servers: "127.0.0.1:9092".to_owned(),
            username: None,
            password: None,
            password_file: None,
            ca_file: None,
            oauth: OauthSettings::default(),
            client: BTreeMap::new(),
        }
    }
}

impl KafkaSettings {
    /// What every client of ours starts from. What stands outside of `client` wins over it, but for the protocol and the
    /// mechanism, which are only guessed.
    pub fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in self.guessed() {
            config.set(name, value);
        }
        for (name, value) in &self.client {
            config.set(name, value);
        }
        for (name, value) in self.own() {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.bootstrap_servers);
        config
    }

    /// The settings of this connection, as errors name them.
    pub fn keys(&self) -> Keys {
        let login = match self.oauth.token_url {
            Some(_) => {
                "kafka.oauth.client_id and kafka.oauth.scope, and at what the broker expects of a token"
            }
            None => KEYS.login,
        };
        Keys { login, ..KEYS }
    }

    fn own(&self) -> impl Iterator<Item = (&'static str, String)> {
        let values = [
            self.username.clone(),
            self.password
                .as_ref()
                .map(|password| password.expose_secret().to_owned()),
            self.ca_file.as_ref().map(|file| file.display().to_string()),
        ];
        let names = OWN.iter().map(|(_, name)| *name);
        names.zip(values).filter_map(|(name, value)| Some((name, value?)))
    }

    fn guessed(&self) -> Vec<(&'static str, &'static str)> {
        if self.oauth.token_url.is_some() {
            vec![
                ("security.protocol", "SASL_SSL"),
                ("sasl.mechanism", "OAUTHBEARER"),
            ]
        } else if self.username.is_some() {
            vec![
                ("security.protocol", "SASL_SSL"),
                ("sasl.mechanism", "SCRAM-SHA-512"),
            ]
        } else if self.ca_file.is_some() {
            vec![("security.protocol", "SSL")]
        } else {
            Vec::new()
        }
    }

    /// Takes secrets from their files.
    ///
    /// # Errors
    /// A sentence that names the key and the file.
    pub fn read_secrets(&mut self) -> Result<(), String> {
        secret::settle(
            &mut self.password,
            self.password_file.as_deref(),
            ("kafka.password", "kafka.password_file"),
        )?;
        self.oauth.read_secrets()
    }

    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        if self.bootstrap_servers.contains('@') {
            // What stands there is not repeated: it may be a password.
            return Err(
                "kafka.bootstrap_servers holds a login; host:port,host:port is expected, and logins belong into \
                 kafka.username and kafka.password"
                    .to_owned(),
            );
        }
        if let Some((key, name)) = OWN
            .iter()
            .find(|(_, name)| self.client.contains_key(*name) && self.own().any(|(own, _)| own == *name))
        {
            return Err(format!(
                "{key} and \"{name}\" in kafka.client are both set; keep one of them"
            ));
        }
        if let Some(file) = &self.ca_file {
            tls::authorities(file, KEYS.authority)?;
        }
        let has = |name: &str| self.client.contains_key(name);
        match (self.username.is_some(), self.password.is_some()) {
            (true, false) if !has("sasl.password") => {
                return Err(
                    "kafka.username is set and kafka.password is not; or name kafka.password_file".to_owned(),
                );
            }
            (false, true) if !has("sasl.username") => {
                return Err("kafka.password is set and kafka.username is not".to_owned());
            }
            _ => {}
        }
        if self.username.is_some() && self.oauth.token_url.is_some() {
            return Err(
                "kafka.username and kafka.oauth.token_url are both set; keep one way to log in".to_owned(),
            );
        }
        if has("sasl.oauthbearer.method") || has("sasl.oauthbearer.token.endpoint.url") {
            return Err(
                "librdkafka's own way to fetch tokens (sasl.oauthbearer.method) is not built in; \
                        set kafka.oauth.token_url, client_id and client_secret instead"
                    .to_owned(),
            );
        }
        if self.wants_tokens()
            && self.oauth.token_url.is_none()
            && !has("enable.sasl.oauthbearer.unsecure.jwt")
        {
            return Err(
                "\"sasl.mechanism\" in kafka.client is OAUTHBEARER, and kafka.oauth.token_url is not set"
                    .to_owned(),
            );
        }
        self.oauth.check()
    }

    fn property(&self, names: &[&str]) -> String {
        let config = self.client_config();
        let found = names.iter().find_map(|name| config.get(name));
        found.unwrap_or_default().to_ascii_uppercase()
    }

    /// Whether clients log in with tokens.
    pub(crate) fn wants_tokens(&self) -> bool {
        self.property(&["sasl.mechanism", "sasl.mechanisms"]) == "OAUTHBEARER"
    }

    /// Whether clients speak TLS.
    pub(crate) fn speaks_tls(&self) -> bool {
        self.property(&["security.protocol"]).ends_with("SSL")
    }
}

/// Whether a property's value must never be shown.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "secret", "key.pem", "oauthbearer.config", "token"]
        .iter()
        .any(|word| name.contains(word))
}

impl fmt::Debug for KafkaSettings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: BTreeMap<&str, &str> = self
            .client
            .iter()
            .map(|(name, value)| {
                let value = if is_secret(name) { "(hidden)" } else { value };
                (name.as_str(), value)
            })
            .collect();
        out.debug_struct("KafkaSettings")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("username", &self.username)
            .field("password", &self.password)
            .field("password_file", &self.password_file)
            .field("ca_file", &self.ca_file)
            .field("oauth", &self.oauth)
            .field("client", &shown)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(client: &[(&str, &str)]) -> KafkaSettings {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        KafkaSettings {
            client: client.iter().map(own).collect(),
            ..KafkaSettings::default()
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        let settings = KafkaSettings {
            password: Some("hunter2".into()),
            oauth: OauthSettings {
                client_secret: Some("hunter2".into()),
                ..OauthSettings::default()
            },
            ..settings(&[
                ("sasl.username", "redline"),
                ("ssl.key.password", "hunter2"),
                ("sasl.oauthbearer.client.secret", "hunter2"),
                ("ssl.key.pem", "hunter2"),
            ])
        };
        let shown = format!("{settings:?}");
        assert!(shown.contains("redline") && !shown.contains("hunter2"), "{shown}");
        assert_eq!(
            settings.client_config().get("sasl.password"),
            Some("hunter2"),
            "the client itself must know it"
        );
    }

    #[test]
    fn a_user_makes_it_scram_over_tls_unless_the_client_says_otherwise() {
        let user = KafkaSettings {
            username: Some("redline".to_owned()),
            password: Some("hunter2".into()),
            ..KafkaSettings::default()
        };
        assert_eq!(user.check(), Ok(()));
        let config = user.client_config();
        assert_eq!(config.get("security.protocol"), Some("SASL_SSL"));
        assert_eq!(config.get("sasl.mechanism"), Some("SCRAM-SHA-512"));
        let other = KafkaSettings {
            client: [("sasl.mechanism".to_owned(), "SCRAM-SHA-256".to_owned())].into(),
            ..user
        };
        assert_eq!(other.client_config().get("sasl.mechanism"), Some("SCRAM-SHA-256"));
        assert!(other.speaks_tls() && !other.wants_tokens());
        assert!(!KafkaSettings::default().speaks_tls());
    }

    #[test]
    fn what_does_not_go_together_is_named() {
        let refused = |settings: KafkaSettings| settings.check().unwrap_err();
        let user = || KafkaSettings {
            username: Some("redline".to_owned()),
            ..KafkaSettings::default()
        };
        assert!(refused(user()).contains("kafka.password is not"));
        let login = refused(KafkaSettings {
            bootstrap_servers: "u:hunter2@h:1".to_owned(),
            ..KafkaSettings::default()
        });
        assert!(
            login.contains("kafka.bootstrap_servers") && !login.contains("hunter2"),
            "{login}"
        );
        let twice = KafkaSettings {
            password: Some("hunter2".into()),
            ..user()
        };
        let twice = KafkaSettings {
            client: settings(&[("sasl.username", "other")]).client,
            ..twice
        };
        assert!(refused(twice).contains("kafka.username and \"sasl.username\" in kafka.client"));
        let method = settings(&[
            ("sasl.mechanism", "OAUTHBEARER"),
            ("sasl.oauthbearer.method", "oidc"),
        ]);
        assert!(refused(method).contains("kafka.oauth.token_url"));
        let no_tokens = settings(&[("sasl.mechanism", "OAUTHBEARER")]);
        assert!(refused(no_tokens).contains("kafka.oauth.token_url is not set"));
    }
}
