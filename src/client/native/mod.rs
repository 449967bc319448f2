//! The client outside a browser: name resolution, TCP, TLS, the upgrade, and the connection.

mod builder;
mod cookies;
mod dial;
pub(super) mod excerpt;
pub(super) mod proxy;
pub(super) mod redial;
mod resolve;
mod socket_options;
#[cfg(feature = "tls")]
pub(super) mod tls;
mod verify;

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Response, StatusCode};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout},
};
#[cfg(feature = "tls")]
use tokio_rustls::client::TlsStream;
use wsmux_proto::{Side, Wire};

pub use self::{
    builder::WebSocketClientBuilder, dial::ConnectAttempts, socket_options::SocketOptions,
    verify::VerifyServer,
};
use self::{
    proxy::{ProxyServer, Tunnel},
    redial::{Dialer, Redial, Redialer},
    verify::Verifier,
};
use crate::{
    client::opened::Opened,
    connection::{
        ConnectionInfo, WebSocketConnection, WebSocketConnectionBuilder, info::HeaderNames,
        resume::Resume,
    },
    error::{ConnectError, ServerRejection, VerifyServerError},
    handshake::{
        client::{self as handshake, Target},
        head::{HeadError, read_head},
        headers::kept_headers,
        negotiation::Negotiation,
    },
    observe::trace,
};

/// How long the shutdown of the stream may take if this end has rejected the server, or if the
/// server has refused the request. Under TLS, the shutdown sends a `close_notify`.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// How many responses to one request the client reads at most. Both interim responses (1xx) and the
/// final response are counted.
const MAX_RESPONSES: usize = 8;

/// Opens connections to servers. The client is cheap to clone.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = wsmux::WebSocketClient::builder().protocol("chat").build()?;
/// let connection = client.connect("wss://example.com/chat").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct WebSocketClient(pub(super) Arc<ClientSettings>);

pub(super) struct ClientSettings {
    pub(super) wire: Wire,
    pub(super) negotiation: Negotiation,
    pub(super) headers: HeaderMap,
    pub(super) connection: WebSocketConnectionBuilder,
    pub(super) connect_timeout: Duration,
    resume_without_tls: bool,
    socket_options: SocketOptions,
    proxy: Option<ProxyServer>,
    verifier: Option<Verifier>,
    #[cfg(feature = "tls")]
    tls: tls::LazyConfig,
    /// The name that replaces the URL's host in TLS, if it was set.
    #[cfg(feature = "tls")]
    server_name: Option<rustls::pki_types::ServerName<'static>>,
}

/// The output leaves out the TLS settings, the values of headers, and the subprotocols, because a
/// subprotocol may be a token.
impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSettings")
            .field("wire", &self.wire)
            .field("headers", &HeaderNames(&self.headers))
            .field("config", &self.connection.config)
            .field("connect_timeout", &self.connect_timeout)
            .field("socket_options", &self.socket_options)
            .field("proxy", &self.proxy.as_ref().map(|via| &via.proxy))
            .field("verifier", &self.verifier)
            .finish_non_exhaustive()
    }
}

impl WebSocketClient {
    /// Returns a builder to set up a client.
    pub fn builder() -> WebSocketClientBuilder {
        WebSocketClientBuilder::new()
    }

    /// Connects to a `ws://` or `wss://` URL: resolves the name, tries the addresses, upgrades the
    /// stream to a WebSocket, and waits for the server's transport parameters. Redirects are not
    /// followed.
    ///
    /// The addresses of a name are tried as in RFC 8305 ("happy eyeballs"). IPv6 and IPv4
    /// alternate. The next address is tried once the previous address has failed or has been silent
    /// for 250 ms. The first address that answers is used. At most 32 addresses of a name are
    /// tried.
    ///
    /// The URL is read as a browser reads it (WHATWG URL): characters that are not ASCII are
    /// percent-encoded in path and query, and become punycode in the host. A URL with a user, a
    /// password or a fragment is refused; use a [header](WebSocketClientBuilder::header) for
    /// credentials. Unlike in a browser, an IPv6 address may have a zone, as in
    /// `ws://[fe80::1%25eth0]:80/`.
    ///
    /// The system's resolver runs in a thread of its own. A process has at most 128 of these
    /// threads, and the resolution of further names waits for one of the threads to end. If the
    /// name servers do not answer, a thread may run on after the attempt has ended. Neither the
    /// caller nor the shutdown of the runtime waits for such a thread.
    ///
    /// The [connect timeout](WebSocketClientBuilder::connect_timeout) covers name resolution, TCP
    /// and the tunnel of a [proxy](WebSocketClientBuilder::proxy) together. The
    /// [handshake timeout](crate::Config::handshake_timeout) covers TLS and everything after it.
    ///
    /// # Errors
    /// [`ConnectError`].
    ///
    /// # Cancel safety
    /// When the future is dropped, the attempt ends and its socket is closed.
    pub async fn connect(&self, url: &str) -> Result<WebSocketConnection, ConnectError> {
        let target = self.target(url)?;
        let failed = |error: &_| trace::connect_failed(error, &target.host, target.port);
        let opened = self.dial(&target, None).await.inspect_err(failed)?;
        let dialer = Redialer { client: self.clone(), target: target.clone() };
        self.connection(opened, &target, dialer).await.inspect_err(failed)
    }

    /// Opens a WebSocket to the server. `cookies` are sent in addition to the client's headers.
    pub(super) async fn dial(
        &self,
        target: &Target,
        cookies: Option<HeaderValue>,
    ) -> Result<Opened, ConnectError> {
        let (tunnel, info) = self.reach(target).await?;
        match tunnel {
            Tunnel::Plain(tcp) => self.open(target, tcp, info, cookies).await,
            #[cfg(feature = "tls")]
            Tunnel::Tls(tls) => self.open(target, *tls, info, cookies).await,
        }
    }

    /// Makes a TCP connection to the server, or a tunnel to it through the proxy.
    pub(super) async fn reach(
        &self,
        target: &Target,
    ) -> Result<(Tunnel, ConnectionInfo), ConnectError> {
        let ClientSettings { connect_timeout, socket_options, proxy, .. } = &*self.0;
        let ((remote_address, local_address), tunnel) = match proxy {
            Some(proxy) => proxy.tunnel(target, *connect_timeout, socket_options).await?,
            None => {
                let host = target.host_in_zone();
                let tcp = dial::dial(&host, target.port, *connect_timeout, socket_options).await?;
                ((tcp.peer_addr().ok(), tcp.local_addr().ok()), Tunnel::Plain(tcp))
            }
        };
        Ok((tunnel, ConnectionInfo { remote_address, local_address, ..ConnectionInfo::default() }))
    }

    /// Connects as [`connect`](Self::connect) does, over a stream of bytes that already leads to
    /// the server, such as a tunnel or a Unix socket. The URL says whether to speak TLS and what to
    /// request.
    ///
    /// # Errors
    /// [`ConnectError`].
    ///
    /// # Cancel safety
    /// When the future is dropped, the stream is dropped.
    pub async fn from_io<S>(&self, url: &str, io: S) -> Result<WebSocketConnection, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let target = self.target(url)?;
        let failed = |error: &_| trace::connect_failed(error, &target.host, target.port);
        let connecting = async {
            let opened = self.open(&target, io, ConnectionInfo::default(), None).await?;
            // The client does not know where the stream came from, so it cannot dial again.
            opened.establish(&self.0.connection, self.0.wire, Resume::Never).await
        };
        connecting.await.inspect_err(failed)
    }

    pub(super) fn target(&self, url: &str) -> Result<Target, ConnectError> {
        let target = Target::parse(url)?;
        match target.tls && !cfg!(feature = "tls") {
            true => Err(ConnectError::UnsupportedScheme("wss".into())),
            false => Ok(target),
        }
    }

    async fn open<S>(
        &self,
        target: &Target,
        io: S,
        info: ConnectionInfo,
        cookies: Option<HeaderValue>,
    ) -> Result<Opened, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let start = Instant::now();
        #[cfg(feature = "tls")]
        if target.tls {
            let (io, info) = self.secure(start, target, &[tls::HTTP1], io, info).await?;
            return self.finish(start, target, io, info, cookies).await;
        }
        self.finish(start, target, io, info, cookies).await
    }

    /// Does the TLS handshake, and lets the application verify the server's certificates.
    #[cfg(feature = "tls")]
    pub(super) async fn secure<S>(
        &self,
        start: Instant,
        target: &Target,
        alpn: &[&[u8]],
        io: S,
        info: ConnectionInfo,
    ) -> Result<(TlsStream<crate::socket::ReadAhead<S>>, ConnectionInfo), ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = match &self.0.server_name {
            Some(name) => name.clone(),
            None => tls::server_name(&target.host)?,
        };
        let handshake = tls::connect(&self.0.tls, alpn, name, io);
        let mut io = self.in_time(start, handshake).await?;
        let peer_certificates = crate::tls::peer_certificates(io.get_ref().1);
        if let Some(Verifier(verifier)) = &self.0.verifier {
            let chain = peer_certificates.as_deref().unwrap_or_default();
            let verdict = verifier.verify_certificates(&target.host, chain);
            self.verdict(start, &mut io, None, verdict).await?;
        }
        Ok((io, ConnectionInfo { peer_certificates, ..info }))
    }

    /// Runs a step of the handshake within the time that is left of the handshake timeout.
    pub(super) async fn in_time<T>(
        &self,
        start: Instant,
        step: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        timeout(self.left(start), step).await.unwrap_or(Err(ConnectError::HandshakeTimeout))
    }

    /// Returns the time that is left of the handshake timeout.
    pub(super) fn left(&self, start: Instant) -> Duration {
        // W-23: all steps share one timeout, including the wait for the transport parameters.
        self.0.connection.config.get_handshake_timeout().saturating_sub(start.elapsed())
    }

    /// Waits for the application's verdict on the server. If the server is rejected, the stream to
    /// it is shut down cleanly; under TLS this sends a `close_notify`.
    async fn verdict(
        &self,
        start: Instant,
        io: &mut (impl AsyncRead + AsyncWrite + Unpin),
        response: Option<&HeaderMap>,
        verdict: impl Future<Output = Result<(), VerifyServerError>>,
    ) -> Result<(), ConnectError> {
        let rejected = |error| ServerRejection::new(error, response.map(kept_headers));
        let verdict =
            async { verdict.await.map_err(|error| ConnectError::ServerRejected(rejected(error))) };
        let verdict = self.in_time(start, verdict).await;
        if verdict.is_err() {
            say_goodbye(io).await;
        }
        verdict
    }

    pub(super) async fn finish<S>(
        &self,
        start: Instant,
        target: &Target,
        mut io: S,
        mut info: ConnectionInfo,
        cookies: Option<HeaderValue>,
    ) -> Result<Opened, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let negotiation = &self.0.negotiation;
        let request = target.request(&negotiation.offered(), &self.headers(cookies))?;
        let bytes = handshake::request_bytes(&request);
        let is_upgrade = |status| status == StatusCode::SWITCHING_PROTOCOLS;
        let upgraded = match self.in_time(start, exchange(&mut io, &bytes, is_upgrade)).await {
            Ok((response, rest)) if is_upgrade(response.status()) => {
                handshake::check(&request, response.headers(), negotiation)
                    .map(|selected| (response, rest, selected))
            }
            Ok((response, rest)) => Err(refusal(&mut io, response, rest, self.left(start)).await),
            Err(error) => Err(error),
        };
        if upgraded.as_ref().is_err_and(is_an_answer) {
            // W-59 (RFC 8446 §6.1): if the server opened no WebSocket, the stream to it is shut
            // down cleanly.
            say_goodbye(&mut io).await;
        }
        let (response, rest, subprotocol) = upgraded?;
        info.subprotocol = subprotocol;
        info.request = Some(request.into());
        self.opened(start, response, io, &rest, info).await
    }

    /// Lets the application check the response, and returns the open WebSocket.
    pub(super) async fn opened<S>(
        &self,
        start: Instant,
        response: Response<()>,
        mut io: S,
        rest: &[u8],
        mut info: ConnectionInfo,
    ) -> Result<Opened, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let ClientSettings { wire, connection, .. } = &*self.0;
        if let Some(Verifier(verifier)) = &self.0.verifier {
            let verdict = verifier.verify_response(&response, &info);
            self.verdict(start, &mut io, Some(response.headers()), verdict).await?;
        }
        info.response_headers = Some(response.into_parts().0.headers.into());

        trace::handshake_completed(Side::Client, *wire, &info);

        let socket = connection.socket(io, rest, Side::Client, *wire);
        Ok(Opened { socket, info, left: self.left(start) })
    }

    /// Makes the connection over an open WebSocket. If the connection loses its socket, `dialer`
    /// opens another socket. If the session's secret may have crossed a network without TLS,
    /// `dialer` is not used and the connection ends with its socket.
    pub(super) async fn connection<D: Dialer>(
        &self,
        opened: Opened,
        target: &Target,
        dialer: D,
    ) -> Result<WebSocketConnection, ConnectError> {
        let resume = match self.may_resume(target, &opened.info) {
            true => Resume::Redial(Arc::new(Redial::new(dialer, &opened.info))),
            false => Resume::Never,
        };
        opened.establish(&self.0.connection, self.0.wire, resume).await
    }
}

/// Whether the error means that the server has answered. The answer may be a refusal, or may be
/// invalid. If the server has answered, the stream to it is still open and can be shut down
/// cleanly.
fn is_an_answer(error: &ConnectError) -> bool {
    use ConnectError::{InvalidResponse, Refused, Subprotocol};
    matches!(error, Refused { .. } | InvalidResponse(_) | Subprotocol { .. })
}

/// Shuts down the stream to a server that this end has rejected, or that has refused the request.
async fn say_goodbye(io: &mut (impl AsyncWrite + Unpin)) {
    let _ = timeout(GOODBYE_TIMEOUT, io.shutdown()).await;
}

/// Sends a request and reads the head of its response. Skips interim responses whose status is not
/// `wanted`. Also returns the bytes that were read after the head.
async fn exchange(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &[u8],
    wanted: impl Fn(StatusCode) -> bool,
) -> Result<(Response<()>, Vec<u8>), ConnectError> {
    io.write_all(request).await?;
    io.flush().await?;
    let mut buf = Vec::new();
    for _ in 0..MAX_RESPONSES {
        let response =
            read_head(io, &mut buf, handshake::parse).await.map_err(|error| match error {
                HeadError::TooLarge => {
                    ConnectError::InvalidResponse("its head is too large".into())
                }
                HeadError::Invalid(error) => error,
                HeadError::Io(error) => error.into(),
            })?;
        let status = response.status();
        if wanted(status) || !status.is_informational() {
            return Ok((response, buf));
        }
    }
    Err(ConnectError::InvalidResponse("interim responses without end".into()))
}

/// Makes the error for a response that refuses the request. The error contains the part of the body
/// that arrives within the time `left`. The status must be reported in any case. So if the body is
/// late or cannot be read, the error contains only a part of the body, or none of it.
async fn refusal(
    io: &mut (impl AsyncRead + Unpin),
    response: Response<()>,
    rest: Vec<u8>,
    left: Duration,
) -> ConnectError {
    let (status, headers) = (response.status(), response.headers());
    let body = excerpt::read(io, rest, status, headers, left).await;
    ConnectError::Refused { status, headers: kept_headers(headers), body }
}
