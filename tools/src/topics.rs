//! All topics of an installation, and the schemas of those that have one: what is made, looked at, and made in the demo.

use redline_schemas::avro;
use redline_schemas::topics::Topics;

/// The names of all topics.
pub(crate) fn all(topics: &Topics) -> [&String; 6] {
    [
        &topics.rows,
        &topics.payouts,
        &topics.orders,
        &topics.facts,
        &topics.flagged,
        &topics.quarantine,
    ]
}

/// The topics whose values are ours, each with its schema.
pub(crate) fn with_schemas(topics: &Topics) -> [(&String, &'static str); 5] {
    [
        (&topics.rows, avro::ROW_SCHEMA),
        (&topics.payouts, avro::PAYOUT_SCHEMA),
        (&topics.orders, avro::ORDER_SCHEMA),
        (&topics.facts, avro::FACT_SCHEMA),
        (&topics.flagged, avro::FLAG_SCHEMA),
    ]
}
