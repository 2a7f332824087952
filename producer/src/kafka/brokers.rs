//! Tells a client again where Kafka is, when it knows no broker any more.
//!
//! A client drops the brokers that an answer of Kafka does not list, and a broker that stood still lists none at first, not
//! even itself. librdkafka then begins anew at `bootstrap.servers`; but what it does with the end of that same answer can
//! call this off for good (its issue 5301), and the client asks nobody ever after. rdkafka has no safe call for naming
//! brokers, so this module speaks to librdkafka directly.
#![expect(
    unsafe_code,
    reason = "rd_kafka_brokers_add is reached over FFI; its two arguments are borrowed for the call"
)]

use std::ffi::CString;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::bindings::rd_kafka_brokers_add;
use rdkafka::client::Client;

/// From the moment when no broker answered to the first look.
const FIRST: Duration = Duration::from_secs(3);
/// Between two looks, at most: a client keeps every name that it was told.
const MOST: Duration = Duration::from_secs(60);
/// How long a look waits for an answer; nobody is served meanwhile.
const LOOK: Duration = Duration::from_millis(200);

/// When somebody should look again.
#[derive(Clone, Copy, Debug)]
struct Search {
    at: Instant,
    pause: Duration,
}

/// What is known of a client's brokers.
#[derive(Debug)]
pub(super) struct Brokers {
    bootstrap_servers: String,
    search: Mutex<Option<Search>>,
}

impl Brokers {
    pub(super) fn new(bootstrap_servers: &str) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.to_owned(),
            search: Mutex::new(None),
        }
    }

    fn search(&self) -> MutexGuard<'_, Option<Search>> {
        self.search.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No broker answers.
    pub(super) fn lost(&self) {
        self.search().get_or_insert(Search {
            at: Instant::now() + FIRST,
            pause: FIRST,
        });
    }

    /// After all brokers were lost: looks whether the client has found one, and names them again if not.
    pub(super) fn find<C: ClientContext>(&self, client: &Client<C>) {
        let Some(search) = *self.search() else { return };
        if Instant::now() < search.at {
            return;
        }
        let found = client.fetch_metadata(None, LOOK);
        if found.is_ok_and(|metadata| !metadata.brokers().is_empty()) {
            *self.search() = None;
            return;
        }
        self.name(client);
        let pause = MOST.min(search.pause * 2);
        *self.search() = Some(Search {
            at: Instant::now() + pause,
            pause,
        });
    }

    fn name<C: ClientContext>(&self, client: &Client<C>) {
        let Ok(servers) = CString::new(self.bootstrap_servers.as_str()) else {
            return;
        };
        // SAFETY: the handle lives as long as `client`, and the list is copied.
        let named = unsafe { rd_kafka_brokers_add(client.native_ptr(), servers.as_ptr()) };
        tracing::debug!(
            named,
            servers = self.bootstrap_servers,
            "no broker is known; they are named again"
        );
    }
}
