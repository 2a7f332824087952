//! The tests' own HTTP client.

use std::time::Duration;

/// Longer than anything that a test asks for takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A client that goes nowhere but where it is told, and waits for no answer without end.
pub fn client() -> reqwest::Client {
    // The process's choice of cryptography, once; whoever chose before keeps theirs.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .expect("an HTTP client")
}
