//! Limits of time for whatever waits for Postgres.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How long what is under way may go on after the worker was told to stop.
const STOP_GRACE: Duration = Duration::from_secs(7);

/// What a future answers within a limit, and soon after the worker was told to stop; none when it takes longer.
pub(crate) async fn bounded<T>(
    limit: Duration,
    stop: &CancellationToken,
    future: impl Future<Output = T>,
) -> Option<T> {
    let stopped = async {
        stop.cancelled().await;
        tokio::time::sleep(STOP_GRACE).await;
    };
    tokio::select! {
        answer = future => Some(answer),
        () = tokio::time::sleep(limit) => None,
        () = stopped => None,
    }
}
