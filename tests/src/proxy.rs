//! A TCP proxy that can be switched off or fall silent: a service that is away for one installation only.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Stands before one address. Off, it refuses connections and has broken those that were open.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    target: String,
    accepting: Option<JoinHandle<()>>,
    silence: Arc<Notify>,
}

impl Proxy {
    /// A proxy before `host:port`, switched off; its own address is fixed from now on.
    pub async fn before(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        Self {
            address,
            target: target.to_owned(),
            accepting: None,
            silence: Arc::default(),
        }
    }

    /// A proxy before the host of an address such as `http://host:port/path`, switched off, and the address that
    /// leads through it.
    pub async fn before_url(url: &str) -> (Self, String) {
        let (scheme, rest) = url.split_once("://").expect("an address has a scheme");
        let (target, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, target) = target.rsplit_once('@').unwrap_or(("", target));
        let user = if user.is_empty() {
            String::new()
        } else {
            format!("{user}@")
        };
        let proxy = Self::before(target).await;
        let url = format!("{scheme}://{user}{}/{path}", proxy.address);
        (proxy, url)
    }

    /// Its own address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets connections through.
    pub async fn on(&mut self) {
        if self.accepting.is_some() {
            return;
        }
        let listener = TcpListener::bind(self.address)
            .await
            .expect("the proxy's own port is free");
        let (target, silence) = (self.target.clone(), Arc::clone(&self.silence));
        self.accepting = Some(tokio::spawn(async move {
            // Dropped with this task, and with it every connection.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((mut inner, _)) = listener.accept().await {
                let (target, silence) = (target.clone(), Arc::clone(&silence));
                connections.spawn(async move {
                    if let Ok(mut outer) = TcpStream::connect(&target).await {
                        tokio::select! {
                            _ = copy_bidirectional(&mut inner, &mut outer) => {}
                            // Both ends stay open, and nobody reads them any more.
                            () = silence.notified() => std::future::pending().await,
                        }
                    }
                });
            }
        }));
    }

    /// From now on the connections that are open carry nothing, and do not end. New ones work.
    pub fn silence(&self) {
        self.silence.notify_waiters();
    }

    /// Breaks all connections and refuses new ones.
    pub async fn off(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            let _ = accepting.await;
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
        }
    }
}
