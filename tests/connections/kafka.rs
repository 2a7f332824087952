//! Kafka by SCRAM, by tokens and by certificates.

use redline_tests::{Ended, Secure, Variables};

use crate::{assert_told, unmigrated};

/// What a relay says at its start.
async fn relay(variables: Variables) -> Ended {
    let redline = unmigrated("kafka").await;
    let ended = redline.run_with(&["relay"], &variables.pairs()).await;
    redline.remove().await;
    ended
}

fn scram() -> Variables {
    Secure::services().kafka_by_scram("redline")
}

#[tokio::test]
async fn a_wrong_password_is_told_with_the_settings_to_look_at() {
    let ended = relay(scram().with("REDLINE_KAFKA__PASSWORD", "a-bad-password")).await;
    assert_told(
        &ended,
        &[
            "Kafka at localhost:",
            "refuses the login",
            "look at kafka.username and kafka.password",
        ],
    );
}

#[tokio::test]
async fn an_expired_certificate_is_told() {
    let ended = relay(scram().with(
        "KAFKA_BOOTSTRAP_SERVERS",
        Secure::services().text("kafka/expired"),
    ))
    .await;
    assert_told(&ended, &["the certificate of Kafka at localhost:", "has expired"]);
}

#[tokio::test]
async fn a_certificate_for_another_host_is_told_with_its_names() {
    let ended = relay(scram().with(
        "KAFKA_BOOTSTRAP_SERVERS",
        Secure::services().text("kafka/elsewhere"),
    ))
    .await;
    assert_told(
        &ended,
        &[
            "is not for this host name, but for",
            "elsewhere.example.com",
            "kafka.bootstrap_servers",
        ],
    );
}

#[tokio::test]
async fn an_authority_that_is_not_trusted_is_told() {
    let secure = Secure::services();
    let ended = relay(scram().with("REDLINE_KAFKA__CA_FILE", secure.text("other_authority"))).await;
    assert_told(
        &ended,
        &[
            "comes from an authority that is not trusted here",
            "kafka.ca_file",
        ],
    );
}

#[tokio::test]
async fn plain_text_to_a_port_of_tls_is_told_and_the_other_way_round() {
    let secure = Secure::services();
    let plain = Variables::default().with("KAFKA_BOOTSTRAP_SERVERS", secure.text("kafka/scram"));
    assert_told(
        &relay(plain).await,
        &[
            "speaks only TLS on this port",
            "kafka.bootstrap_servers",
            "security.protocol",
        ],
    );
    let tls = scram().with("KAFKA_BOOTSTRAP_SERVERS", secure.text("kafka_plain"));
    assert_told(
        &relay(tls).await,
        &["does not speak TLS on this port", "kafka.bootstrap_servers"],
    );
}

#[tokio::test]
async fn tokens_that_are_not_given_or_not_taken_are_told() {
    let secure = Secure::services();
    let secret = secure
        .kafka_by_tokens()
        .with("REDLINE_KAFKA__OAUTH__CLIENT_SECRET", "a-bad-secret");
    assert_told(
        &relay(secret).await,
        &[
            "no token for Kafka: the issuer of tokens at https://localhost:",
            "refuses the login (invalid_client: the secret is wrong)",
            "kafka.oauth.client_id and kafka.oauth.client_secret",
        ],
    );
    let authority = secure.kafka_by_tokens().without("REDLINE_KAFKA__OAUTH__CA_FILE");
    assert_told(
        &relay(authority).await,
        &[
            "the certificate of the issuer of tokens at",
            "not trusted here",
            "kafka.oauth.ca_file",
        ],
    );
    let scope = secure
        .kafka_by_tokens()
        .with("REDLINE_KAFKA__OAUTH__SCOPE", "something-else");
    assert_told(
        &relay(scope).await,
        &["Kafka at localhost:", "refuses the login", "kafka.oauth.scope"],
    );
}

#[tokio::test]
async fn a_client_certificate_lets_in_and_its_absence_is_told() {
    let secure = Secure::services();
    let without = Variables::default()
        .with("KAFKA_BOOTSTRAP_SERVERS", secure.text("kafka/certificates"))
        .with("REDLINE_KAFKA__CA_FILE", secure.text("authority"));
    let with = without
        .clone()
        .with(
            "REDLINE_KAFKA__CLIENT__SSL_CERTIFICATE_LOCATION",
            secure.text("client_certificate"),
        )
        .with(
            "REDLINE_KAFKA__CLIENT__SSL_KEY_LOCATION",
            secure.text("client_key"),
        );
    assert_told(
        &relay(without).await,
        &[
            "Kafka at localhost:",
            "wants a client certificate",
            "ssl.certificate.location",
        ],
    );

    // Past Kafka, it finds nothing in the database that was not migrated.
    assert_told(&relay(with).await, &["run `redline migrate`"]);
}
