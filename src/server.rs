//! Listening: TCP, TLS, the upgrade, and a connection over it.

mod builder;
mod error;

use std::{
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::tungstenite::http::{HeaderMap, StatusCode};

pub use self::{
    builder::WebSocketServerBuilder,
    error::{AcceptError, BindError},
};
use crate::{
    Config, ConnectionInfo, WebSocketConnection,
    handshake::{
        head::{HeadError, read_head},
        server::{self as handshake, Refusal},
    },
    proto::{Side, Wire},
    socket::FramedSocket,
    trace,
};

/// How long accepting rests when the system is out of file descriptors or memory: long enough for some
/// connection to end, short enough for nobody to notice.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a refused client may take to read its answer, and how many bytes it may still be sending: to
/// close before that would have the system throw the answer away.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1024 * 1024;

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
/// Each handshake under way holds up to 64 KiB, and what TLS needs, for at most the
/// [handshake timeout](Config::handshake_timeout). Their number is the caller's to limit, by a semaphore around
/// [`accept`](Self::accept) for example.
#[derive(Debug)]
pub struct WebSocketServer {
    listener: TcpListener,
    acceptor: WebSocketAcceptor,
    closed: watch::Sender<bool>,
}

impl WebSocketServer {
    /// What to set before a server listens.
    pub fn builder() -> WebSocketServerBuilder {
        WebSocketServerBuilder::new()
    }

    /// A server over a TCP socket that listens already.
    pub fn new(listener: TcpListener, acceptor: WebSocketAcceptor) -> Self {
        Self { listener, acceptor, closed: watch::Sender::new(false) }
    }

    /// The address that the server listens on: the port, where it was bound to port 0.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What turns the server's streams of bytes into connections, for streams that come another way.
    pub fn acceptor(&self) -> &WebSocketAcceptor {
        &self.acceptor
    }

    /// Waits for the next client. Its handshake is for the [`Connecting`] to do, best in a task of its own:
    /// then a client that is slow holds up nobody. `None` once the server is [closed](Self::close).
    ///
    /// It does not fail. A client that is gone before it is accepted is passed over; when the system is out of
    /// file descriptors or memory (`EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`) clients wait in the system's queue,
    /// and every 100 ms it is tried again.
    ///
    /// # Cancel safety
    /// No client is lost when the future is dropped.
    pub async fn accept(&self) -> Option<Connecting> {
        let mut closed = self.closed.subscribe();
        let wait = closed.wait_for(|closed| *closed);
        tokio::select! {
            biased;
            _ = wait => None,
            accepted = self.accept_tcp() => Some(accepted),
        }
    }

    async fn accept_tcp(&self) -> Connecting {
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => return self.connecting(stream, address),
                Err(error) if is_of_one_client(&error) => {}
                Err(error) => {
                    trace::accept_paused(&error);
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn connecting(&self, stream: TcpStream, address: SocketAddr) -> Connecting {
        let start = Instant::now();
        let settings = self.acceptor.0.clone();
        let info = ConnectionInfo {
            remote_address: Some(address),
            local_address: stream.local_addr().ok(),
            ..ConnectionInfo::default()
        };
        let future = Box::pin(async move {
            stream.set_nodelay(true)?;
            let failed = |error: &_| trace::accept_failed(error, Some(address));
            settings.open(start, stream, info).await.inspect_err(failed)
        });
        Connecting { future, remote_address: address }
    }

    /// From now on [`accept`](Self::accept) gives `None`. Connections go on, and so do handshakes; the port is
    /// free once the server is dropped.
    pub fn close(&self) {
        self.closed.send_replace(true);
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
    remote_address: SocketAddr,
}

impl Connecting {
    /// The client's address, or that of the proxy before it.
    pub fn remote_address(&self) -> SocketAddr {
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

/// Makes connections of streams of bytes that clients have opened; the part of a server that does not
/// listen. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WebSocketAcceptor(Arc<Settings>);

impl WebSocketAcceptor {
    /// Does the server's handshake, TLS included where the server has a certificate, and waits for the
    /// client's transport parameters. The [handshake timeout](Config::handshake_timeout) covers all of it.
    ///
    /// # Errors
    /// [`AcceptError`].
    ///
    /// # Cancel safety
    /// When the future is dropped, the stream is dropped.
    pub async fn from_io<S>(&self, io: S) -> Result<WebSocketConnection, AcceptError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let failed = |error: &_| trace::accept_failed(error, None);
        self.0.open(Instant::now(), io, ConnectionInfo::default()).await.inspect_err(failed)
    }
}

type Authorize = dyn Fn(&ConnectionInfo) -> Result<(), StatusCode> + Send + Sync;

struct Settings {
    /// The subprotocols that are spoken; none where QMux is not.
    accepted: Vec<String>,
    jsws: bool,
    headers: HeaderMap,
    config: Config,
    authorize: Option<Box<Authorize>>,
    #[cfg(feature = "tls")]
    tls: Option<Arc<rustls::ServerConfig>>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("accepted", &self.accepted)
            .field("jsws", &self.jsws)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Settings {
    async fn open<S>(
        &self,
        start: Instant,
        io: S,
        info: ConnectionInfo,
    ) -> Result<WebSocketConnection, AcceptError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        #[cfg(feature = "tls")]
        if let Some(config) = &self.tls {
            let accept = tokio_rustls::TlsAcceptor::from(config.clone()).accept(io);
            let io = match timeout(self.left(start), accept).await {
                Ok(accepted) => accepted.map_err(|error| AcceptError::Tls(error.into()))?,
                Err(_) => return Err(AcceptError::HandshakeTimeout),
            };
            let peer_certificates = crate::tls::peer_certificates(io.get_ref().1);
            let info = ConnectionInfo { peer_certificates, ..info };
            return self.finish(start, io, info).await;
        }
        self.finish(start, io, info).await
    }

    /// W-23: all steps share one timeout.
    fn left(&self, start: Instant) -> Duration {
        self.config.handshake_timeout.saturating_sub(start.elapsed())
    }

    async fn finish<S>(
        &self,
        start: Instant,
        mut io: S,
        mut info: ConnectionInfo,
    ) -> Result<WebSocketConnection, AcceptError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut buf = Vec::new();
        let head = read_head(&mut io, &mut buf, handshake::parse);
        let decided = match timeout(self.left(start), head).await {
            Ok(Ok(request)) => self.decide(request, &mut info),
            Ok(Err(HeadError::Invalid(refusal))) => Err(refusal),
            Ok(Err(HeadError::TooLarge)) => Err(handshake::too_large()),
            Ok(Err(HeadError::Io(error))) => return Err(error.into()),
            Err(_) => {
                let late = Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request took too long");
                refuse(io, &late).await;
                return Err(AcceptError::HandshakeTimeout);
            }
        };
        let (wire, headers) = match decided {
            Ok(decided) => decided,
            Err(refusal) => {
                refuse(io, &refusal).await;
                let Refusal { status, reason } = refusal;
                return Err(AcceptError::Refused { status, reason });
            }
        };
        let answer = handshake::switching_protocols(&headers);
        let write = async {
            io.write_all(&answer).await?;
            io.flush().await
        };
        timeout(self.left(start), write).await.map_err(|_| AcceptError::HandshakeTimeout)??;
        info.response_headers = Some(headers.into());

        trace::handshake_completed(Side::Server, wire, &info);

        let mut config = self.config.clone();
        config.handshake_timeout = self.left(start);
        // A client may send its parameters right behind its request.
        let socket = FramedSocket::new(io, &buf, Side::Server, config.max_inbound_message(wire));
        let connection = WebSocketConnection::from_socket(socket, Side::Server, wire, config, info);
        connection.established().await?;
        Ok(connection)
    }

    /// Whether the client gets its WebSocket, on which wire, and the headers that say so.
    fn decide(
        &self,
        request: tokio_tungstenite::tungstenite::http::Request<()>,
        info: &mut ConnectionInfo,
    ) -> Result<(Wire, HeaderMap), Refusal> {
        handshake::check(&request)?;
        let (wire, name) = handshake::select(request.headers(), &self.accepted, self.jsws)?;
        let headers = handshake::accept(&request, name, &self.headers)?;
        info.subprotocol = name.map(Into::into);
        info.request = Some(request.into());
        if let Some(Err(status)) = self.authorize.as_ref().map(|authorize| authorize(info)) {
            // Nothing else would be understood as a refusal.
            let is_error = status.is_client_error() || status.is_server_error();
            let status = if is_error { status } else { StatusCode::FORBIDDEN };
            return Err(Refusal::new(status, "not authorised"));
        }
        Ok((wire, headers))
    }
}

/// Answers, and closes so that the answer arrives. Whether it does is the client's affair.
async fn refuse(mut io: impl AsyncRead + AsyncWrite + Unpin, refusal: &Refusal) {
    let answer = async {
        io.write_all(&refusal.to_bytes()).await?;
        io.shutdown().await?;
        // Bytes that nobody reads would turn the close into a reset, which overtakes the answer.
        tokio::io::copy(&mut io.take(LINGER_BYTES as u64), &mut tokio::io::sink()).await
    };
    let _ = timeout(LINGER, answer).await;
}
