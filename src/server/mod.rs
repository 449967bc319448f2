//! Listening: TCP and Unix sockets, and what is accepted on them.

pub(crate) mod accept;
pub mod authorize;
mod builder;
mod limits;
pub(crate) mod listener;
mod login;
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
    proto::VarInt,
};

/// How long accepting rests when the system is out of file descriptors or memory: long enough for some
/// connection to end, short enough for nobody to notice.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes connections from clients.
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
/// Each handshake under way holds up to 110 kB (a head of 64 KiB, the tables of its lines, and the handshake's own
/// state), and what TLS needs, for at most the [handshake timeout](crate::Config::handshake_timeout); and 64 KiB more
/// for the moment in which its head is parsed. The builder's
/// [`max_handshakes`](WebSocketServerBuilder::max_handshakes) limits their number,
/// [`max_connections`](WebSocketServerBuilder::max_connections) and
/// [`max_connections_per_address`](WebSocketServerBuilder::max_connections_per_address) that of the connections.
#[derive(Debug)]
pub struct WebSocketServer {
    /// None of them once the server is closed. Locked for a poll and never across an await: a future that nobody
    /// polls must not keep a port.
    listeners: Mutex<Vec<Listener>>,
    /// Tells all who wait for a client.
    arrivals: Arc<Arrivals>,
    addresses: Vec<SocketAddr>,
    /// Which listener is asked first, in turn: a busy one must not starve the others.
    turn: AtomicUsize,
    acceptor: WebSocketAcceptor,
    slots: Slots,
    registry: Arc<Registry>,
    closed: watch::Sender<bool>,
}

impl WebSocketServer {
    /// What to set before a server listens.
    pub fn builder() -> WebSocketServerBuilder {
        WebSocketServerBuilder::new()
    }

    /// A server over a socket that listens already: tokio's `TcpListener` or `UnixListener`, or a [`Listener`].
    pub fn new(listener: impl Into<Listener>, acceptor: WebSocketAcceptor) -> Self {
        Self::with_listeners([listener.into()], acceptor)
    }

    /// A server over several sockets that listen already, for example one for TCP and one Unix socket:
    ///
    /// ```no_run
    /// # #[cfg(unix)]
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use wsmux::{Listener, WebSocketServer};
    ///
    /// let mut listeners = Listener::tcp(["[::]:8080"]).await?;
    /// listeners.push(Listener::unix("/run/example.sock")?);
    /// let server = WebSocketServer::with_listeners(listeners, WebSocketServer::builder().build()?);
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

    /// The address that the server listens on, the first of several: the port, where it was bound to port 0.
    ///
    /// # Errors
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable) of a server without a TCP socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.addresses.first().copied().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    /// All TCP addresses that the server listens on.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What turns the server's streams of bytes into connections, for streams that come another way.
    pub fn acceptor(&self) -> &WebSocketAcceptor {
        &self.acceptor
    }

    /// How many connections that the server accepted have not ended, the closing handshake included.
    pub fn connections(&self) -> usize {
        self.registry.live()
    }

    /// Uses this configuration for clients that are accepted from now on: for a certificate that is renewed, or other
    /// roots for those of the clients. Connections go on, and so do handshakes whose TLS has begun. A session of the
    /// configuration before is not resumed, unless the two share a store of sessions. What holds of its ALPN, the
    /// builder's [`tls_config`](WebSocketServerBuilder::tls_config) says.
    ///
    /// # Errors
    /// [`BuildError::Tls`](crate::BuildError::Tls) for an ALPN without `http/1.1`. The server then
    /// keeps the configuration that it has.
    #[cfg(feature = "tls")]
    pub fn set_tls_config(
        &self,
        config: Arc<rustls::ServerConfig>,
    ) -> Result<(), crate::error::BuildError> {
        self.acceptor.set_tls_config(config)
    }

    /// Shows this certificate to clients that are accepted from now on, and asks them for theirs as the builder said;
    /// else as [`set_tls_config`](Self::set_tls_config). It takes the place of one that the builder's
    /// [`certificate`](WebSocketServerBuilder::certificate) or this method has set.
    ///
    /// # Errors
    /// [`BuildError::Tls`](crate::BuildError::Tls) where the key is not the certificate's, for example, or where there
    /// is no TLS or one of a configuration that was given as it is, which may ask more of clients; everything stays
    /// as it was then.
    #[cfg(feature = "tls")]
    pub fn set_certificate(
        &self,
        chain: impl IntoIterator<Item = rustls::pki_types::CertificateDer<'static>>,
        key: rustls::pki_types::PrivateKeyDer<'static>,
    ) -> Result<(), crate::error::BuildError> {
        self.acceptor.set_certificate(chain, key)
    }

    /// Waits for the next client. Its handshake is for the [`Connecting`] to do, best in a task of its own:
    /// then a client that is slow holds up nobody. `None` once the server is [closed](Self::close).
    ///
    /// It does not fail. A client that is gone before it is accepted is passed over; when the system is out of
    /// file descriptors or memory (`EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`) clients wait in the system's queue,
    /// and every 100 ms it is tried again. Beyond the builder's limits clients wait there, too, or are closed.
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
                    get_over(&error).await;
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

    /// The next client of any listener.
    async fn incoming(&self) -> io::Result<AcceptedStream> {
        // A listener keeps one waker of all that poll it, so that has to be one for all.
        let waker = Waker::from(self.arrivals.clone());
        loop {
            let mut arrival = pin!(self.arrivals.0.notified());
            // From here on no arrival is missed.
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

    /// From now on [`accept`](Self::accept) gives `None`, and nobody listens any more: who waits in the system's
    /// queue or comes later is refused there. Connections go on, and so do handshakes.
    ///
    /// When this returns the addresses are free, even while a future of `accept` is kept that nobody polls, and the
    /// file of a Unix socket is removed.
    pub fn close(&self) {
        self.closed.send_replace(true);
        let listeners = std::mem::take(&mut *self.lock_listeners());
        drop(listeners);
    }

    /// Ends the server and every connection that it has accepted.
    ///
    /// It [closes](Self::close) the server, ends the handshakes (with 503, where TLS is done), and
    /// [drains](WebSocketConnection::drain) each connection: no new streams, and a close with code 0 once
    /// those that are open have ended. What has not ended within `timeout` is
    /// [closed](WebSocketConnection::close) with `code` and `reason`, and waited for: at most the
    /// [close timeout](crate::Config::close_timeout) more, and 5 s for handshakes to end. The report says how many there were of each.
    ///
    /// Keep a handle of each connection until it has [ended](WebSocketConnection::closed): with the last one it is
    /// closed at once. Connections made by the [`acceptor`](Self::acceptor) are not the server's.
    ///
    /// # Cancel safety
    /// All of it has begun with the first poll. When the future is dropped, the connections go on to drain, without
    /// a timeout; it can be called again.
    pub async fn shutdown(&self, timeout: Duration, code: VarInt, reason: &[u8]) -> ShutdownReport {
        self.close();
        let reason = Bytes::copy_from_slice(reason);
        self.registry.shut_down(timeout, code, reason).await
    }
}

/// Wakes all who wait for a client, for the listeners do not know them apart.
#[derive(Debug, Default)]
struct Arrivals(Notify);

impl Wake for Arrivals {
    fn wake(self: Arc<Self>) {
        self.0.notify_waiters();
    }
}

/// Pauses after a failed accept, unless the failure concerns one client only.
pub(crate) async fn get_over(error: &io::Error) {
    if !is_of_one_client(error) {
        trace::accept_paused(error);
        sleep(ACCEPT_PAUSE).await;
    }
}

/// A client's mistake or bad luck, after which the next one can be accepted at once.
fn is_of_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// A client whose handshake is to be done. Nothing happens before it is awaited, but the handshake timeout
/// counts from the TCP connection.
///
/// # Cancel safety
/// When it is dropped, the client's socket is closed.
#[must_use = "the handshake is done by awaiting it"]
pub struct Connecting {
    future: Pin<Box<dyn Future<Output = Result<WebSocketConnection, AcceptError>> + Send>>,
    remote_address: Option<SocketAddr>,
}

impl Connecting {
    /// The client's address, or that of the proxy before it; `None` on a Unix socket.
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
