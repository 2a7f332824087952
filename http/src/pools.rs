//! How the pools of connections to Postgres are used, by OpenTelemetry's names for it.

use std::time::Duration;

use redline_store::sqlx::PgPool;
use redline_telemetry::metrics::{Error, Meter};

/// Upper bounds of waits in seconds; nobody waits longer than five for a connection.
const WAITS: [f64; 8] = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0];

/// Where waits for a connection are noted.
#[derive(Clone)]
pub struct Waits(prometheus::Histogram);

impl Waits {
    /// Somebody waited so long.
    pub fn took(&self, time: Duration) {
        self.0.observe(time.as_secs_f64());
    }
}

/// Shows a pool under a name.
///
/// # Errors
/// When a name is that of another metric.
pub fn show(meter: &Meter, name: &'static str, pool: &PgPool) -> Result<Waits, Error> {
    let connections = meter.gauges(
        "db_client_connection_count",
        "Connections to Postgres, by pool and state (`used`, `idle`).",
        &["db_client_connection_pool_name", "db_client_connection_state"],
    )?;
    meter
        .gauges(
            "db_client_connection_max",
            "Connections to Postgres that a pool may have.",
            &["db_client_connection_pool_name"],
        )?
        .with_label_values(&[name])
        .set(pool.options().get_max_connections().into());
    let waits = meter.histograms(
        "db_client_connection_wait_time_seconds",
        "Time that a request of the read API waited for a connection to Postgres and the beginning of its transaction.",
        &["db_client_connection_pool_name"],
        &WAITS,
    )?;
    let (used, idle) = (
        connections.with_label_values(&[name, "used"]),
        connections.with_label_values(&[name, "idle"]),
    );
    let pool = pool.clone();
    meter.before_each(move || {
        let (all, free) = (
            i64::from(pool.size()),
            i64::try_from(pool.num_idle()).unwrap_or(0),
        );
        used.set((all - free).max(0));
        idle.set(free);
    });
    Ok(Waits(waits.with_label_values(&[name])))
}
