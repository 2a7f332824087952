//! Telemetry: what a running Redline says about itself. Logs, metrics and health; traces follow.

pub mod health;
pub mod logs;
pub mod metrics;
