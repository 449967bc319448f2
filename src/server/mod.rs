//! Servers: their listening sockets and the clients that they accept.

pub(crate) mod accept;
pub mod authorize;
mod builder;
mod limits;
pub(crate) mod listener;
mod login;
mod sessions;
mod shutdown;

use std::{
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep},
};
use wsmux_proto::VarInt;

use self::{
    accept::Admission,
    limits::{HandshakePermit, Slots},
    listener::{AcceptedStream, canonical},
    shutdown::Registry,
};
pub use self::{
    accept::WebSocketAcceptor, builder::WebSocketServerBuilder, listener::Listener,
    shutdown::ShutdownReport,
};
use crate::{
    connection::{ConnectionInfo, WebSocketConnection},
    error::AcceptError,
    observe::trace,
};

/// How long accepting pauses when the system is out of file descriptors or memory. The pause is
/// long enough for some connection to end, and too short for clients to notice.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections from clients.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let server = wsmux::WebSocketServer::builder().protocol("chat").bind("[::]:8080").await?;
/// while let Some(connecting) = server.accept().await {
///     tokio::spawn(async move {
///         match connecting.await {
///             Ok(connection) => { /* accept its streams */ }
///             Err(error) => eprintln!("no connection: {error}"),
///         }
///     });
/// }
/// # Ok(())
/// # }
/// ```
///
/// Each handshake holds up to 110 kB, until the [handshake
/// timeout](crate::Config::handshake_timeout) at the latest: a head of 64 KiB, the tables of its
/// lines, and the handshake's own state. TLS needs more memory, and parsing the head needs another
/// 64 KiB for a moment. The builder's [`max_handshakes`](WebSocketServerBuilder::max_handshakes)
/// limits the number of handshakes. [`max_connections`](WebSocketServerBuilder::max_connections)
/// and [`max_connections_per_address`](WebSocketServerBuilder::max_connections_per_address) limit
/// the number of connections.
#[derive(Debug)]
pub struct WebSocketServer {
    /// The listening sockets; empty once the server is closed. The lock is held during a poll and
    /// never across an await, so that a future that is no longer polled cannot keep a port in use.
    listeners: Mutex<Vec<Listener>>,
    /// Wakes all tasks that wait for a client.
    arrivals: Arc<Arrivals>,
    addresses: Vec<SocketAddr>,
    /// Counts the polls. This count selects the listener that is polled first, so that a busy
    /// listener does not starve the others.
    turn: AtomicUsize,
    acceptor: WebSocketAcceptor,
    slots: Slots,
    registry: Arc<Registry>,
    closed: watch::Sender<bool>,
}

impl WebSocketServer {
    /// Returns a builder to set up a server.
    pub fn builder() -> WebSocketServerBuilder {
        WebSocketServerBuilder::new()
    }

    /// Makes a server over a socket that already listens: tokio's `TcpListener` or `UnixListener`,
    /// or a [`Listener`].
    pub fn new(listener: impl Into<Listener>, acceptor: WebSocketAcceptor) -> Self {
        Self::with_listeners([listener.into()], acceptor)
    }

    /// Makes a server over several sockets that already listen, for example TCP and a Unix socket:
    ///
    /// ```no_run
    /// # #[cfg(unix)]
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use wsmux::{Listener, WebSocketServer};
    ///
    /// let mut listeners = Listener::tcp(["[::]:8080"]).await?;
    /// listeners.push(Listener::unix("/run/example.sock")?);
    /// let acceptor = WebSocketServer::builder().build()?;
    /// let server = WebSocketServer::with_listeners(listeners, acceptor);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_listeners(
        listeners: impl IntoIterator<Item = Listener>,
        acceptor: WebSocketAcceptor,
    ) -> Self {
        let listeners: Vec<_> = listeners.into_iter().collect();
        Self {
            addresses: listeners.iter().filter_map(Listener::local_addr).collect(),
            listeners: Mutex::new(listeners),
            arrivals: Arc::default(),
            turn: AtomicUsize::new(0),
            slots: Slots::new(acceptor.0.limits),
            acceptor,
            registry: Registry::new(),
            closed: watch::Sender::new(false),
        }
    }

    /// Returns the address on which the server listens. If there are several addresses, returns the
    /// first address. If the server was bound to port 0, the returned address has the actual port.
    ///
    /// # Errors
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable) if the server has no TCP socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.addresses.first().copied().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    /// Returns all TCP addresses on which the server listens.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns the acceptor, which does the same handshakes over streams that do not come from this
    /// server's sockets.
    pub fn acceptor(&self) -> &WebSocketAcceptor {
        &self.acceptor
    }

    /// Returns how many of the accepted connections have not ended. A connection in its closing
    /// handshake has not ended.
    pub fn connections(&self) -> usize {
        self.registry.live()
    }

    /// Uses this TLS configuration for clients that are accepted after this call, for example with
    /// a renewed certificate or with other roots for client certificates. Existing connections
    /// continue, and so do handshakes whose TLS has begun. A TLS session of the earlier
    /// configuration is resumed only if both configurations share a session store. For the ALPN see
    /// the builder's [`tls_config`](WebSocketServerBuilder::tls_config).
    ///
    /// # Errors
    /// [`BuildError::Tls`](crate::BuildError::Tls) for an ALPN without `http/1.1`. If it fails, the
    /// server keeps its configuration.
    #[cfg(feature = "tls")]
    pub fn set_tls_config(
        &self,
        config: Arc<rustls::ServerConfig>,
    ) -> Result<(), crate::error::BuildError> {
        self.acceptor.set_tls_config(config)
    }

    /// Presents this certificate to clients that are accepted after this call. The new certificate
    /// replaces the certificate that the builder's
    /// [`certificate`](WebSocketServerBuilder::certificate) or this method has set. Client
    /// certificates are requested as set in the builder. For the effect on existing connections and
    /// TLS sessions, see [`set_tls_config`](Self::set_tls_config).
    ///
    /// # Errors
    /// [`BuildError::Tls`](crate::BuildError::Tls) if, for example, the key does not match the
    /// certificate. This error is also returned if the server has no TLS. It is also returned if
    /// the application made the TLS configuration, because that configuration may contain further
    /// requirements for clients. If this fails, the server keeps its configuration.
    #[cfg(feature = "tls")]
    pub fn set_certificate(
        &self,
        chain: impl IntoIterator<Item = rustls::pki_types::CertificateDer<'static>>,
        key: rustls::pki_types::PrivateKeyDer<'static>,
    ) -> Result<(), crate::error::BuildError> {
        self.acceptor.set_certificate(chain, key)
    }

    /// Waits for the next client. Awaiting the returned [`Connecting`] does the handshake with this
    /// client. Await it in a task of its own, so that a slow client does not delay others. Returns
    /// `None` once the server is [closed](Self::close).
    ///
    /// This never fails. A client that leaves before it is accepted is skipped. If the system is
    /// out of file descriptors or memory (`EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`), clients wait in
    /// the kernel's accept queue, and the server tries again every 100 ms. Clients beyond the
    /// builder's limits wait in that queue, too, or are closed.
    ///
    /// # Cancel safety
    /// No client is lost when the future is dropped.
    pub async fn accept(&self) -> Option<Connecting> {
        let mut closed = self.closed.subscribe();
        let wait = closed.wait_for(|closed| *closed);
        tokio::select! {
            biased;
            _ = wait => None,
            accepted = self.accept_next() => Some(accepted),
        }
    }

    async fn accept_next(&self) -> Connecting {
        let mut reservation = self.slots.reserve().await;
        loop {
            let incoming = match self.incoming().await {
                Ok(incoming) => incoming,
                Err(error) => {
                    pause_after(&error).await;
                    continue;
                }
            };
            let address = incoming.address();
            match self.slots.take(reservation, address.map(|address| address.ip())) {
                Ok((permit, handshake)) => {
                    let admission = Admission { registry: self.registry.clone(), permit };
                    return self.connecting(incoming, address, admission, handshake);
                }
                Err(given_back) => {
                    trace::address_limit(address);
                    reservation = given_back;
                }
            }
        }
    }

    /// Accepts the next client of any listener.
    async fn incoming(&self) -> io::Result<AcceptedStream> {
        // A listener keeps a single waker, so all tasks share one waker.
        let waker = Waker::from(self.arrivals.clone());
        loop {
            let mut arrival = pin!(self.arrivals.0.notified());
            // After this line, no arrival is missed.
            arrival.as_mut().enable();
            if let Poll::Ready(incoming) = self.poll_listeners(&mut Context::from_waker(&waker)) {
                return incoming;
            }
            arrival.await;
        }
    }

    fn poll_listeners(&self, cx: &mut Context<'_>) -> Poll<io::Result<AcceptedStream>> {
        let listeners = self.lock_listeners();
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % listeners.len().max(1);
        let (before, after) = listeners.split_at(first);
        let mut polled = after.iter().chain(before).map(|listener| listener.poll_accept(cx));
        polled.find(Poll::is_ready).unwrap_or(Poll::Pending)
    }

    fn connecting(
        &self,
        incoming: AcceptedStream,
        remote_address: Option<SocketAddr>,
        admission: Admission,
        handshake: HandshakePermit,
    ) -> Connecting {
        let start = Instant::now();
        let settings = self.acceptor.0.clone();
        let failed = move |error: &_| trace::accept_failed(error, remote_address);
        let info = ConnectionInfo { remote_address, ..ConnectionInfo::default() };
        let future: Pin<Box<dyn Future<Output = _> + Send>> = match incoming {
            AcceptedStream::Tcp(stream, _) => Box::pin(async move {
                let _handshake = (handshake, admission.registry.handshake());
                stream.set_nodelay(true)?;
                let local_address = stream.local_addr().ok().map(canonical);
                let info = ConnectionInfo { local_address, ..info };
                settings.open(start, stream, info, Some(admission)).await.inspect_err(failed)
            }),
            #[cfg(unix)]
            AcceptedStream::Unix(stream) => Box::pin(async move {
                let _handshake = (handshake, admission.registry.handshake());
                settings.open(start, stream, info, Some(admission)).await.inspect_err(failed)
            }),
        };
        Connecting { future, remote_address }
    }

    fn lock_listeners(&self) -> std::sync::MutexGuard<'_, Vec<Listener>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops listening. After this call, [`accept`](Self::accept) returns `None`, and the system
    /// refuses clients that wait in its queue or come later. Connections and handshakes go on.
    ///
    /// When this returns, the addresses are free and the file of a Unix socket is removed. The
    /// addresses are free even if a future of `accept` still exists and is not polled.
    pub fn close(&self) {
        self.closed.send_replace(true);
        let listeners = std::mem::take(&mut *self.lock_listeners());
        drop(listeners);
    }

    /// Ends the server and every connection that it has accepted.
    ///
    /// The shutdown first [closes](Self::close) the server and ends the handshakes. A client whose
    /// handshake is ended in this way receives 503, unless its TLS handshake is still in progress.
    /// The shutdown also [drains](WebSocketConnection::drain) each connection: no new streams are
    /// opened, and once the open streams have ended, the connection is closed with code 0.
    ///
    /// After `timeout` the shutdown [closes](WebSocketConnection::close) the remaining connections
    /// with `code` and `reason`, and waits for their end. This wait takes at most the [close
    /// timeout](crate::Config::close_timeout), and up to 5 s more for handshakes that do not end.
    /// If `timeout` is beyond the range of the clock, there is no timeout. The report says how many
    /// connections ended before the timeout, and how many were closed after it.
    ///
    /// Keep a handle to each connection until it has [ended](WebSocketConnection::closed), because
    /// a connection without handles is closed at once. Connections of the
    /// [`acceptor`](Self::acceptor) are not included.
    ///
    /// # Cancel safety
    /// The shutdown begins with the first poll. When the future is dropped, the connections
    /// continue to drain without a timeout. The method can be called again.
    pub async fn shutdown(&self, timeout: Duration, code: VarInt, reason: &[u8]) -> ShutdownReport {
        self.close();
        let reason = Bytes::copy_from_slice(reason);
        self.registry.shut_down(timeout, code, reason).await
    }
}

/// Wakes all tasks that wait for a client, because the listeners do not distinguish them.
#[derive(Debug, Default)]
struct Arrivals(Notify);

impl Wake for Arrivals {
    fn wake(self: Arc<Self>) {
        self.0.notify_waiters();
    }
}

/// Pauses after a failed accept, unless the failure concerns one client only.
pub(crate) async fn pause_after(error: &io::Error) {
    if !is_of_one_client(error) {
        trace::accept_paused(error);
        sleep(ACCEPT_PAUSE).await;
    }
}

/// Whether an error concerns one client only, so that the next client can be accepted at once.
fn is_of_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// An accepted client. Awaiting this value does the handshake. The handshake begins when this value
/// is first polled, but the handshake timeout counts from the moment when the client was accepted.
///
/// # Cancel safety
/// When this value is dropped, the client's socket is closed.
#[must_use = "the handshake is done by awaiting it"]
pub struct Connecting {
    future: Pin<Box<dyn Future<Output = Result<WebSocketConnection, AcceptError>> + Send>>,
    remote_address: Option<SocketAddr>,
}

impl Connecting {
    /// Returns the client's address, or the address of the proxy in front of the server. Returns
    /// `None` for a Unix socket.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.remote_address
    }
}

impl Future for Connecting {
    type Output = Result<WebSocketConnection, AcceptError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.future.as_mut().poll(cx)
    }
}

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting")
            .field("remote_address", &self.remote_address)
            .finish_non_exhaustive()
    }
}
