//! The tests' own HTTP client.

/// A client that goes nowhere but where it is told.
pub(crate) fn client() -> reqwest::Client {
    // The process's choice of cryptography, once; whoever chose before keeps theirs.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("an HTTP client")
}

/// What an address answers as JSON; null when it is no JSON.
///
/// # Panics
/// When nobody answers.
pub async fn get_json(url: &str) -> serde_json::Value {
    let answer = client().get(url).send().await.expect("somebody answers");
    answer.json().await.unwrap_or_default()
}

/// What an address answers as text.
///
/// # Panics
/// When nobody answers.
pub async fn get_text(url: &str) -> String {
    let answer = client().get(url).send().await.expect("somebody answers");
    answer.text().await.expect("the answer is text")
}
