//! `redline doctor` says of each encrypted connection what is wrong with it.

use redline_tests::{Installation, Secure, Variables};
use serde_json::Value;

use crate::plan;

/// The first check of each service that is connected to: what came of it, and what was found.
async fn first_checks(redline: &Installation, variables: &Variables) -> Vec<(String, String, String)> {
    let ended = redline.run_with(&["doctor", "--json"], &variables.pairs()).await;
    for secret in [Secure::services().text("password"), "a-bad-password"] {
        assert!(
            !ended.stdout.contains(secret) && !ended.stderr.contains(secret),
            "{ended:?}"
        );
    }
    let answer: Value =
        serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    let checks = answer["checks"].as_array().expect("checks are a list");
    ["kafka", "registry", "postgres", "redis"]
        .map(|service| {
            let check = checks.iter().find(|check| check["service"] == service);
            let check = check.unwrap_or_else(|| panic!("nothing is said of {service}: {answer:#}"));
            let text = |member: &str| check[member].as_str().unwrap_or_default().to_owned();
            (service.to_owned(), text("result"), text("found"))
        })
        .to_vec()
}

fn good(redline: &Installation) -> Variables {
    let secure = Secure::services();
    secure
        .kafka_by_scram("redline")
        .and(secure.registry_by_password())
        .and(secure.postgres("good", &redline.name))
        .and(secure.redis("good", "redline"))
        .with("REDLINE_WORK__MARK_PREFIX", "connections-marks:")
}

/// The same at servers with another certificate.
fn at(redline: &Installation, certificate: &str) -> Variables {
    let secure = Secure::services();
    let text = |service: &str| secure.text(&format!("{service}/{certificate}"));
    good(redline)
        .and(secure.postgres(certificate, "postgres"))
        .and(secure.redis(certificate, "redline"))
        .with("KAFKA_BOOTSTRAP_SERVERS", text("kafka"))
        .with("SCHEMA_REGISTRY_URL", text("registry"))
}

#[tokio::test]
async fn a_wrong_password_an_expired_certificate_and_a_wrong_host_name_are_told_of_each_service() {
    let redline = plan("doctor").unmigrated().await;
    let wrong = ["KAFKA", "REGISTRY", "DATABASE", "REDIS"]
        .iter()
        .fold(good(&redline), |variables, service| {
            variables.with(&format!("REDLINE_{service}__PASSWORD"), "a-bad-password")
        });
    for (variables, words) in [
        (wrong, "refuses the login"),
        (at(&redline, "expired"), "has expired"),
        (at(&redline, "elsewhere"), "elsewhere.example.com"),
    ] {
        for (service, result, found) in first_checks(&redline, &variables).await {
            assert_eq!(result, "failed", "{service}: {found}");
            assert!(found.contains(words), "{service}: {found}");
        }
    }
    for (service, result, found) in first_checks(&redline, &good(&redline)).await {
        assert_eq!(result, "ok", "{service}: {found}");
    }
    redline.remove().await;
}
