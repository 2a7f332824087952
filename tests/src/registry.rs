//! The registry's own API, as an operator or a foreign client would use it.

use std::time::Duration;

use crate::http;
use crate::until;
use serde_json::{Value, json};

/// How long one answer is waited for, and how long it is asked for again.
const ANSWER: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(60);

/// A registry.
#[derive(Clone, Debug)]
pub struct Registry {
    url: String,
    client: reqwest::Client,
}

impl Registry {
    /// The registry at an address.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.trim_end_matches('/').to_owned(),
            client: http::client(),
        }
    }

    /// The id of the latest schema of a subject.
    pub async fn latest_id(&self, subject: &str) -> u32 {
        let url = format!("{}/subjects/{subject}/versions/latest", self.url);
        let answer = self.client.get(url).send().await.expect("the registry answers");
        id(&answer.json().await.expect("the registry answers JSON"))
    }

    /// Registers a schema; answers its id, or what the registry says against it.
    ///
    /// # Errors
    /// The registry's refusal.
    pub async fn register(&self, subject: &str, schema: &str) -> Result<u32, String> {
        // Apicurio 3.3 has lost one of hundreds of requests, and never answered it. The same schema again is the same version.
        let answer = until("the registry answers", PATIENCE, async || {
            self.client
                .post(format!("{}/subjects/{subject}/versions", self.url))
                .json(&json!({ "schema": schema, "schemaType": "AVRO" }))
                .timeout(ANSWER)
                .send()
                .await
                .map_err(|error| error.to_string())
        })
        .await;
        let refused = !answer.status().is_success();
        let body: Value = answer.json().await.expect("the registry answers JSON");
        if refused {
            return Err(body.to_string());
        }
        Ok(id(&body))
    }

    /// The compatibility that a subject was given.
    pub async fn compatibility(&self, subject: &str) -> String {
        let url = format!("{}/config/{subject}", self.url);
        let answer = self.client.get(url).send().await.expect("the registry answers");
        let body: Value = answer.json().await.expect("the registry answers JSON");
        body["compatibilityLevel"].as_str().unwrap_or_default().to_owned()
    }

    /// Whether the registry knows an id.
    pub async fn knows(&self, schema_id: u32) -> bool {
        let url = format!("{}/schemas/ids/{schema_id}", self.url);
        let answer = self.client.get(url).send().await.expect("the registry answers");
        answer.status().is_success()
    }

    /// Deletes a subject where the registry allows it.
    pub(crate) async fn forget(&self, subject: &str) {
        let url = format!("{}/subjects/{subject}", self.url);
        let _ = self.client.delete(url).send().await;
    }
}

fn id(body: &Value) -> u32 {
    body["id"]
        .as_u64()
        .and_then(|id| u32::try_from(id).ok())
        .unwrap_or_else(|| panic!("the registry answers no id: {body}"))
}
