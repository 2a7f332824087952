//! How long a partition waits for schema ids that the registry does not know: each by itself, so that the others go on.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// Unknown ids are waited for at most this long …
const LONGEST: Duration = Duration::from_secs(30);
/// … in every such span.
const SPAN: Duration = Duration::from_secs(60);

/// What partitions have waited, by the numbers of their positions.
#[derive(Default)]
pub(crate) struct Patience {
    waits: HashMap<i32, Wait>,
}

struct Wait {
    span_began: Instant,
    waited: Duration,
    since: Option<Instant>,
}

impl Wait {
    fn new() -> Self {
        Self {
            span_began: Instant::now(),
            waited: Duration::ZERO,
            since: None,
        }
    }

    /// Ends a wait that is under way, and counts it.
    fn end(&mut self) {
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
    }
}

impl Patience {
    /// Whether a partition may wait, or wait on; then it does from now on.
    pub(crate) fn may_wait(&mut self, position_id: i32) -> bool {
        let wait = self.waits.entry(position_id).or_insert_with(Wait::new);
        wait.end();
        if wait.span_began.elapsed() >= SPAN {
            *wait = Wait::new();
        }
        let may_wait = wait.waited < LONGEST;
        if may_wait {
            wait.since = Some(Instant::now());
        }
        may_wait
    }

    /// A partition does not wait any more.
    pub(crate) fn end(&mut self, position_id: i32) {
        if let Some(wait) = self.waits.get_mut(&position_id) {
            wait.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits second by second until the partition may not any more; answers how long that was.
    async fn wait_out(patience: &mut Patience, position_id: i32) -> Duration {
        let began = Instant::now();
        while patience.may_wait(position_id) {
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_partition_waits_thirty_seconds_in_a_minute_and_another_one_has_its_own() {
        let mut patience = Patience::default();
        assert_eq!(wait_out(&mut patience, 1).await, LONGEST);
        assert_eq!(
            wait_out(&mut patience, 1).await,
            Duration::ZERO,
            "another id in the same minute"
        );
        assert_eq!(wait_out(&mut patience, 2).await, LONGEST);
        assert_eq!(wait_out(&mut patience, 1).await, LONGEST, "the next minute");
    }

    #[tokio::test(start_paused = true)]
    async fn only_waiting_is_counted() {
        let mut patience = Patience::default();
        assert!(patience.may_wait(1));
        tokio::time::advance(Duration::from_secs(10)).await;
        patience.end(1);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(wait_out(&mut patience, 1).await, Duration::from_secs(20));
    }
}
