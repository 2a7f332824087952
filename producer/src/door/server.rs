//! Listening, and stopping without breaking off what is in flight.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use redline_schemas::registry::SchemaRegistry;
use redline_telemetry::metrics::Meter;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{Door, IngestSettings, Services};
use crate::publisher::Publisher;

/// Bytes of a request's first line and headers, at most.
const MAX_HEAD: usize = 64 * 1024;
/// Pause after a connection could not be accepted, for example because this process has too many files open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often the door looks whether its Kafka client can still publish.
const CLIENT_CHECK: Duration = Duration::from_secs(1);

/// Why the door did not open, or closed by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken or not ours.
    #[error(
        "cannot listen on {address}: {reason}; set ingest.listen to another address, or stop what listens there"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        reason: std::io::Error,
    },
    /// A name of a metric is taken.
    #[error("metrics: {0}")]
    Metrics(#[from] redline_telemetry::metrics::Error),
    /// The Kafka client can never publish again; a new process can.
    #[error("the Kafka client of the door met a fatal error, start again: {0}")]
    Kafka(String),
}

/// A door that has its address and takes no requests yet.
pub struct BoundDoor {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    settings: IngestSettings,
    publisher: Publisher,
}

/// Takes the address. The meter is where the door's metrics go and what `/metrics` shows; `others` are paths that
/// another role answers behind the same address, within the same limits.
///
/// # Errors
/// See [`ServeError`].
pub async fn bind<R: SchemaRegistry + Send + Sync + 'static>(
    settings: IngestSettings,
    services: Services<R>,
    meter: &Meter,
    others: Router,
) -> Result<BoundDoor, ServeError> {
    let refused = |reason| ServeError::Listen {
        address: settings.listen,
        reason,
    };
    let listener = TcpListener::bind(settings.listen).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let publisher = services.publisher.clone();
    let door = Door::new(settings.clone(), services, meter)?;
    Ok(BoundDoor {
        listener,
        address,
        router: door.router(others),
        settings,
        publisher,
    })
}

impl BoundDoor {
    /// Where the door listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until told to stop; then takes no more, finishes what is in flight within the settings' time, and
    /// flushes what is on its way to Kafka.
    ///
    /// # Errors
    /// [`ServeError::Kafka`] when the client can never publish again.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let connections = Connections::new(self.router, &self.settings);
        let ended = tokio::select! {
            () = shutdown => Ok(()),
            reason = fatal_error(&self.publisher) => Err(ServeError::Kafka(reason)),
            () = connections.accept(&self.listener) => Ok(()),
        };
        drop(self.listener);
        connections.close(self.settings.shutdown_timeout()).await;
        flush(self.publisher, self.settings.shutdown_timeout()).await;
        ended
    }
}

async fn fatal_error(publisher: &Publisher) -> String {
    loop {
        tokio::time::sleep(CLIENT_CHECK).await;
        if let Some(reason) = publisher.fatal_error() {
            return reason;
        }
    }
}

async fn flush(publisher: Publisher, timeout: Duration) {
    let flushed = tokio::task::spawn_blocking(move || publisher.flush(timeout)).await;
    if let Ok(Err(error)) = flushed {
        tracing::warn!("not everything on its way to Kafka was acknowledged: {error}");
    }
}

/// The connections that are open: HTTP/1.1 only, so that one timeout covers a connection from its first byte.
pub(super) struct Connections {
    router: Router,
    header_timeout: Duration,
    free: Arc<Semaphore>,
    graceful: GracefulShutdown,
    /// Breaks off what is still open when the time to finish is over.
    broken_off: CancellationToken,
}

impl Connections {
    pub(super) fn new(router: Router, settings: &IngestSettings) -> Self {
        let free = settings.max_connections.get().min(Semaphore::MAX_PERMITS);
        Self {
            router,
            header_timeout: settings.header_timeout(),
            free: Arc::new(Semaphore::new(free)),
            graceful: GracefulShutdown::new(),
            broken_off: CancellationToken::new(),
        }
    }

    pub(super) async fn accept(&self, listener: &TcpListener) {
        // Closed only with this value itself, so it never ends.
        while let Ok(permit) = Arc::clone(&self.free).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, address)) => self.open(stream, address, permit),
                Err(error) => {
                    tracing::warn!("a connection could not be accepted: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn open(&self, stream: TcpStream, address: SocketAddr, permit: OwnedSemaphorePermit) {
        // Answers are small and whole; waiting for more of them helps nobody.
        let _ = stream.set_nodelay(true);
        let router = TowerToHyperService::new(self.router.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(address));
            router.call(request)
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), service);
        let connection = self.graceful.watch(connection);
        let broken_off = self.broken_off.clone();
        tokio::spawn(async move {
            let _permit = permit;
            tokio::select! {
                () = broken_off.cancelled() => {}
                ended = connection => if let Err(error) = ended {
                    tracing::debug!("a connection ended: {error}");
                },
            }
        });
    }

    pub(super) async fn close(self, timeout: Duration) {
        if tokio::time::timeout(timeout, self.graceful.shutdown())
            .await
            .is_err()
        {
            tracing::warn!(
                "requests were broken off that did not end within {} s",
                timeout.as_secs()
            );
        }
        self.broken_off.cancel();
    }
}
