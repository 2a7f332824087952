//! Telemetry: what a running Redline says about itself. Logs for now; traces and metrics follow.

pub mod logs;
