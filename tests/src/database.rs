//! One database per installation.

use std::str::FromStr as _;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, PgPool};

/// Makes a database; answers its address.
pub(crate) async fn create(server: &str, name: &str) -> String {
    execute(server, &format!("create database \"{name}\"")).await;
    options(server).database(name).to_url_lossy().to_string()
}

/// Drops a database with all its connections.
pub(crate) async fn drop(server: &str, name: &str) {
    execute(server, &format!("drop database \"{name}\" with (force)")).await;
}

/// A pool of a few connections.
pub(crate) fn pool(url: &str) -> PgPool {
    PgPoolOptions::new()
        .max_connections(4)
        .min_connections(0)
        .connect_lazy_with(options(url))
}

fn options(url: &str) -> PgConnectOptions {
    PgConnectOptions::from_str(url)
        .expect("DATABASE_URL is of the form postgres://user@host/database")
        .application_name("redline-tests")
        .disable_statement_logging()
}

async fn execute(server: &str, statement: &str) {
    let mut connection = PgConnection::connect_with(&options(server))
        .await
        .expect("Postgres answers");
    sqlx::raw_sql(statement)
        .execute(&mut connection)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}
