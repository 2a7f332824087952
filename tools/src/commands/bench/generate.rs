//! The events that are measured: a billing sheet of ten columns whose rows are edited again and again.

use std::time::Duration;

use redline_producer::encode::Encoder;
use redline_producer::publisher::{Outgoing, Publisher};
use redline_schemas::{Event, EventKind};

use super::BenchArguments;
use crate::settings::Settings;

/// The rules that the measured events are judged under.
pub(super) const RULES: &str = r#"
[sources.billing]
time_zone = "America/New_York"
amount = "Redlined Total Price"
[sources.billing.tracked]
"Quantity" = { type = "amount", unit = "Unit Price" }
"Unit Price" = { type = "amount" }
"Redlined Total Price" = { type = "amount" }
[sources.billing.thresholds]
USD = { medium = "100", high = "1000" }
"#;

/// All events in the order in which they are published: sheet by sheet, every row once in each.
pub(super) fn events(arguments: &BenchArguments) -> impl Iterator<Item = Event> {
    let (rows, late) = (arguments.rows, arguments.late_per_mille);
    (0..arguments.versions).flat_map(move |version| (0..rows).map(move |row| event(row, version, late)))
}

#[expect(
    clippy::panic,
    reason = "a measured event that breaks the contract would measure nothing"
)]
fn event(row: u32, version: u32, late_per_mille: u32) -> Event {
    // Every third edit changes the quantity and with it the total; the others touch what nobody tracks.
    let quantity = 10 + (row + version / 3) % 7;
    let is_late = version > 0 && (row.wrapping_mul(31) + version * 17) % 1_000 < late_per_mille;
    let day = if is_late { 25 } else { 20 };
    let json = format!(
        r#"{{"source":"billing","row_id":"R-{row:06}","version":{version},"op":"update","observed_at":"2026-02-{day}T16:{:02}:00Z","modified_at":"2026-02-{day}T15:{:02}:00Z","modified_by":"ann@example.com","period_end":"2026-02-22","currency":"USD","columns":{{"Work Order":"WO-{}","Task":"T-{}","Foreman":"B. Lee","Quantity":{quantity},"Unit Price":95,"Redlined Total Price":{},"Area":"North","Crew":{},"Checked":true,"Comment":"edit {version}"}}}}"#,
        version % 60,
        version % 60,
        row / 20,
        row % 20,
        quantity * 95,
        row % 9,
    );
    Event::from_json(EventKind::Row, &json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

/// Publishes all events; answers their average size in bytes.
pub(super) async fn publish(settings: &Settings, arguments: &BenchArguments) -> anyhow::Result<usize> {
    const IN_FLIGHT: usize = 5_000;
    let publisher = Publisher::new(&settings.kafka, Duration::from_secs(60))?;
    let encoder = Encoder::new(settings.registry.client()?, settings.topics.clone());
    let schema_id = encoder.schema_id(EventKind::Row).await?;
    let topic = encoder.topic(EventKind::Row);
    let partitions = publisher.partitions(topic).await?;
    let (mut bytes, mut count) = (0, 0);
    let mut deliveries = Vec::with_capacity(IN_FLIGHT);
    for event in events(arguments) {
        let record = redline_producer::encode::encode(schema_id, &event)?;
        let outgoing = Outgoing {
            topic,
            key: Some(record.key.as_bytes()),
            value: Some(&record.value),
            headers: &[],
        };
        bytes += record.value.len();
        count += 1;
        deliveries.push(publisher.enqueue_when_free(outgoing, partitions).await?);
        if deliveries.len() == IN_FLIGHT {
            for delivery in deliveries.drain(..) {
                delivery.await?;
            }
        }
    }
    for delivery in deliveries {
        delivery.await?;
    }
    Ok(bytes / count)
}
