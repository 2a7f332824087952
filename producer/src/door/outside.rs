//! What the door needs of the world outside: Kafka, the schema registry and the keys.

use std::sync::Arc;
use std::time::Duration;

use redline_schemas::EventKind;
use redline_schemas::registry::SchemaRegistry;
use redline_store::keys::{self, StoredKey};
use redline_store::sqlx::{self, PgPool};

use crate::encode::{EncodeError, Encoder};
use crate::publisher::{Publish, Publisher};

/// How long a service may take to say that it is there.
pub(crate) const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// A service that the door needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Service {
    Kafka,
    Registry,
    Database,
}

impl Service {
    pub(crate) const ALL: [Self; 3] = [Self::Kafka, Self::Registry, Self::Database];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Registry => "registry",
            Self::Database => "database",
        }
    }
}

/// The world outside, or a stand-in for it.
pub(crate) trait Outside: Send + Sync + 'static {
    /// Where events go.
    type Kafka: Publish + 'static;

    fn kafka(&self) -> &Self::Kafka;

    fn topic(&self, kind: EventKind) -> &str;

    fn schema_id(&self, kind: EventKind) -> impl Future<Output = Result<u32, EncodeError>> + Send;

    /// The key of an id unless it is revoked, or why the keys cannot be asked.
    fn find_key(&self, key_id: &str) -> impl Future<Output = Result<Option<StoredKey>, String>> + Send;

    /// Whether a service answers now, within [`CHECK_TIMEOUT`].
    fn check(&self, service: Service) -> impl Future<Output = Result<(), String>> + Send;
}

/// The services that the door works with.
pub struct Services<R> {
    /// Publishes events; made with [`super::IngestSettings::acknowledge_timeout`].
    pub publisher: Publisher,
    /// Encodes events; the doors and collectors of a process may share one.
    pub encoder: Arc<Encoder<R>>,
    /// Where API keys are looked up.
    pub pool: PgPool,
}

impl<R: SchemaRegistry + Send + Sync + 'static> Outside for Services<R> {
    type Kafka = Publisher;

    fn kafka(&self) -> &Publisher {
        &self.publisher
    }

    fn topic(&self, kind: EventKind) -> &str {
        self.encoder.topic(kind)
    }

    fn schema_id(&self, kind: EventKind) -> impl Future<Output = Result<u32, EncodeError>> + Send {
        self.encoder.schema_id(kind)
    }

    async fn find_key(&self, key_id: &str) -> Result<Option<StoredKey>, String> {
        keys::find(&self.pool, key_id)
            .await
            .map_err(|error| error.to_string())
    }

    async fn check(&self, service: Service) -> Result<(), String> {
        let answered = async {
            match service {
                Service::Kafka => {
                    let topic = self.topic(EventKind::Row);
                    let checked = self.publisher.check(topic, CHECK_TIMEOUT).await;
                    checked.map_err(|error| error.to_string())
                }
                Service::Registry => {
                    let id = self.encoder.ask_schema_id(EventKind::Row).await;
                    id.map(|_| ()).map_err(|error| error.to_string())
                }
                Service::Database => {
                    let one = sqlx::query("select 1").execute(&self.pool).await;
                    one.map(|_| ()).map_err(|error| error.to_string())
                }
            }
        };
        tokio::time::timeout(CHECK_TIMEOUT, answered)
            .await
            .unwrap_or_else(|_| Err("it did not answer in time".to_owned()))
    }
}
