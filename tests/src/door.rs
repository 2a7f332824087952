//! The HTTP door, as a client sees it.

use std::time::Duration;

use serde_json::Value;

use crate::http;
use crate::process::Process;

/// What the door answers.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body; null when it is no JSON.
    pub body: Value,
    /// The seconds of `Retry-After`.
    pub retry_after: Option<u64>,
}

impl Answer {
    async fn read(answer: reqwest::Response) -> Self {
        let retry_after = answer.headers().get("retry-after").map(|value| {
            let text = value.to_str().expect("Retry-After is text");
            text.parse().expect("Retry-After is whole seconds")
        });
        Self {
            status: answer.status().as_u16(),
            retry_after,
            body: answer.json().await.unwrap_or_default(),
        }
    }
}

/// A running `redline ingest`, and a client of it with a key.
#[derive(Debug)]
pub struct Door {
    /// The process.
    pub process: Process,
    address: String,
    key: String,
    client: reqwest::Client,
}

impl Door {
    /// Waits until the door is open.
    pub(crate) async fn open(mut process: Process, key: String) -> Self {
        let line = process
            .wait_for_log("the door is open", Duration::from_secs(30))
            .await;
        let line: Value = serde_json::from_str(&line).expect("logs are JSON");
        let address = line["address"]
            .as_str()
            .expect("the log names the door's address");
        Self {
            process,
            address: format!("http://{address}"),
            key,
            client: http::client(),
        }
    }

    /// Its address, `http://host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The key that the client shows.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Posts a body to a path such as `/v1/rows`.
    pub async fn post(&self, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.post_with(path, content_type, &[], body).await
    }

    /// The same with further headers.
    pub async fn post_with(
        &self,
        path: &str,
        content_type: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let mut request = self
            .client
            .post(format!("{}{path}", self.address))
            .bearer_auth(&self.key)
            .header("content-type", content_type)
            .body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::read(request.send().await.expect("the door answers")).await
    }

    /// Gets a path such as `/v1/flags?limit=10`, with the door's own key.
    pub async fn get(&self, path: &str) -> Answer {
        self.get_with(path, Some(&self.key)).await
    }

    /// Gets a path with another key, or with none.
    pub async fn get_with(&self, path: &str, key: Option<&str>) -> Answer {
        let request = self.client.get(format!("{}{path}", self.address));
        let request = match key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let answer = request.send().await.expect("the door answers");
        Answer::read(answer).await
    }

    /// Gets a path that answers text, such as `/metrics`.
    pub async fn text(&self, path: &str) -> String {
        let request = self.client.get(format!("{}{path}", self.address));
        let answer = request.send().await.expect("the door answers");
        answer.text().await.expect("the answer is text")
    }

    /// Gets what must be there.
    pub async fn read(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path} is answered {}", answer.body);
        answer.body
    }

    /// Gets all pages of a list; answers the items of each. `path` has parameters already.
    pub async fn pages(&self, path: &str) -> Vec<Vec<Value>> {
        let mut pages = Vec::new();
        let mut next = None;
        loop {
            let after = next.map_or_else(String::new, |next: String| format!("&after={next}"));
            let body = self.read(&format!("{path}{after}")).await;
            pages.push(body["items"].as_array().expect("a page has items").clone());
            next = match &body["next"] {
                Value::Null => return pages,
                next => Some(next.as_str().expect("a cursor is a text").to_owned()),
            };
        }
    }

    /// Posts JSON, and expects that all of it is accepted.
    pub async fn accept(&self, path: &str, body: &Value) {
        let count = body.as_array().map_or(1, Vec::len);
        let answer = self.post(path, "application/json", body.to_string()).await;
        assert_eq!(
            (answer.status, &answer.body["accepted"]),
            (202, &Value::from(count)),
            "{body} is answered {answer:?}"
        );
    }
}
