//! Headers of a record, whatever bytes their names are: rdkafka's own reading panics on names that are not UTF-8, which
//! any foreign producer can send.
#![expect(
    unsafe_code,
    reason = "header names are read over FFI; what is read belongs to the message and is copied at once"
)]

use std::ffi::CStr;

use rdkafka::bindings as ffi;
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Headers as _, Message as _};
use redline_store::outbox::Headers;

/// All headers in their order. What is not UTF-8 in a name is replaced by U+FFFD.
pub(crate) fn of(message: &BorrowedMessage<'_>) -> Headers {
    message.headers().map_or_else(Vec::new, |headers| {
        (0..headers.count())
            .filter_map(|index| header(headers, index))
            .collect()
    })
}

fn header(headers: &BorrowedHeaders, index: usize) -> Option<(String, Option<Vec<u8>>)> {
    let mut name = std::ptr::null();
    let mut value = std::ptr::null();
    let mut size = 0;
    // SAFETY: rdkafka gives librdkafka's own pointer out under the type `BorrowedHeaders`, and it lives as long as the
    // message. Name and value point into it; the name ends with a zero byte, and the value has `size` bytes.
    unsafe {
        let native = std::ptr::from_ref(headers).cast::<ffi::rd_kafka_headers_t>();
        let error = ffi::rd_kafka_header_get_all(native, index, &raw mut name, &raw mut value, &raw mut size);
        if error != ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        let name = CStr::from_ptr(name).to_string_lossy().into_owned();
        let value = (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), size).to_vec());
        Some((name, value))
    }
}
