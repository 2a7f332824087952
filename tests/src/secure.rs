//! Services that are encrypted and let nobody in without a login: see tests/services/secure.py.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use crate::services::Services;

/// Where they are, and who may come in.
pub struct Secure {
    described: Value,
    /// They end with its standard input, hence with the process that runs the tests.
    _harness: Child,
}

impl Secure {
    /// The services, started once for all tests of the process.
    ///
    /// # Panics
    /// When they cannot be started.
    pub fn services() -> &'static Self {
        // What fails once is not tried again by every test.
        static STARTED: OnceLock<Option<Secure>> = OnceLock::new();
        let started = STARTED.get_or_init(Self::start).as_ref();
        started.expect("the encrypted services start; the error stream tells why not")
    }

    fn start() -> Option<Self> {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("services");
        let mut harness = Command::new("python3")
            .arg(scripts)
            .arg("secure")
            .env("SCHEMA_REGISTRY_URL", Services::from_environment().registry)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts the encrypted services");
        let mut line = String::new();
        let output = harness.stdout.take().expect("its output is piped");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("its output is text");
        match serde_json::from_str(&line) {
            Ok(described) => Some(Self {
                described,
                _harness: harness,
            }),
            Err(_) => {
                drop(harness.stdin.take());
                let _ = harness.wait();
                None
            }
        }
    }

    /// A text that describes them, such as `password`, or `kafka/scram`.
    ///
    /// # Panics
    /// When there is none.
    pub fn text(&self, path: &str) -> &str {
        self.described
            .pointer(&format!("/{path}"))
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("tests/services/secure.py tells no {path}"))
    }

    /// The same services in plain text, as only tests reach them.
    pub fn in_plain_text(&self) -> Services {
        Services {
            kafka: self.text("kafka_plain").to_owned(),
            database: format!(
                "postgres://postgres@{}/postgres",
                self.text("postgres/good").replace("localhost", "127.0.0.1")
            ),
            redis: self.text("redis_plain").to_owned(),
            ..Services::from_environment()
        }
    }

    /// Variables for Kafka by SCRAM.
    pub fn kafka_by_scram(&self, user: &str) -> Variables {
        Variables::new(&[
            ("KAFKA_BOOTSTRAP_SERVERS", self.text("kafka/scram")),
            ("REDLINE_KAFKA__USERNAME", user),
            ("REDLINE_KAFKA__PASSWORD", self.text("password")),
            ("REDLINE_KAFKA__CA_FILE", self.text("authority")),
        ])
    }

    /// Variables for Kafka by tokens.
    pub fn kafka_by_tokens(&self) -> Variables {
        Variables::new(&[
            ("KAFKA_BOOTSTRAP_SERVERS", self.text("kafka/oauth")),
            ("REDLINE_KAFKA__CA_FILE", self.text("authority")),
            ("REDLINE_KAFKA__OAUTH__TOKEN_URL", self.text("token_url")),
            ("REDLINE_KAFKA__OAUTH__CLIENT_ID", self.text("client_id")),
            ("REDLINE_KAFKA__OAUTH__CLIENT_SECRET", self.text("client_secret")),
            ("REDLINE_KAFKA__OAUTH__CA_FILE", self.text("authority")),
        ])
    }

    /// Variables for the registry by basic authentication.
    pub fn registry_by_password(&self) -> Variables {
        Variables::new(&[
            ("SCHEMA_REGISTRY_URL", self.text("registry/basic")),
            ("REDLINE_REGISTRY__USERNAME", self.text("user")),
            ("REDLINE_REGISTRY__PASSWORD", self.text("password")),
            ("REDLINE_REGISTRY__CA_FILE", self.text("authority")),
        ])
    }

    /// Variables for the registry by a bearer token.
    pub fn registry_by_token(&self) -> Variables {
        Variables::new(&[
            ("SCHEMA_REGISTRY_URL", self.text("registry/bearer")),
            ("REDLINE_REGISTRY__TOKEN", self.text("token")),
            ("REDLINE_REGISTRY__CA_FILE", self.text("authority")),
        ])
    }

    /// Variables for a database of the server with this certificate.
    pub fn postgres(&self, certificate: &str, database: &str) -> Variables {
        let place = self.text(&format!("postgres/{certificate}"));
        let (user, authority) = (self.text("user"), self.text("authority"));
        let url = format!("postgres://{user}@{place}/{database}?sslmode=verify-full&sslrootcert={authority}");
        Variables::new(&[
            ("DATABASE_URL", &url),
            ("REDLINE_DATABASE__PASSWORD", self.text("password")),
        ])
    }

    /// Variables for the Redis with this certificate.
    pub fn redis(&self, certificate: &str, user: &str) -> Variables {
        let place = self.text(&format!("redis/{certificate}"));
        Variables::new(&[
            ("REDIS_URL", &format!("rediss://{user}@{place}/")),
            ("REDLINE_REDIS__PASSWORD", self.text("password")),
            ("REDLINE_REDIS__CA_FILE", self.text("authority")),
        ])
    }
}

/// Variables for a process.
#[derive(Clone, Debug, Default)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    fn new(variables: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self(variables.iter().map(owned).collect())
    }

    /// These and others, which win.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// One more, or another one.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.to_owned(), value.to_owned());
        self
    }

    /// All but one.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.0.remove(name);
        self
    }

    /// As [`crate::Installation::start`] takes them.
    pub fn pairs(&self) -> Vec<(&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }
}
