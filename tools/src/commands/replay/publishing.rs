//! Publishing what is replayed: in order, not faster than wanted, and settled piece by piece.

use std::num::NonZeroU32;

use anyhow::bail;
use indicatif::ProgressBar;
use redline_http::limits::{Bucket, Rate};
use redline_producer::encode::Encoder;
use redline_producer::publisher::{Outgoing, Publisher};
use redline_producer::sources::events::EventsError;
use redline_schemas::registry::ConfluentRegistry;
use tokio_util::sync::CancellationToken;

use super::course::Course;
use super::source::{Piece, Source};
use crate::commands::{counted, spinner};

/// Records that are on their way at once; so many at most are published twice when the process dies.
const AT_ONCE: usize = 500;
/// How many parts a second has: what a silence saves up is published in less than one of them.
const PARTS: u32 = 20;

pub(super) struct Publishing {
    publisher: Publisher,
    bucket: Option<Bucket>,
    at_once: usize,
    stop: CancellationToken,
}

impl Publishing {
    pub(super) fn new(publisher: Publisher, rate: Option<NonZeroU32>, stop: CancellationToken) -> Self {
        let bucket = rate.map(|per_second| {
            let burst = NonZeroU32::new(per_second.get() / PARTS).unwrap_or(NonZeroU32::MIN);
            Bucket::new(Rate { per_second, burst })
        });
        // What is slow is settled each second or so.
        let a_second = rate.map_or(usize::MAX, |rate| {
            usize::try_from(rate.get()).unwrap_or(usize::MAX)
        });
        Self {
            publisher,
            bucket,
            at_once: AT_ONCE.min(a_second),
            stop,
        }
    }

    /// Publishes what is left of it; an error says how to go on.
    pub(super) async fn run(
        &self,
        source: Source,
        encoder: Encoder<ConfluentRegistry>,
        course: &mut Course,
    ) -> anyhow::Result<()> {
        let bar = spinner()?;
        let published = self.publish(source, encoder, course, &bar).await;
        bar.finish_and_clear();
        let records = counted(course.published, "record is", "records are");
        let go_on = course.how_to_go_on();
        match published {
            Ok(true) => {}
            Ok(false) => bail!("stopped: {records} in; {go_on}"),
            Err(error) => {
                let is_line = matches!(error.downcast_ref(), Some(EventsError::Line { .. }));
                let mend = if is_line { "mend the line, then " } else { "" };
                bail!("{}; {records} in; {mend}{go_on}", crate::told(&error));
            }
        }
        course.finished = true;
        course.write()
    }

    /// Answers whether it came to the end.
    async fn publish(
        &self,
        source: Source,
        encoder: Encoder<ConfluentRegistry>,
        course: &mut Course,
        bar: &ProgressBar,
    ) -> anyhow::Result<bool> {
        let mut chunks = source.read(course.spans.clone(), encoder);
        loop {
            let chunk = tokio::select! {
                () = self.stop.cancelled() => return Ok(false),
                chunk = chunks.recv() => chunk,
            };
            let Some(chunk) = chunk else { return Ok(true) };
            for pieces in chunk?.chunks(self.at_once) {
                let settled = self.settle(pieces).await;
                let count = settled.as_ref().copied().unwrap_or(0);
                for piece in pieces.iter().take(count) {
                    course.advance(piece.span, piece.next);
                }
                course.write()?;
                settled?;
                let of = pieces.last().and_then(|piece| course.spans.get(piece.span));
                let of = of.map_or_else(String::new, |span| {
                    format!(
                        " ({}, partition {}, up to {})",
                        span.of, span.partition, span.next
                    )
                });
                bar.set_message(format!("{} records published{of}", course.published));
                bar.tick();
                if count < pieces.len() {
                    return Ok(false);
                }
            }
        }
    }

    /// Publishes some and waits until Kafka has them; answers how many, fewer when told to stop.
    async fn settle(&self, pieces: &[Piece]) -> anyhow::Result<usize> {
        let mut deliveries = Vec::with_capacity(pieces.len());
        for piece in pieces {
            if !self.may_go_on().await {
                break;
            }
            let partitions = self.publisher.partitions(&piece.topic).await?;
            let outgoing = Outgoing {
                topic: &piece.topic,
                key: piece.key.as_deref(),
                value: piece.value.as_deref(),
                headers: &piece.headers,
            };
            deliveries.push(self.publisher.enqueue_when_free(outgoing, partitions).await?);
        }
        let count = deliveries.len();
        for delivery in deliveries {
            delivery.await?;
        }
        Ok(count)
    }

    /// Waits until one more may be published; answers whether nobody told to stop.
    async fn may_go_on(&self) -> bool {
        while !self.stop.is_cancelled() {
            let Some(Err(wait)) = self.bucket.as_ref().map(|bucket| bucket.take(1)) else {
                return true;
            };
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(wait.duration()) => {}
            }
        }
        false
    }
}
