//! One answer that many wait for.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

/// An answer of another service: asked for by one at a time, and kept for a while, failures too.
///
/// So a service that is away is asked once, not once for every request that needs it, and whoever waited behind
/// a failed question gets its failure instead of a timeout of its own.
pub struct Asked<T, E> {
    last: Mutex<Last<T, E>>,
}

struct Last<T, E> {
    answer: Option<(Instant, T)>,
    failure: Option<(Instant, E)>,
}

/// How long answers are kept.
#[derive(Clone, Copy)]
pub struct Keep {
    /// An answer.
    pub answer: Duration,
    /// A failure.
    pub failure: Duration,
    /// Whether an old answer is better than a failure.
    pub old_before_failure: bool,
}

impl<T, E> Default for Asked<T, E> {
    fn default() -> Self {
        Self {
            last: Mutex::new(Last {
                answer: None,
                failure: None,
            }),
        }
    }
}

impl<T: Clone, E: Clone> Asked<T, E> {
    /// The kept answer, or the one to a question asked now.
    pub async fn get(&self, keep: Keep, question: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let mut last = self.last.lock().await;
        if let Some((since, answer)) = &last.answer
            && since.elapsed() < keep.answer
        {
            return Ok(answer.clone());
        }
        let fresh = match last.failure.take() {
            Some((since, failure)) if since.elapsed() < keep.failure => {
                last.failure = Some((since, failure.clone()));
                Err(failure)
            }
            _ => last.ask(question).await,
        };
        match (&last.answer, fresh) {
            (Some((_, old)), Err(_)) if keep.old_before_failure => Ok(old.clone()),
            (_, fresh) => fresh,
        }
    }
}

impl<T: Clone, E: Clone> Last<T, E> {
    async fn ask(&mut self, question: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let fresh = question.await;
        match &fresh {
            Ok(answer) => self.answer = Some((Instant::now(), answer.clone())),
            Err(failure) => self.failure = Some((Instant::now(), failure.clone())),
        }
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    const KEEP: Keep = Keep {
        answer: Duration::from_secs(60),
        failure: Duration::from_secs(60),
        old_before_failure: false,
    };

    #[tokio::test]
    async fn many_who_need_one_answer_ask_once() {
        let asked = Asked::<u32, String>::default();
        let questions = AtomicU32::new(0);
        let ask = || {
            asked.get(KEEP, async {
                tokio::task::yield_now().await;
                Ok(questions.fetch_add(1, Ordering::Relaxed))
            })
        };
        let answers = futures_util::future::join_all((0..20).map(|_| ask())).await;
        assert_eq!(answers, vec![Ok(0); 20]);
    }

    #[tokio::test]
    async fn a_failure_is_kept_only_for_its_time() {
        let asked = Asked::<u32, String>::default();
        let fails = asked.get(KEEP, async { Err("away".to_owned()) }).await;
        assert_eq!(fails, Err("away".to_owned()));
        assert_eq!(asked.get(KEEP, async { Ok(1) }).await, Err("away".to_owned()));
        let at_once = Keep {
            failure: Duration::ZERO,
            ..KEEP
        };
        assert_eq!(asked.get(at_once, async { Ok(1) }).await, Ok(1));
    }

    #[tokio::test]
    async fn an_old_answer_outlives_a_failure_where_that_is_better() {
        let asked = Asked::<u32, String>::default();
        let old = Keep {
            answer: Duration::ZERO,
            failure: Duration::ZERO,
            old_before_failure: true,
        };
        assert_eq!(asked.get(old, async { Ok(3) }).await, Ok(3));
        assert_eq!(asked.get(old, async { Err("away".to_owned()) }).await, Ok(3));
    }
}
