//! The door without a network: requests go straight into its router, and stand-ins are the world outside.

mod access;
mod events;
mod facts;
mod limits;
mod listening;
mod rates;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Request, Response, StatusCode};
use futures_util::stream;
use redline_schemas::EventKind;
use redline_schemas::topics::Topics;
use redline_store::keys::{PresentedKey, StoredKey};
use tower::ServiceExt as _;

use super::outside::{Outside, Service};
use super::{Door, IngestSettings};
use crate::encode::{EncodeError, Encoder};
use crate::stand_in::{Kafka, Registry};

const ROWS: &str = "/v1/rows";
const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

/// The key that opens everything.
fn key() -> String {
    format!("rl_aaaaaaaaaaaa_{}", "1".repeat(64))
}

struct World {
    kafka: Kafka,
    encoder: Encoder<Registry>,
    keys: Mutex<HashMap<String, StoredKey>>,
    lookups: AtomicUsize,
    database_away: AtomicBool,
}

impl Outside for World {
    type Kafka = Kafka;

    fn kafka(&self) -> &Kafka {
        &self.kafka
    }

    fn topic(&self, kind: EventKind) -> &str {
        self.encoder.topic(kind)
    }

    async fn schema_id(&self, kind: EventKind) -> Result<u32, EncodeError> {
        self.encoder.schema_id(kind).await
    }

    async fn find_key(&self, key_id: &str) -> Result<Option<StoredKey>, String> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        match self.database_away.load(Ordering::Relaxed) {
            true => Err("connection refused".to_owned()),
            false => Ok(self.keys.lock().unwrap().get(key_id).cloned()),
        }
    }

    async fn check(&self, service: Service) -> Result<(), String> {
        let away = match service {
            Service::Kafka => self.kafka.away.load(Ordering::Relaxed),
            Service::Registry => self.encoder.ask_schema_id(EventKind::Row).await.is_err(),
            Service::Database => self.database_away.load(Ordering::Relaxed),
        };
        if away {
            Err("connection refused".to_owned())
        } else {
            Ok(())
        }
    }
}

fn world(kafka: Kafka, registry: Registry) -> World {
    let world = World {
        kafka,
        encoder: Encoder::new(registry, Topics::default()),
        keys: Mutex::default(),
        lookups: AtomicUsize::new(0),
        database_away: AtomicBool::new(false),
    };
    world.add_key(&key(), &["rows", "facts", "approvals"], None);
    world
}

impl World {
    fn add_key(&self, text: &str, scopes: &[&str], source: Option<&str>) {
        self.add_named_key(text, "test", scopes, source);
    }

    fn add_named_key(&self, text: &str, name: &str, scopes: &[&str], source: Option<&str>) {
        let key = PresentedKey::parse(text).unwrap();
        let stored = StoredKey::new(&key, name, scopes, source);
        self.keys.lock().unwrap().insert(key.key_id().to_owned(), stored);
    }
}

fn door_with(settings: IngestSettings, kafka: Kafka) -> Arc<Door<World>> {
    Door::new(
        settings,
        world(kafka, Registry::with_id(1)),
        &redline_telemetry::metrics::Meter::new(),
    )
    .unwrap()
}

fn door() -> Arc<Door<World>> {
    door_with(IngestSettings::default(), Kafka::default())
}

fn request(path: &str, content_type: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path)
        .header("authorization", format!("Bearer {}", key()))
        .header("content-type", content_type)
        .body(body.into())
        .unwrap()
}

async fn send(door: &Arc<Door<World>>, request: Request<Body>) -> Response<Body> {
    door.router(Router::new()).oneshot(request).await.unwrap()
}

/// Status, the headers that say something, and the body.
async fn seen(door: &Arc<Door<World>>, request: Request<Body>) -> String {
    const TOLD: [&str; 6] = [
        "content-type",
        "www-authenticate",
        "retry-after",
        "allow",
        "accept-encoding",
        "connection",
    ];
    let response = send(door, request).await;
    let mut lines = vec![response.status().to_string()];
    for name in TOLD {
        if let Some(value) = response.headers().get(name) {
            lines.push(format!("{name}: {}", value.to_str().unwrap()));
        }
    }
    lines.push(text(response).await);
    lines.join("\n")
}

async fn text(response: Response<Body>) -> String {
    let bytes = to_bytes(response.into_body(), 10 << 20).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn json(response: Response<Body>) -> serde_json::Value {
    serde_json::from_str(&text(response).await).unwrap()
}

async fn status(door: &Arc<Door<World>>, request: Request<Body>) -> StatusCode {
    send(door, request).await.status()
}

fn row(id: &str) -> String {
    row_of("billing", id)
}

fn row_of(source: &str, id: &str) -> String {
    format!(
        r#"{{"source":"{source}","row_id":"{id}","version":7,"op":"update","observed_at":"2026-03-02T10:00:00Z","columns":{{"Quantity":12,"Redlined Total Price":"1140.00"}}}}"#
    )
}

fn rows(ids: std::ops::RangeInclusive<u32>) -> String {
    ids.map(|id| row(&id.to_string()) + "\n").collect()
}

/// A body that comes in these pieces.
fn pieces(pieces: Vec<Result<Bytes, std::io::Error>>) -> Body {
    Body::from_stream(stream::iter(pieces))
}
