//! A TCP proxy: a network between one installation and a service, which can be cut, slow, or broken at a chosen byte.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// Stands before one address. Off, it refuses connections and has broken those that were open.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    accepting: Option<JoinHandle<()>>,
    road: Arc<Road>,
}

/// Where a [`Tripwire`] stops a connection, seen from the bytes that it recognises, which go to the service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// They do not arrive any more.
    Before,
    /// They arrive, and the half of what is sent next.
    Within,
    /// They arrive and are answered, and the answer does not arrive.
    After,
}

/// Whether these bytes are what a [`Tripwire`] waits for.
type Recognise = Box<dyn Fn(&[u8]) -> bool + Send>;

/// Stops the first connection on which something is said, once.
struct Tripwire {
    stop: Stop,
    /// So many times it is let through before.
    spared: usize,
    recognises: Recognise,
    tripped: oneshot::Sender<()>,
}

impl std::fmt::Debug for Tripwire {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Tripwire")
            .field("stop", &self.stop)
            .field("spared", &self.spared)
            .finish_non_exhaustive()
    }
}

/// What holds for all connections.
#[derive(Clone, Copy, Default, Debug)]
struct State {
    /// Nothing is carried, and nobody is told.
    is_cut: bool,
    /// Connections that were open at the last one are broken.
    resets: u64,
    /// Connections that were open at the last one carry nothing any more, and do not end.
    silences: u64,
    /// What stopped at a tripwire goes on after the next one.
    releases: u64,
    /// How long each part takes.
    delay: Duration,
}

#[derive(Debug)]
struct Road {
    target: Mutex<String>,
    state: watch::Sender<State>,
    tripwire: Mutex<Option<Tripwire>>,
}

impl Proxy {
    /// A proxy before `host:port`, switched off; its own address is fixed from now on.
    pub async fn before(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self::between(listener.local_addr().expect("a listener has an address"), target)
    }

    /// The same at an address that was agreed on.
    pub fn between(address: SocketAddr, target: &str) -> Self {
        Self {
            address,
            accepting: None,
            road: Arc::new(Road {
                target: Mutex::new(target.to_owned()),
                state: watch::Sender::default(),
                tripwire: Mutex::default(),
            }),
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
        let road = Arc::clone(&self.road);
        self.accepting = Some(tokio::spawn(async move {
            // Dropped with this task, and with it every connection.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(Arc::clone(&road).carry(client));
                while connections.try_join_next().is_some() {}
            }
        }));
    }

    /// Breaks all connections and refuses new ones.
    pub async fn off(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            let _ = accepting.await;
        }
    }

    /// From now on the connections that are open carry nothing, and do not end. New ones work.
    pub fn silence(&self) {
        self.road.state.send_modify(|state| state.silences += 1);
    }

    /// Nothing is carried any more, and nobody is told; new connections are accepted and silent as well.
    pub fn cut(&self) {
        self.road.state.send_modify(|state| state.is_cut = true);
    }

    /// After [`Self::cut`]: what was open breaks, and new connections work.
    pub fn mend(&self) {
        self.road.state.send_modify(|state| {
            state.is_cut = false;
            state.resets += 1;
        });
    }

    /// Breaks all connections that are open; new ones work.
    pub fn reset(&self) {
        self.road.state.send_modify(|state| state.resets += 1);
    }

    /// Every part takes so long on its way.
    pub fn delay(&self, delay: Duration) {
        self.road.state.send_modify(|state| state.delay = delay);
    }

    /// New connections lead to another `host:port`; those that are open break.
    pub fn lead_to(&self, target: &str) {
        target.clone_into(&mut self.road.target.lock().unwrap_or_else(PoisonError::into_inner));
        self.reset();
    }

    /// Stops a connection where something is said to the service, after it was let through so many times; answers
    /// when that has happened. What stopped stands still until [`Self::release`], [`Self::reset`] or [`Self::off`].
    pub fn trip(
        &self,
        stop: Stop,
        spared: usize,
        recognises: impl Fn(&[u8]) -> bool + Send + 'static,
    ) -> oneshot::Receiver<()> {
        let (tripped, has_tripped) = oneshot::channel();
        *self.road.tripwire() = Some(Tripwire {
            stop,
            spared,
            recognises: Box::new(recognises),
            tripped,
        });
        has_tripped
    }

    /// What stopped at a tripwire goes on.
    pub fn release(&self) {
        self.road.state.send_modify(|state| state.releases += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
        }
    }
}

impl Road {
    fn tripwire(&self) -> std::sync::MutexGuard<'_, Option<Tripwire>> {
        self.tripwire.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the tripwire when these bytes are what it waits for.
    fn tripped_by(&self, bytes: &[u8]) -> Option<Tripwire> {
        let mut place = self.tripwire();
        let wire = place.as_mut()?;
        if !(wire.recognises)(bytes) {
            return None;
        }
        if wire.spared > 0 {
            wire.spared -= 1;
            return None;
        }
        place.take()
    }

    async fn carry(self: Arc<Self>, client: TcpStream) {
        let state = self.state.subscribe();
        let began = *state.borrow();
        let target = self.target.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Ok(service) = TcpStream::connect(&target).await else {
            return;
        };
        for stream in [&client, &service] {
            let _ = stream.set_nodelay(true);
        }
        let mut connection = Connection {
            road: self,
            state,
            began,
            client,
            service,
        };
        if connection.run().await.is_none() {
            connection.break_off();
        }
    }
}

/// One connection through the proxy.
struct Connection {
    road: Arc<Road>,
    state: watch::Receiver<State>,
    /// The state when it was opened.
    began: State,
    client: TcpStream,
    service: TcpStream,
}

impl Connection {
    /// Carries until one end closes; none when it was broken on purpose.
    async fn run(&mut self) -> Option<()> {
        let (mut sent, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
        // What a tripwire has left to do, once it has recognised its bytes.
        let mut within: Option<Tripwire> = None;
        let mut after: Option<Tripwire> = None;
        // It may have been cut before this one was opened.
        self.heed().await?;
        loop {
            tokio::select! {
                biased;
                changed = self.state.changed() => {
                    changed.ok()?;
                    self.heed().await?;
                }
                read = self.client.read(&mut sent) => {
                    let Some(bytes) = part(&sent, read) else { return Some(()) };
                    self.take_time().await;
                    if let Some(wire) = within.take() {
                        let (first, rest) = bytes.split_at(bytes.len() / 2);
                        self.service.write_all(first).await.ok()?;
                        self.stand_still(wire).await?;
                        self.service.write_all(rest).await.ok()?;
                        continue;
                    }
                    if let Some(wire) = self.road.tripped_by(bytes) {
                        match wire.stop {
                            Stop::Before => self.stand_still(wire).await?,
                            Stop::Within => within = Some(wire),
                            Stop::After => after = Some(wire),
                        }
                    }
                    self.service.write_all(bytes).await.ok()?;
                }
                read = self.service.read(&mut answered) => {
                    let Some(bytes) = part(&answered, read) else { return Some(()) };
                    self.take_time().await;
                    if let Some(wire) = after.take() {
                        self.stand_still(wire).await?;
                    }
                    self.client.write_all(bytes).await.ok()?;
                }
            }
        }
    }

    async fn take_time(&self) {
        let delay = self.state.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }

    /// Does what the state asks of connections that are open.
    async fn heed(&mut self) -> Option<()> {
        let (began, state) = (self.began, *self.state.borrow_and_update());
        if state.resets > began.resets {
            return None;
        }
        if state.is_cut || state.silences > began.silences {
            // Both ends stay open, and nobody reads them any more.
            let broken = self.state.wait_for(|state| state.resets > began.resets).await;
            broken.ok()?;
            return None;
        }
        Some(())
    }

    async fn stand_still(&mut self, wire: Tripwire) -> Option<()> {
        let before = *self.state.borrow();
        let _ = wire.tripped.send(());
        let state = self
            .state
            .wait_for(|state| state.releases > before.releases || state.resets > before.resets)
            .await
            .ok()?;
        (state.resets == before.resets).then_some(())
    }

    /// Ends both connections without a word.
    fn break_off(&self) {
        for stream in [&self.client, &self.service] {
            let _ = stream.set_zero_linger();
        }
    }
}

/// What was read; none at the end.
fn part(buffer: &[u8], read: std::io::Result<usize>) -> Option<&[u8]> {
    match read {
        Ok(0) | Err(_) => None,
        Ok(count) => buffer.get(..count),
    }
}
