//! Lines on their way to Kafka: in bounded number and bytes, each with exactly one outcome, settled in order.
//!
//! Every line ends as accepted or as refused, in the order of the lines. So when Kafka goes away, there is a first
//! line that is neither, and everything before it is accounted for: accepted or named. That line is where the
//! sender goes on; what lies behind it may be in Kafka too, and sending it again is harmless.

use std::collections::VecDeque;
use std::time::Duration;

use redline_schemas::{Event, FieldError};
use serde::Serialize;

use crate::encode::{Record, encode};
use crate::publisher::{Class, Delivery, Outgoing, Publish, PublishError, enqueue_when_free};

/// How many refused lines are named.
pub const MAX_ERRORS: usize = 1_000;
/// What an entry costs besides its record.
const ENTRY_BYTES: usize = 200;

/// Pause before something is handed over again that could not even be queued.
const PAUSE: Duration = Duration::from_secs(5);

/// A line that was refused, or that was accepted with a warning.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LineError {
    /// The line, or the place in an array, from 1.
    pub line: u64,
    /// The field, with dots inside of maps; empty for the whole line.
    pub field: String,
    /// What is wrong and what is expected.
    pub reason: String,
}

/// What became of the lines so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Lines that Kafka acknowledged.
    pub accepted: u64,
    /// Lines that were refused, named or not.
    pub refused: u64,
    /// Of these, lines whose source the sender may not speak for.
    pub(crate) foreign: u64,
    /// The first refused lines, at most [`MAX_ERRORS`].
    pub errors: Vec<LineError>,
    /// The first accepted lines that somebody should look at all the same, at most [`MAX_ERRORS`].
    pub warnings: Vec<LineError>,
}

/// Why a line was refused.
#[derive(Debug)]
pub(crate) enum Refused {
    /// A field breaks the contract.
    Field(FieldError),
    /// The sender may not speak for the source.
    Foreign(FieldError),
}

/// Publishing broke off: every line before this one is accounted for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Broken {
    /// The first line that has to be sent again.
    pub(crate) line: u64,
    pub(crate) error: PublishError,
}

/// How much may be on its way at once, and how often a record is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bounds {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
    /// Attempts in a row that may end unacknowledged before publishing breaks off; at least 1.
    pub(crate) attempts: u32,
}

/// Where the records of one kind of events go.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pub(crate) topic: String,
    pub(crate) schema_id: u32,
    /// The trace that the sender is in.
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

pub(crate) struct Window<'p, P> {
    publisher: &'p P,
    lane: Lane,
    bounds: Bounds,
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Attempts in a row that ended unacknowledged.
    failures: u32,
    tally: Tally,
}

struct Entry {
    line: u64,
    bytes: usize,
    /// What there is to say although it is accepted.
    warning: Option<FieldError>,
    state: State,
}

enum State {
    Sent(Record, Delivery),
    Refused(Refused),
}

impl<'p, P: Publish> Window<'p, P> {
    pub(crate) fn new(publisher: &'p P, lane: Lane, bounds: Bounds) -> Self {
        Self {
            publisher,
            lane,
            bounds,
            entries: VecDeque::new(),
            bytes: 0,
            failures: 0,
            tally: Tally::default(),
        }
    }

    /// What became of the settled lines.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(crate) fn into_tally(self) -> Tally {
        self.tally
    }

    /// Sends the event of a line; lines come in rising order. Waits while the window is full.
    pub(crate) async fn send(&mut self, line: u64, event: &Event) -> Result<(), Broken> {
        self.send_warned(line, event, None).await
    }

    /// The same with a warning, which is told when the line is accepted.
    pub(crate) async fn send_warned(
        &mut self,
        line: u64,
        event: &Event,
        warning: Option<FieldError>,
    ) -> Result<(), Broken> {
        let record = match encode(self.lane.schema_id, event) {
            Ok(record) => record,
            Err(defect) => return self.refuse(line, whole_line(defect.to_string())).await,
        };
        let bytes = ENTRY_BYTES + record.bytes();
        self.make_room(bytes).await?;
        let state = match self.hand_over_patiently(&record).await {
            Ok(delivery) => State::Sent(record, delivery),
            Err(error) if error.class() == Class::Refused => State::Refused(whole_line(error.to_string())),
            Err(error) => {
                // Those before it come first: one of them may be the first that failed.
                self.settle_all().await?;
                return Err(Broken { line, error });
            }
        };
        self.push(line, bytes, warning, state);
        Ok(())
    }

    /// Takes note of a line that is refused.
    pub(crate) async fn refuse(&mut self, line: u64, refused: Refused) -> Result<(), Broken> {
        let (Refused::Field(error) | Refused::Foreign(error)) = &refused;
        let bytes = ENTRY_BYTES + error.field.len() + error.reason.len();
        self.make_room(bytes).await?;
        self.push(line, bytes, None, State::Refused(refused));
        Ok(())
    }

    /// Waits until every line has its outcome.
    pub(crate) async fn settle_all(&mut self) -> Result<(), Broken> {
        while !self.entries.is_empty() {
            self.settle_oldest().await?;
        }
        Ok(())
    }

    fn push(&mut self, line: u64, bytes: usize, warning: Option<FieldError>, state: State) {
        self.bytes += bytes;
        self.entries.push_back(Entry {
            line,
            bytes,
            warning,
            state,
        });
    }

    async fn make_room(&mut self, bytes: usize) -> Result<(), Broken> {
        let Bounds {
            records,
            bytes: limit,
            ..
        } = self.bounds;
        while !self.entries.is_empty() && (self.entries.len() >= records || self.bytes + bytes > limit) {
            self.settle_oldest().await?;
        }
        Ok(())
    }

    async fn settle_oldest(&mut self) -> Result<(), Broken> {
        let Some(entry) = self.entries.pop_front() else {
            return Ok(());
        };
        self.bytes -= entry.bytes;
        let line = entry.line;
        let refused = match entry.state {
            State::Refused(refused) => Some(refused),
            State::Sent(record, delivery) => self
                .acknowledged(record, delivery)
                .await
                .map_err(|error| Broken { line, error })?,
        };
        match refused {
            None => self.tally.count_accepted(line, entry.warning),
            Some(refused) => self.tally.count_refused(line, refused),
        }
        Ok(())
    }

    /// Waits for a delivery and sends again as often as the bounds say. Answers why Kafka refused the record.
    async fn acknowledged(
        &mut self,
        record: Record,
        delivery: Delivery,
    ) -> Result<Option<Refused>, PublishError> {
        let mut answer = delivery.await;
        loop {
            match answer {
                Ok(_) => {
                    self.failures = 0;
                    return Ok(None);
                }
                Err(error) => match error.class() {
                    Class::Refused => return Ok(Some(whole_line(error.to_string()))),
                    Class::Stop => return Err(error),
                    Class::TryAgain => self.count_failure(error)?,
                },
            }
            answer = match self.hand_over_patiently(&record).await {
                Ok(delivery) => delivery.await,
                Err(error) => Err(error),
            };
        }
    }

    fn count_failure(&mut self, error: PublishError) -> Result<(), PublishError> {
        self.failures += 1;
        if self.failures >= self.bounds.attempts {
            return Err(error);
        }
        tracing::warn!(attempt = self.failures, "{error}; trying again");
        Ok(())
    }

    async fn hand_over_patiently(&mut self, record: &Record) -> Result<Delivery, PublishError> {
        loop {
            match self.hand_over(record).await {
                Err(error) if error.class() == Class::TryAgain => self.count_failure(error)?,
                other => return other,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn hand_over(&self, record: &Record) -> Result<Delivery, PublishError> {
        // Asked for each record, since a topic may be given more partitions while a long stream runs; the answer
        // is kept by the publisher.
        let partitions = self.publisher.partitions(&self.lane.topic).await?;
        let outgoing = Outgoing {
            topic: &self.lane.topic,
            key: Some(record.key.as_bytes()),
            value: Some(&record.value),
            headers: &self.lane.headers,
        };
        enqueue_when_free(self.publisher, outgoing, partitions).await
    }
}

impl Tally {
    fn count_accepted(&mut self, line: u64, warning: Option<FieldError>) {
        self.accepted += 1;
        if let Some(FieldError { field, reason }) = warning
            && self.warnings.len() < MAX_ERRORS
        {
            self.warnings.push(LineError { line, field, reason });
        }
    }

    fn count_refused(&mut self, line: u64, refused: Refused) {
        self.refused += 1;
        let error = match refused {
            Refused::Field(error) => error,
            Refused::Foreign(error) => {
                self.foreign += 1;
                error
            }
        };
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(LineError {
                line,
                field: error.field,
                reason: error.reason,
            });
        }
    }
}

/// An error of a line that no field is to blame for.
pub(crate) fn whole_line(reason: impl Into<String>) -> Refused {
    Refused::Field(FieldError::new("", reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stand_in::Kafka;
    use redline_schemas::EventKind;
    use std::sync::atomic::Ordering;

    fn event(id: u64) -> Event {
        let text = format!(
            r#"{{"order_id":"O-{id}","customer_id":"C","amount":1,"currency":"USD","status":"created","created_at":"2026-03-02T10:00:00Z"}}"#
        );
        Event::from_json(EventKind::Order, &text).unwrap()
    }

    fn window(kafka: &Kafka, attempts: u32) -> Window<'_, Kafka> {
        let lane = Lane {
            topic: "redline.orders".to_owned(),
            schema_id: 1,
            headers: Vec::new(),
        };
        let bounds = Bounds {
            records: 10,
            bytes: 1 << 20,
            attempts,
        };
        Window::new(kafka, lane, bounds)
    }

    /// Sends lines 1 to 100, of which every tenth is refused before it is sent.
    async fn send_a_hundred(window: &mut Window<'_, Kafka>) -> Result<(), Broken> {
        for line in 1..=100 {
            if line % 10 == 0 {
                window.refuse(line, whole_line("is bad")).await?;
            } else {
                window.send(line, &event(line)).await?;
            }
        }
        window.settle_all().await
    }

    #[tokio::test]
    async fn every_line_before_the_one_to_go_on_from_is_accounted_for() {
        for failing in 0..90 {
            let kafka = Kafka::failing(failing, failing + 1);
            let mut window = window(&kafka, 1);
            let broken = send_a_hundred(&mut window).await.unwrap_err();
            let tally = window.into_tally();
            assert_eq!(tally.accepted + tally.refused, broken.line - 1);
            assert!(tally.errors.iter().all(|error| error.line < broken.line));
            assert_eq!(tally.accepted, u64::try_from(failing).unwrap());
        }
    }

    #[tokio::test]
    async fn a_patient_window_sends_again_until_kafka_is_back() {
        let kafka = Kafka::failing(20, 25);
        let mut window = window(&kafka, 10);
        assert_eq!(send_a_hundred(&mut window).await, Ok(()));
        let tally = window.into_tally();
        assert_eq!((tally.accepted, tally.refused), (90, 10));
        assert_eq!(kafka.keys().len(), 90);
    }

    #[tokio::test(start_paused = true)]
    async fn a_patient_window_waits_for_a_kafka_that_is_away() {
        let kafka = Kafka::default();
        kafka.away.store(true, Ordering::Relaxed);
        let mut patient = window(&kafka, 10);
        let comes_back = async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            kafka.away.store(false, Ordering::Relaxed);
        };
        let (sent, ()) = tokio::join!(send_a_hundred(&mut patient), comes_back);
        assert_eq!(sent, Ok(()));
        kafka.away.store(true, Ordering::Relaxed);
        let broken = send_a_hundred(&mut window(&kafka, 10)).await.unwrap_err();
        assert_eq!(broken.line, 1);
    }

    #[tokio::test]
    async fn patience_ends_after_so_many_failures_in_a_row() {
        let kafka = Kafka::failing(20, 1_000);
        let mut window = window(&kafka, 3);
        let broken = send_a_hundred(&mut window).await.unwrap_err();
        assert_eq!(broken.line, 23, "20 lines were accepted, lines 10 and 20 refused");
    }

    #[tokio::test]
    async fn a_record_that_kafka_finds_too_large_is_an_error_of_its_line() {
        let kafka = Kafka {
            max_bytes: Some(10),
            ..Kafka::default()
        };
        let mut window = window(&kafka, 1);
        window.send(1, &event(1)).await.unwrap();
        window.settle_all().await.unwrap();
        let reason = &window.tally().errors[0].reason;
        assert!(
            reason.contains("at most 10 bytes (message.max.bytes)"),
            "{reason}"
        );
    }

    #[tokio::test]
    async fn no_more_than_the_bounds_is_on_its_way() {
        let kafka = Kafka {
            hold: true,
            ..Kafka::default()
        };
        let mut window = window(&kafka, 1);
        let acknowledge = async {
            while kafka.sent() < 90 || kafka.acknowledge_one() {
                tokio::task::yield_now().await;
                kafka.acknowledge_one();
            }
        };
        let (sent, ()) = tokio::join!(send_a_hundred(&mut window), acknowledge);
        assert_eq!(sent, Ok(()));
        let most = kafka.most_held.load(Ordering::Relaxed);
        assert!((5..=10).contains(&most), "{most} were on their way");
    }

    #[tokio::test]
    async fn a_thousand_refused_lines_are_named_and_all_are_counted() {
        let kafka = Kafka::default();
        let mut window = window(&kafka, 1);
        for line in 1..=2_500 {
            window.refuse(line, whole_line("is bad")).await.unwrap();
        }
        window.settle_all().await.unwrap();
        assert_eq!(
            (window.tally().refused, window.tally().errors.len()),
            (2_500, 1_000)
        );
    }
}
