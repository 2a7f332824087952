//! A bucket that refills evenly.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, Reference as _};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{NotUntil, Quota, RateLimiter};
use tokio::time::Instant;

/// How much there may be: evenly so much a second, and so much at once after a silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// What flows in a second.
    pub per_second: NonZeroU32,
    /// What the bucket holds.
    pub burst: NonZeroU32,
}

/// Until when there is not enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait(Duration);

impl Wait {
    /// How long it is.
    pub fn duration(self) -> Duration {
        self.0
    }

    /// Whole seconds after which there is enough, at least one.
    pub fn seconds(self) -> u64 {
        let begun = u64::from(self.0.subsec_nanos() > 0);
        (self.0.as_secs() + begun).max(1)
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} s", self.seconds())
    }
}

/// Time as tokio tells it, so that tests can stop it.
#[derive(Clone, Debug)]
struct TokioClock {
    start: Instant,
}

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A bucket that refills evenly.
pub struct Bucket {
    limiter: RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>,
    clock: TokioClock,
    burst: NonZeroU32,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Bucket")
            .field("burst", &self.burst)
            .finish_non_exhaustive()
    }
}

impl Bucket {
    /// A full one.
    pub fn new(rate: Rate) -> Self {
        let clock = TokioClock {
            start: Instant::now(),
        };
        let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
        Self {
            limiter: RateLimiter::direct_with_clock(quota, clock.clone()),
            clock,
            burst: rate.burst,
        }
    }

    /// Takes so much, or nothing. What is more than the bucket can hold is taken as a whole bucket.
    ///
    /// # Errors
    /// How long to wait until there is enough.
    pub fn take(&self, number: u32) -> Result<(), Wait> {
        let Some(number) = NonZeroU32::new(number.min(self.burst.get())) else {
            return Ok(());
        };
        match self.limiter.check_n(number) {
            // Never more than the bucket holds was asked for.
            Ok(Ok(())) | Err(_) => Ok(()),
            Ok(Err(not_until)) => Err(self.wait(&not_until)),
        }
    }

    /// Takes one, and waits for it; answers whether it had to.
    pub async fn take_in_turn(&self) -> bool {
        let mut waited = false;
        while let Err(not_until) = self.limiter.check() {
            tokio::time::sleep(self.wait(&not_until).0).await;
            waited = true;
        }
        waited
    }

    fn wait(&self, not_until: &NotUntil<Duration>) -> Wait {
        let nanoseconds = not_until.earliest_possible().duration_since(self.clock.now());
        Wait(nanoseconds.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(per_second: u32, burst: u32) -> Bucket {
        Bucket::new(Rate {
            per_second: NonZeroU32::new(per_second).unwrap(),
            burst: NonZeroU32::new(burst).unwrap(),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_holds_its_burst_and_refills_evenly() {
        let bucket = bucket(2, 4);
        assert_eq!(bucket.take(4), Ok(()));
        assert_eq!(bucket.take(1), Err(Wait(Duration::from_millis(500))));
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(bucket.take(1), Ok(()));
        assert_eq!(bucket.take(4), Err(Wait(Duration::from_secs(2))));
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(bucket.take(4), Ok(()));
        assert!(
            bucket.take(1).is_err(),
            "a long silence saves no more than a burst"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_comes_again_when_told_gets_what_was_asked_for() {
        let bucket = bucket(3, 10);
        assert_eq!(bucket.take(10), Ok(()));
        for number in [1, 4, 10, 7] {
            let wait = bucket.take(number).unwrap_err();
            tokio::time::advance(Duration::from_secs(wait.seconds())).await;
            assert_eq!(bucket.take(number), Ok(()), "{number}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_more_than_a_bucket_is_taken_as_a_whole_one() {
        let bucket = bucket(1, 5);
        assert_eq!(bucket.take(0), Ok(()));
        assert_eq!(bucket.take(50), Ok(()));
        assert_eq!(bucket.take(50), Err(Wait(Duration::from_secs(5))));
    }

    #[tokio::test(start_paused = true)]
    async fn in_turn_takes_as_long_as_the_rate_says() {
        let bucket = bucket(100, 10);
        let begun = Instant::now();
        let mut waited = 0;
        for _ in 0..110 {
            waited += u32::from(bucket.take_in_turn().await);
        }
        assert_eq!(begun.elapsed().as_secs(), 1);
        assert!(
            waited > 0,
            "the first ten had not to wait, the others had: {waited}"
        );
    }
}
