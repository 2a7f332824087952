//! The console: what people and programs read. Now the read API over the read model in Postgres.
//!
//! Everything is answered in pages of bounded size, in an order that an index has, and only to who may see it.

mod changes;
mod cursor;
mod flags;
mod history;
mod page;
mod parameters;
mod reader;
mod settings;
mod shown;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use redline_http::pools::Waits;
use redline_store::sqlx::PgPool;

use self::reader::Reader;

pub use self::settings::ConsoleSettings;

/// The paths of the read API. The pool is one of [`redline_store::read::pool`]; waits for it are noted.
pub fn router(pool: PgPool, waits: Waits, settings: &ConsoleSettings) -> Router {
    Router::new()
        .route("/v1/flags", get(flags::list))
        .route("/v1/flags/{flag_id}", get(flags::one))
        .route("/v1/changes", get(changes::list))
        .route(
            "/v1/entities/{entity_type}/{source}/{entity_id}/history",
            get(history::list),
        )
        .with_state(Arc::new(Reader::new(pool, waits, settings)))
}
