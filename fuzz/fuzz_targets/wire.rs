//! Any bytes as a Kafka value: an event or an error, never a panic, and never more memory than is bounded.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use redline_schemas::avro::{FACT_SCHEMA, ORDER_SCHEMA, PAYOUT_SCHEMA, ROW_SCHEMA, WriterSchema, encode_event, split_frame};
use redline_schemas::{Event, EventKind};

static WRITERS: LazyLock<Vec<WriterSchema>> = LazyLock::new(|| {
    [
        (EventKind::Row, ROW_SCHEMA),
        (EventKind::Payout, PAYOUT_SCHEMA),
        (EventKind::Order, ORDER_SCHEMA),
        (EventKind::Fact, FACT_SCHEMA),
    ]
    .into_iter()
    .map(|(kind, schema)| WriterSchema::new(1, kind, schema).expect("a compiled-in schema"))
    .collect()
});

fuzz_target!(|value: &[u8]| {
    let Ok((_, datum)) = split_frame(value) else { return };
    for writer in WRITERS.iter() {
        let Ok(event) = writer.decode(datum) else { continue };
        // What was read survives its canonical form and its own encoding.
        let again = Event::from_canonical(event.kind(), &event.canonical(), event.observed_at());
        assert_eq!(again.as_ref(), Ok(&event));
        let encoded = encode_event(1, &event).expect("an event that was read can be written");
        let (_, datum) = split_frame(&encoded).expect("it is framed");
        assert_eq!(writer.decode(datum).as_ref(), Ok(&event));
    }
});
