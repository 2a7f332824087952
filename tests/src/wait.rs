//! Waiting for a condition, with a limit.

use std::time::{Duration, Instant};

/// Looks until there is an answer. A look that fails says what is still missing; the last such sentence is shown
/// when the time is over.
///
/// # Panics
/// When the time is over.
pub async fn until<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    const PAUSE: Duration = Duration::from_millis(25);
    let began = Instant::now();
    loop {
        match look().await {
            Ok(answer) => return answer,
            Err(missing) if began.elapsed() >= limit => {
                panic!("{what}: not within {} s; {missing}", limit.as_secs())
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
