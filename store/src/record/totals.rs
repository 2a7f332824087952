//! Control totals and sums of each range.

use sqlx::PgConnection;

use super::{Outcome, Range, RecordOutcome, Sum, SumKey};
use crate::error::StoreError;
use crate::types::Timestamptz;

pub(super) async fn write_totals(
    connection: &mut PgConnection,
    ranges: &[Range],
    recorded_at: Timestamptz,
) -> Result<(), StoreError> {
    let count = |range: &Range, outcome: Outcome| {
        i64::try_from(
            range
                .records
                .iter()
                .filter(|record| record.outcome == outcome)
                .count(),
        )
        .unwrap_or(i64::MAX)
    };
    sqlx::query(
        "insert into redline.control_totals (position_id, topic, incarnation, partition, first_offset, next_offset,
            read, accepted, duplicate, quarantined, records, recorded_at)
         select position_id, topic, incarnation, partition, first_offset, next_offset,
            accepted + duplicate + quarantined, accepted, duplicate, quarantined, records, $11
         from unnest($1::int[], $2::text[], $3::text[], $4::int[], $5::bigint[], $6::bigint[], $7::bigint[],
            $8::bigint[], $9::bigint[], $10::bytea[]) u (position_id, topic, incarnation, partition,
            first_offset, next_offset, accepted, duplicate, quarantined, records)",
    )
    .bind(ranges.iter().map(|range| range.position_id).collect::<Vec<_>>())
    .bind(ranges.iter().map(|range| range.ledger.topic.as_str()).collect::<Vec<_>>())
    .bind(ranges.iter().map(|range| range.ledger.incarnation.as_str()).collect::<Vec<_>>())
    .bind(ranges.iter().map(|range| range.ledger.partition).collect::<Vec<_>>())
    .bind(ranges.iter().map(|range| range.from).collect::<Vec<_>>())
    .bind(ranges.iter().map(|range| range.to).collect::<Vec<_>>())
    .bind(ranges.iter().map(|range| count(range, Outcome::Accepted)).collect::<Vec<_>>())
    .bind(ranges.iter().map(|range| count(range, Outcome::Duplicate)).collect::<Vec<_>>())
    .bind(ranges.iter().map(|range| count(range, Outcome::Quarantined)).collect::<Vec<_>>())
    .bind(ranges.iter().map(|range| packed(&range.records)).collect::<Vec<_>>())
    .bind(recorded_at)
    .execute(&mut *connection)
    .await?;
    write_sums(connection, ranges).await
}

/// Of each record its offset (8 bytes, big-endian), outcome (1) and hash (32).
fn packed(records: &[RecordOutcome]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(records.len() * 41);
    for record in records {
        bytes.extend_from_slice(&record.offset.to_be_bytes());
        bytes.push(record.outcome as u8);
        bytes.extend_from_slice(&record.hash.0);
    }
    bytes
}

async fn write_sums(connection: &mut PgConnection, ranges: &[Range]) -> Result<(), StoreError> {
    let sums: Vec<(&Range, &SumKey, &Sum)> = ranges
        .iter()
        .flat_map(|range| range.sums.iter().map(move |(key, sum)| (range, key, sum)))
        .collect();
    if sums.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into redline.control_sums (position_id, topic, partition, first_offset, next_offset, period, currency,
            outcome, records, amount)
         select position_id, topic, partition, first_offset, next_offset, period, currency, outcome, records,
            trim_scale(units::numeric * 0.000000001)
         from unnest($1::int[], $2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::text[],
            $9::bigint[], $10::text[]) u (position_id, topic, partition, first_offset, next_offset, period,
            currency, outcome, records, units)",
    )
    .bind(sums.iter().map(|(range, _, _)| range.position_id).collect::<Vec<_>>())
    .bind(sums.iter().map(|(range, _, _)| range.ledger.topic.as_str()).collect::<Vec<_>>())
    .bind(sums.iter().map(|(range, _, _)| range.ledger.partition).collect::<Vec<_>>())
    .bind(sums.iter().map(|(range, _, _)| range.from).collect::<Vec<_>>())
    .bind(sums.iter().map(|(range, _, _)| range.to).collect::<Vec<_>>())
    .bind(sums.iter().map(|(_, key, _)| key.period.as_deref()).collect::<Vec<_>>())
    .bind(sums.iter().map(|(_, key, _)| key.currency.as_deref()).collect::<Vec<_>>())
    .bind(sums.iter().map(|(_, key, _)| key.outcome.word()).collect::<Vec<_>>())
    .bind(sums.iter().map(|(_, _, sum)| sum.records).collect::<Vec<_>>())
    .bind(sums.iter().map(|(_, _, sum)| sum.units.to_string()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
