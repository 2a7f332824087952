//! Postgres with `sslmode=verify-full`.

use redline_tests::{Ended, Installation, Secure, Variables};

use crate::{assert_told, unmigrated};

/// What a command says that needs nothing but Postgres.
async fn key_list(redline: &Installation, variables: &Variables) -> Ended {
    redline.run_with(&["key", "list"], &variables.pairs()).await
}

#[tokio::test]
async fn a_wrong_password_is_told_and_a_missing_one() {
    let redline = unmigrated("postgres").await;
    let good = Secure::services().postgres("good", &redline.name);
    assert_told(&key_list(&redline, &good).await, &["run `redline migrate`"]);
    let wrong = good.clone().with("REDLINE_DATABASE__PASSWORD", "a-bad-password");
    assert_told(
        &key_list(&redline, &wrong).await,
        &[
            "Postgres refuses the login (password authentication failed for user \"redline\"); look at",
            "database.url",
            "database.password",
        ],
    );
    assert_told(
        &redline.run_with(&["relay"], &wrong.pairs()).await,
        &["redline: Postgres refuses the login"],
    );
    redline.remove().await;
}

#[tokio::test]
async fn an_expired_certificate_and_one_for_another_host_are_told() {
    let redline = unmigrated("postgres").await;
    let at = |certificate| Secure::services().postgres(certificate, "postgres");
    assert_told(
        &key_list(&redline, &at("expired")).await,
        &["the certificate of Postgres has expired"],
    );
    assert_told(
        &key_list(&redline, &at("elsewhere")).await,
        &[
            "is not for this host name, but for",
            "elsewhere.example.com",
            "database.url",
        ],
    );
    redline.remove().await;
}

#[tokio::test]
async fn an_authority_that_is_not_trusted_is_told_and_a_server_that_wants_tls() {
    let secure = Secure::services();
    let redline = unmigrated("postgres").await;
    let place = secure.text("postgres/good");
    let other = format!(
        "postgres://redline@{place}/{}?sslmode=verify-full&sslrootcert={}",
        redline.name,
        secure.text("other_authority")
    );
    let good = secure.postgres("good", &redline.name);
    let other = good.clone().with("DATABASE_URL", &other);
    assert_told(
        &key_list(&redline, &other).await,
        &["not trusted here", "sslrootcert"],
    );
    let plain = format!("postgres://redline@{place}/{}?sslmode=disable", redline.name);
    let plain = good.with("DATABASE_URL", &plain);
    assert_told(
        &key_list(&redline, &plain).await,
        &["refuses the login", "no encryption", "sslmode"],
    );
    redline.remove().await;
}

#[tokio::test]
async fn a_client_certificate_lets_in_without_a_password() {
    let secure = Secure::services();
    let redline = unmigrated("postgres").await;
    let url = format!(
        "postgres://redline_by_certificate@{}/{}?sslmode=verify-full&sslrootcert={}&sslcert={}&sslkey={}",
        secure.text("postgres/good"),
        redline.name,
        secure.text("authority"),
        secure.text("client_certificate"),
        secure.text("client_key"),
    );
    let with = Variables::default().with("DATABASE_URL", &url);
    assert_told(&key_list(&redline, &with).await, &["run `redline migrate`"]);
    let (without, _) = url
        .split_once("&sslcert")
        .expect("the address names a certificate");
    let without = Variables::default().with("DATABASE_URL", without);
    assert_told(&key_list(&redline, &without).await, &["refuses the login"]);
    redline.remove().await;
}
