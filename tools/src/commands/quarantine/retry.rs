//! `redline quarantine retry`: the same bytes once more, each record under a header that names the original.

use std::io::Write as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use redline_consumer::RETRY_HEADER;
use redline_producer::publisher::{Outgoing, Publisher};
use redline_store::quarantine::{self, Kept, Selection};
use redline_store::sqlx::PgPool;
use serde_json::json;

use crate::commands::saying::said_by;
use crate::commands::{connecting, counted};
use crate::settings::Settings;

/// Records that are on their way at once; each may be as large as Kafka takes them.
const PAGE: i64 = 50;

/// Publishes the selected records again and notes of each that it was.
pub(super) async fn retry(
    settings: &Settings,
    pool: &PgPool,
    selection: &Selection,
    json: bool,
) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    // What is quarantined again meanwhile is of the same selection, and would be retried without end.
    let (count, last) = quarantine::extent(pool, selection).await?;
    if count == 0 {
        if !json {
            writeln!(out, "Nothing that is chosen waits.")?;
        }
        return Ok(());
    }
    connecting::kafka(settings).await?;
    let publisher = Publisher::new(&settings.kafka_for_quarantined(&[]), Duration::from_secs(30))?;
    let by = said_by(None, "quarantine");
    let bar = ProgressBar::new(count).with_style(ProgressStyle::with_template(
        "{spinner} [{bar:30}] {human_pos} of {human_len} published again",
    )?);
    let (mut after, mut retried) = (0, 0_u64);
    loop {
        let mut page = quarantine::kept(pool, selection, after, PAGE).await?;
        page.retain(|record| record.listed.quarantine_id <= last);
        let Some(end) = page.last() else { break };
        after = end.listed.quarantine_id;
        for Published { record, to } in publish(&publisher, page).await? {
            // Published first: if this process dies in between, the record is retried twice and counts once.
            let id = record.listed.quarantine_id;
            let waited = quarantine::mark_retried(pool, id, &by, &to).await?;
            anyhow::ensure!(
                waited,
                "record {id} was published again to {to}; meanwhile somebody else retried or discarded it"
            );
            retried += 1;
            bar.inc(1);
            bar.suspend(|| match json {
                true => writeln!(out, "{}", json!({"quarantine_id": id, "published_to": to})),
                false => writeln!(out, "{id} was published again to {to}"),
            })?;
        }
    }
    bar.finish_and_clear();
    if !json && retried > 1 {
        let records = counted(retried, "record was", "records were");
        writeln!(
            out,
            "{records} published again; what cannot be accepted this time either comes back with a new number"
        )?;
    }
    Ok(())
}

/// A record and where it was published to, `topic/partition/offset`.
struct Published {
    record: Kept,
    to: String,
}

async fn publish(publisher: &Publisher, page: Vec<Kept>) -> anyhow::Result<Vec<Published>> {
    let mut deliveries = Vec::with_capacity(page.len());
    for record in page {
        let place = &record.listed;
        let original = format!(
            "{}/{}/{}/{}",
            place.topic, place.incarnation, place.partition, place.offset
        );
        let mut headers = record.headers.clone();
        headers.retain(|(name, _)| name != RETRY_HEADER);
        headers.push((RETRY_HEADER.to_owned(), Some(original.into_bytes())));
        let partitions = publisher.partitions(&place.topic).await?;
        let outgoing = Outgoing {
            topic: &place.topic,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
        };
        let delivery = publisher.enqueue_when_free(outgoing, partitions).await?;
        deliveries.push((record, delivery));
    }
    let mut published = Vec::with_capacity(deliveries.len());
    for (record, delivery) in deliveries {
        let (partition, offset) = delivery.await?;
        let to = format!("{}/{partition}/{offset}", record.listed.topic);
        published.push(Published { record, to });
    }
    Ok(published)
}
