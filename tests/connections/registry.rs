//! The schema registry behind a gateway that wants a login.

use redline_tests::{Ended, Secure, Variables};

use crate::{assert_told, unmigrated};

/// What a door says at its start.
async fn ingest(variables: Variables) -> Ended {
    let redline = unmigrated("registry").await;
    let ended = redline.run_with(&["ingest"], &variables.pairs()).await;
    redline.remove().await;
    ended
}

#[tokio::test]
async fn a_wrong_password_and_a_wrong_token_are_told_with_the_settings_to_look_at() {
    let secure = Secure::services();
    for variables in [
        secure
            .registry_by_password()
            .with("REDLINE_REGISTRY__PASSWORD", "a-bad-password"),
        secure
            .registry_by_password()
            .without("REDLINE_REGISTRY__USERNAME")
            .without("REDLINE_REGISTRY__PASSWORD"),
        secure
            .registry_by_token()
            .with("REDLINE_REGISTRY__TOKEN", "a-bad-token"),
    ] {
        assert_told(
            &ingest(variables).await,
            &[
                "the schema registry at https://localhost:",
                "refuses the login",
                "401",
                "registry.username and registry.password, or registry.token",
            ],
        );
    }
}

#[tokio::test]
async fn an_expired_certificate_and_one_for_another_host_are_told() {
    let secure = Secure::services();
    let at = |way: &str| {
        secure
            .registry_by_password()
            .with("SCHEMA_REGISTRY_URL", secure.text(&format!("registry/{way}")))
    };
    assert_told(
        &ingest(at("expired")).await,
        &["the certificate of the schema registry at", "has expired"],
    );
    assert_told(
        &ingest(at("elsewhere")).await,
        &[
            "is not for this host name, but for",
            "elsewhere.example.com",
            "registry.url",
        ],
    );
}

#[tokio::test]
async fn an_authority_that_is_not_trusted_and_plain_text_are_told() {
    let secure = Secure::services();
    let authority = secure
        .registry_by_password()
        .with("REDLINE_REGISTRY__CA_FILE", secure.text("other_authority"));
    assert_told(
        &ingest(authority).await,
        &["not trusted here", "registry.ca_file"],
    );
    let system = secure.registry_by_password().without("REDLINE_REGISTRY__CA_FILE");
    assert_told(&ingest(system).await, &["not trusted here", "registry.ca_file"]);
    let plain = secure.text("registry/basic").replace("https://", "http://");
    let plain = secure.registry_by_password().with("SCHEMA_REGISTRY_URL", &plain);
    assert_told(
        &ingest(plain).await,
        &["speaks only TLS on this port", "registry.url"],
    );
}
