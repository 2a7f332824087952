//! A stream that cannot end before its fault: it is fed while it is being recorded, and goes on until it is told to end.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redline_schemas::{Event, EventKind};
use redline_tests::pace::{Pace, recorded};
use redline_tests::{Installation, Kafka, Raw, until};
use sqlx::PgPool;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinHandle;

use crate::running::PATIENCE;

/// Records that wait to be recorded, at least, as long as the stream goes on.
const BACKLOG: usize = 600;
/// Records sent at once.
const PART: usize = 200;
/// Records that nobody sends before the end.
const LAST: usize = 200;

/// Sends a stream's events in their order, always a little ahead of what is recorded. It keeps the last ones back
/// until [`Feed::end`], and repeats earlier ones meanwhile, which makes duplicates and no difference: so whenever
/// a fault happens, records are on their way, and some were not even sent.
pub(crate) struct Feed {
    sending: Arc<Mutex<Sending>>,
    /// New events may be sent up to here.
    limit: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// What is sent by whom. Whoever holds it is the only one who sends.
pub(crate) struct Sending {
    kafka: Kafka,
    raws: Vec<Raw>,
    pace: Pace,
    sent: usize,
}

impl Sending {
    async fn send(&mut self, range: Range<usize>) {
        let raws = self.raws.get(range).unwrap_or_default().to_vec();
        self.sent += raws.len();
        self.kafka.produce_all(raws).await;
    }

    async fn send_part(&mut self, limit: usize) {
        let part = self.pace.next(limit, self.raws.len());
        self.send(part).await;
    }
}

impl Feed {
    /// Begins to send.
    pub(crate) async fn of(redline: &Installation, events: &[Event]) -> Self {
        let schema_id = redline.schema_id(EventKind::Row).await;
        let sending = Sending {
            kafka: redline.kafka.clone(),
            raws: events.iter().map(|event| redline.raw(event, schema_id)).collect(),
            pace: Pace::new(PART, LAST),
            sent: 0,
        };
        let (sending, limit) = (Arc::new(Mutex::new(sending)), Arc::new(AtomicUsize::new(BACKLOG)));
        let task = tokio::spawn(go_on(
            Arc::clone(&sending),
            Arc::clone(&limit),
            redline.pool.clone(),
        ));
        Self { sending, limit, task }
    }

    /// Waits until so many records are recorded. More are on their way.
    pub(crate) async fn midway(&self, redline: &Installation, at_least: usize) {
        self.limit.fetch_max(at_least + BACKLOG, Ordering::Relaxed);
        until("the run is under way", PATIENCE, async || {
            assert!(!self.task.is_finished(), "the stream broke off");
            match recorded(&redline.pool).await {
                Some(found) if found >= at_least => Ok(()),
                found => Err(format!("{found:?} of {at_least} records are recorded")),
            }
        })
        .await;
    }

    /// Sends nothing as long as the answer is held.
    pub(crate) async fn hold(&self) -> MutexGuard<'_, Sending> {
        self.sending.lock().await
    }

    /// Sends what was not sent yet, to the last event.
    pub(crate) async fn end(self) {
        let mut sending = self.sending.lock().await;
        self.task.abort();
        let rest = sending.pace.rest(sending.raws.len());
        sending.send(rest).await;
    }

    /// Sends nothing more.
    pub(crate) async fn abandon(self) {
        let _sending = self.sending.lock().await;
        self.task.abort();
    }
}

async fn go_on(sending: Arc<Mutex<Sending>>, limit: Arc<AtomicUsize>, pool: PgPool) {
    const PAUSE: Duration = Duration::from_millis(5);
    loop {
        let recorded = recorded(&pool).await;
        let mut sending = sending.lock().await;
        if recorded.is_some_and(|recorded| sending.sent < recorded + BACKLOG) {
            sending.send_part(limit.load(Ordering::Relaxed)).await;
        } else {
            drop(sending);
            tokio::time::sleep(PAUSE).await;
        }
    }
}
