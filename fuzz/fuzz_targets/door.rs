//! Any text as a JSON object at the door: an event or an error that names a field, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use redline_schemas::{Event, EventKind};

fuzz_target!(|text: &str| {
    for kind in EventKind::ALL {
        let Ok(event) = Event::from_json(kind, text) else { continue };
        let again = Event::from_canonical(kind, &event.canonical(), event.observed_at());
        assert_eq!(again.as_ref(), Ok(&event));
    }
});
