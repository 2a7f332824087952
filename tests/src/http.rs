//! The tests' own HTTP client.

/// A client that goes nowhere but where it is told.
pub fn client() -> reqwest::Client {
    // The process's choice of cryptography, once; whoever chose before keeps theirs.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("an HTTP client")
}
