//! Topic ids: which incarnation of a topic the broker has now.
//!
//! rdkafka has no safe call for DescribeTopics, so this is the one module that speaks to librdkafka directly.
#![expect(
    unsafe_code,
    reason = "DescribeTopics is reached over FFI; every pointer is owned by a guard below"
)]

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::bindings as ffi;
use rdkafka::client::Client;

/// Why no topic id could be learnt. Class: try again.
#[derive(Debug, thiserror::Error)]
#[error("Kafka did not tell the ids of its topics: {0}")]
pub struct NotTold(pub(crate) String);

/// Owns a pointer of librdkafka and gives it back.
struct Owned<T> {
    pointer: *mut T,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    fn new(pointer: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Result<Self, NotTold> {
        if pointer.is_null() {
            return Err(NotTold("librdkafka gave no memory".to_owned()));
        }
        Ok(Self { pointer, destroy })
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the function that pairs with `destroy`, and is given back only here.
        unsafe { (self.destroy)(self.pointer) }
    }
}

/// The broker that Kafka names as its controller, by what the client has heard; none when it has not heard yet.
pub(crate) fn controller<C: ClientContext>(client: &Client<C>) -> Option<i32> {
    // SAFETY: the handle lives as long as `client`; nothing is waited for.
    let broker = unsafe { ffi::rd_kafka_controllerid(client.native_ptr(), 0) };
    (broker >= 0).then_some(broker)
}

/// The ids of those topics that exist, asked of the controller or of another broker. Blocks its thread.
///
/// # Errors
/// When no broker answered in time.
pub(crate) fn topic_ids<C: ClientContext>(
    client: &Client<C>,
    topics: &[String],
    broker: Option<i32>,
    timeout: Duration,
) -> Result<HashMap<String, String>, NotTold> {
    let names: Vec<CString> = topics
        .iter()
        .map(|topic| CString::new(topic.as_str()).map_err(|_| NotTold(format!("{topic:?} is no topic name"))))
        .collect::<Result<_, _>>()?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let handle = client.native_ptr();
    // SAFETY: `handle` lives as long as `client`; the names outlive the collection, which copies them; the error
    // text buffer may be null when its size is 0. Every object is destroyed by its `Owned`, the event before the
    // queue that it came from.
    unsafe {
        let collection = Owned::new(
            ffi::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len()),
            ffi::rd_kafka_TopicCollection_destroy,
        )?;
        let options = Owned::new(
            ffi::rd_kafka_AdminOptions_new(
                handle,
                ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            ),
            ffi::rd_kafka_AdminOptions_destroy,
        )?;
        ffi::rd_kafka_AdminOptions_set_request_timeout(
            options.pointer,
            milliseconds,
            std::ptr::null_mut(),
            0,
        );
        if let Some(broker) = broker {
            ffi::rd_kafka_AdminOptions_set_broker(options.pointer, broker, std::ptr::null_mut(), 0);
        }
        let queue = Owned::new(ffi::rd_kafka_queue_new(handle), ffi::rd_kafka_queue_destroy)?;
        ffi::rd_kafka_DescribeTopics(handle, collection.pointer, options.pointer, queue.pointer);
        let event = Owned::new(
            ffi::rd_kafka_queue_poll(queue.pointer, milliseconds.saturating_add(1_000)),
            ffi::rd_kafka_event_destroy,
        )
        .map_err(|_| NotTold("no answer in time".to_owned()))?;
        read_event(event.pointer)
    }
}

/// Reads the ids out of an event.
///
/// # Safety
/// The event must be live.
unsafe fn read_event(event: *mut ffi::rd_kafka_event_t) -> Result<HashMap<String, String>, NotTold> {
    // SAFETY: the caller keeps the event alive; what is read belongs to it and is copied before this returns.
    unsafe {
        if ffi::rd_kafka_event_error(event) != ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            let text = ffi::rd_kafka_event_error_string(event);
            return Err(NotTold(CStr::from_ptr(text).to_string_lossy().into_owned()));
        }
        let result = ffi::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Err(NotTold("the answer was to another question".to_owned()));
        }
        let mut count = 0;
        let list = ffi::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        let mut ids = HashMap::with_capacity(count);
        for index in 0..count {
            let topic = *list.add(index);
            let error = ffi::rd_kafka_error_code(ffi::rd_kafka_TopicDescription_error(topic));
            match error {
                ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {
                    let name = CStr::from_ptr(ffi::rd_kafka_TopicDescription_name(topic));
                    let id = ffi::rd_kafka_Uuid_base64str(ffi::rd_kafka_TopicDescription_topic_id(topic));
                    ids.insert(
                        name.to_string_lossy().into_owned(),
                        CStr::from_ptr(id).to_string_lossy().into_owned(),
                    );
                }
                ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
                | ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_ID
                | ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC => {}
                other => return Err(NotTold(format!("{other:?}"))),
            }
        }
        Ok(ids)
    }
}
