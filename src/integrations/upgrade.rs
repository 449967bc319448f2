//! Makes a connection from a request that another HTTP server has read.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    Extensions, HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header,
};
use http_body_util::Full;
use hyper::{
    ext::Protocol,
    rt,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout},
};
use wsmux_proto::{Side, Wire};

use crate::{
    connection::{ConnectionInfo, WebSocketConnection},
    error::AcceptError,
    handshake::{headers::exact_request, server::ErrorResponse},
    observe::trace,
    server::{
        WebSocketAcceptor,
        accept::{NoUpgrade, ServerSettings, established},
        listener::canonical,
    },
};

/// The extensions of a request that an upgrade needs. hyper has added them to the request.
#[derive(Debug)]
pub(crate) struct Handle {
    on_upgrade: Option<OnUpgrade>,
    protocol: Option<Protocol>,
}

impl Handle {
    pub(crate) fn take(extensions: &mut Extensions) -> Self {
        Self { on_upgrade: extensions.remove(), protocol: extensions.get().cloned() }
    }
}

/// Handles a request as a [`WebSocketServer`](crate::WebSocketServer) does.
pub(crate) async fn upgrade(
    acceptor: &WebSocketAcceptor,
    request: Request<()>,
    handle: Handle,
    info: ConnectionInfo,
) -> Result<(Response<Full<Bytes>>, Upgrading), UpgradeError> {
    let start = Instant::now();
    let version = request.version();
    // The connection keeps a copy of the request. If the connection kept hyper's own request, the
    // whole block into which hyper read the request would stay in memory.
    let mut request = exact_request(&request);
    join_cookies(&mut request);
    let info = ConnectionInfo {
        remote_address: info.remote_address.map(canonical),
        local_address: info.local_address.map(canonical),
        ..info
    };
    let address = info.remote_address;
    let decided = decide(&acceptor.0, request, handle, info);
    let decided = match acceptor.0.within(start, None, decided).await {
        Ok(decided) => {
            decided.map_err(|rejected| UpgradeError::new((&rejected).into(), rejected, version))
        }
        Err(stop) => {
            let refusal = stop.to_error_response();
            Err(UpgradeError::new(stop.into(), refusal.into(), version))
        }
    };
    let (agreed, headers) = decided.inspect_err(|refused| {
        trace::accept_failed(&refused.error, address);
    })?;
    let mut response = Response::new(Full::default());
    *response.status_mut() = match version {
        Version::HTTP_2 => StatusCode::OK,
        _ => StatusCode::SWITCHING_PROTOCOLS,
    };
    *response.headers_mut() = headers;
    let settings = acceptor.0.clone();
    let future = Box::pin(async move {
        let failed = |error: &_| trace::accept_failed(error, address);
        agreed.open(&settings, start).await.inspect_err(failed)
    });
    Ok((response, Upgrading(future)))
}

/// Joins the pieces of a cookie header, which an HTTP/2 client may split (RFC 9113 §8.2.3). So
/// hooks see one header, as with HTTP/1.1.
fn join_cookies(request: &mut Request<()>) {
    let pieces = request.headers().get_all(header::COOKIE).iter();
    let pieces: Vec<_> = pieces.map(HeaderValue::as_bytes).collect();
    if request.version() != Version::HTTP_2 || pieces.len() < 2 {
        return;
    }
    let whole = pieces.join(&b"; "[..]);
    if let Ok(mut whole) = HeaderValue::from_bytes(&whole) {
        whole.set_sensitive(true);
        request.headers_mut().insert(header::COOKIE, whole);
    }
}

async fn decide(
    settings: &ServerSettings,
    request: Request<()>,
    handle: Handle,
    mut info: ConnectionInfo,
) -> Result<(Agreed, HeaderMap), NoUpgrade> {
    if request.version() == Version::HTTP_2 && request.method() == Method::CONNECT {
        let (status, reason) = match handle.protocol.as_ref().map(Protocol::as_str) {
            Some("websocket") => (StatusCode::OK, ""),
            // RFC 9220 §3: an unknown `:protocol` is refused with 501.
            Some(_) => (StatusCode::NOT_IMPLEMENTED, "the :protocol is not websocket"),
            None => (StatusCode::BAD_REQUEST, "a CONNECT without :protocol"),
        };
        if status != StatusCode::OK {
            return Err(ErrorResponse::new(status, reason).into());
        }
    }
    let (wire, headers) = settings.decide(request, &mut info).await?;
    let Some(on_upgrade) = handle.on_upgrade else {
        let reason = "this server's connections cannot be upgraded";
        return Err(ErrorResponse::new(StatusCode::INTERNAL_SERVER_ERROR, reason).into());
    };
    info.response_headers = Some(Arc::new(headers.clone()));
    Ok((Agreed { on_upgrade, wire, info }, headers))
}

/// A client whose upgrade was accepted.
struct Agreed {
    on_upgrade: OnUpgrade,
    wire: Wire,
    info: ConnectionInfo,
}

impl Agreed {
    async fn open(
        self,
        settings: &ServerSettings,
        start: Instant,
    ) -> Result<WebSocketConnection, AcceptError> {
        let Self { on_upgrade, wire, mut info } = self;
        // An error from hyper means that the client has closed, or that the response was never
        // sent.
        let upgraded = timeout(settings.left(start), on_upgrade)
            .await
            .map_err(|_| AcceptError::HandshakeTimeout)?
            .map_err(|error| AcceptError::Io(Arc::new(std::io::Error::other(error))))?;
        let upgraded = match bare::<TcpStream>(upgraded) {
            Ok((tcp, rest)) => {
                know_addresses(&mut info, &tcp);
                return connect(settings, start, tcp, &rest, wire, info).await;
            }
            Err(upgraded) => upgraded,
        };
        // Our own `HttpServer` runs TLS over a `ReadAhead`.
        #[cfg(feature = "tls")]
        let upgraded = match bare::<
            tokio_rustls::server::TlsStream<crate::socket::ReadAhead<TcpStream>>,
        >(upgraded)
        {
            Ok((tls, rest)) => {
                let (tcp, session) = tls.get_ref();
                know_tls(&mut info, tcp.get_ref(), session);
                return connect(settings, start, tls, &rest, wire, info).await;
            }
            Err(upgraded) => upgraded,
        };
        // A server of the application may run TLS directly over the socket.
        #[cfg(feature = "tls")]
        let upgraded = match bare::<tokio_rustls::server::TlsStream<TcpStream>>(upgraded) {
            Ok((tls, rest)) => {
                let (tcp, session) = tls.get_ref();
                know_tls(&mut info, tcp, session);
                return connect(settings, start, tls, &rest, wire, info).await;
            }
            Err(upgraded) => upgraded,
        };
        connect(settings, start, TokioIo::new(upgraded), &[], wire, info).await
    }
}

fn know_addresses(info: &mut ConnectionInfo, tcp: &TcpStream) {
    info.remote_address = info.remote_address.or_else(|| tcp.peer_addr().ok().map(canonical));
    info.local_address = info.local_address.or_else(|| tcp.local_addr().ok().map(canonical));
    // hyper's servers leave Nagle's algorithm on. With Nagle's algorithm, the data of one stream
    // would wait until the data of another stream is acknowledged.
    let _ = tcp.set_nodelay(true);
}

#[cfg(feature = "tls")]
fn know_tls(info: &mut ConnectionInfo, tcp: &TcpStream, session: &rustls::ServerConnection) {
    know_addresses(info, tcp);
    info.peer_certificates =
        info.peer_certificates.take().or_else(|| crate::tls::peer_certificates(session));
}

/// Returns the stream that was passed to hyper, and the bytes that were read after the request. If
/// the stream stayed in hyper's boxed `Upgraded`, each read would cost a dynamic call, and the
/// socket could not be asked for its round-trip time.
fn bare<S>(upgraded: Upgraded) -> Result<(S, Bytes), Upgraded>
where
    TokioIo<S>: rt::Read + rt::Write + Unpin + Send + 'static,
{
    match upgraded.downcast::<TokioIo<S>>() {
        Ok(parts) => Ok((parts.io.into_inner(), parts.read_buf)),
        Err(upgraded) => auto::upgrade::downcast::<TokioIo<S>>(upgraded)
            .map(|parts| (parts.io.into_inner(), parts.read_buf)),
    }
}

async fn connect<S>(
    settings: &ServerSettings,
    start: Instant,
    io: S,
    rest: &[u8],
    wire: Wire,
    info: ConnectionInfo,
) -> Result<WebSocketConnection, AcceptError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    trace::handshake_completed(Side::Server, wire, &info);
    let connection = settings.connection(start, info);
    established(connection.build_upgraded(io, rest, Side::Server, wire)).await
}

/// The rest of the handshake after a request was accepted. This future resolves to the
/// [`WebSocketConnection`] once the response has been sent and the client's transport parameters
/// have arrived. The [handshake timeout](crate::Config::handshake_timeout) starts when the route
/// gets the request.
///
/// The response is sent only after the route's handler has returned it. So a handler must not await
/// this future before it returns the response, because the handshake would time out.
///
/// # Errors
/// [`AcceptError`] if the client closes, or does not speak the agreed wire protocol.
///
/// # Cancel safety
/// When the future is dropped, the client's stream is closed once the response has been sent.
#[must_use = "without it the client's stream is closed"]
pub struct Upgrading(
    Pin<Box<dyn Future<Output = Result<WebSocketConnection, AcceptError>> + Send>>,
);

impl Future for Upgrading {
    type Output = Result<WebSocketConnection, AcceptError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Upgrading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrading").finish_non_exhaustive()
    }
}

/// The error of an upgrade that made no connection. The error contains the response for the client.
#[derive(thiserror::Error)]
#[error("{error}")]
pub struct UpgradeError {
    error: AcceptError,
    response: Box<Response<Full<Bytes>>>,
}

impl fmt::Debug for UpgradeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpgradeError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl UpgradeError {
    fn new(error: AcceptError, rejected: NoUpgrade, version: Version) -> Self {
        let mut response = Response::<Bytes>::from(rejected).map(Full::new);
        if version == Version::HTTP_2 {
            // RFC 9113 §8.2.2: HTTP/2 does not have these two headers.
            response.headers_mut().remove(header::CONNECTION);
            response.headers_mut().remove(header::UPGRADE);
        }
        Self { error, response: Box::new(response) }
    }

    /// Returns the reason, as a [`WebSocketServer`](crate::WebSocketServer) would report it:
    /// usually [`AcceptError::Refused`].
    pub fn error(&self) -> &AcceptError {
        &self.error
    }

    /// Returns the response to send. Its headers include the headers that a hook has
    /// [added](crate::authorize::Refuse::header).
    pub fn response(&self) -> &Response<Full<Bytes>> {
        &self.response
    }

    /// Returns the response to send.
    pub fn into_response(self) -> Response<Full<Bytes>> {
        *self.response
    }
}
