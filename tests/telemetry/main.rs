//! What a running Redline says about itself, on real services.

#![allow(clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

mod alerts;
mod dashboards;
mod health;
mod lag;
mod queries;
mod stopping;
