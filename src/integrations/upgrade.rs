//! A request that somebody else's HTTP server has read, upgraded to a connection.

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

use crate::{
    connection::{ConnectionInfo, WebSocketConnection},
    error::AcceptError,
    handshake::{headers::exact_request, server::ErrorResponse},
    observe::trace,
    proto::{Side, Wire},
    server::{
        WebSocketAcceptor,
        accept::{Rejected, ServerSettings},
        listener::canonical,
    },
};

/// What hyper has put into a request's extensions that an upgrade needs.
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

/// Does to a request what a server does to the bytes of one.
pub(crate) async fn upgrade(
    acceptor: &WebSocketAcceptor,
    request: Request<()>,
    handle: Handle,
    info: ConnectionInfo,
) -> Result<(Response<Full<Bytes>>, Upgrading), Refused> {
    let start = Instant::now();
    let version = request.version();
    // hyper's is made of parts of what it has read, and would keep all of it for the connection's life.
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
            decided.map_err(|rejected| Refused::new((&rejected).into(), rejected, version))
        }
        Err(stop) => {
            let refusal = stop.to_error_response();
            Err(Refused::new(stop.into(), refusal.into(), version))
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

/// RFC 9113 §8.2.3: over HTTP/2 cookies come in pieces, which whoever looks for one must not notice.
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
) -> Result<(Agreed, HeaderMap), Rejected> {
    if request.version() == Version::HTTP_2 && request.method() == Method::CONNECT {
        let (status, reason) = match handle.protocol.as_ref().map(Protocol::as_str) {
            Some("websocket") => (StatusCode::OK, ""),
            // RFC 9220 §3.
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

/// A client that gets its WebSocket.
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
        // hyper's error says that the client has gone, or that the response never went out.
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
        #[cfg(feature = "tls")]
        let upgraded = match bare::<tokio_rustls::server::TlsStream<TcpStream>>(upgraded) {
            Ok((tls, rest)) => {
                let (tcp, session) = tls.get_ref();
                know_addresses(&mut info, tcp);
                info.peer_certificates =
                    info.peer_certificates.or_else(|| crate::tls::peer_certificates(session));
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
    // hyper's servers leave Nagle's algorithm on, and streams would wait for each other's acknowledgements.
    let _ = tcp.set_nodelay(true);
}

/// The stream that hyper was given, with what came behind the request: hyper's box around it would cost each
/// read a call through a table, and hide the socket from those who ask it for its round-trip time.
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
    let connection = settings.connection.clone().info(info).time_left(settings.left(start));
    let connection = connection.build_upgraded(io, rest, Side::Server, wire);
    connection.established().await?;
    Ok(connection)
}

/// A client whose request was in order and whose connection comes with its answer: gives the
/// [`WebSocketConnection`] once the response has been sent, and the client's transport parameters have come.
/// The [handshake timeout](crate::Config::handshake_timeout) counts from the request.
///
/// The response is sent only after the route's handler has returned it. A handler that awaits this
/// before it returns the response waits in vain.
///
/// # Errors
/// [`AcceptError`]: the client has gone, or is no peer.
///
/// # Cancel safety
/// When it is dropped, the client's stream is closed once the response has been sent.
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

/// A request that gets no connection, and the answer that says so.
#[derive(thiserror::Error)]
#[error("{error}")]
pub struct Refused {
    error: AcceptError,
    response: Box<Response<Full<Bytes>>>,
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused").field("error", &self.error).finish_non_exhaustive()
    }
}

impl Refused {
    fn new(error: AcceptError, rejected: Rejected, version: Version) -> Self {
        let mut response = Response::<Bytes>::from(rejected).map(Full::new);
        if version == Version::HTTP_2 {
            // RFC 9113 §8.2.2: neither is a header of HTTP/2.
            response.headers_mut().remove(header::CONNECTION);
            response.headers_mut().remove(header::UPGRADE);
        }
        Self { error, response: Box::new(response) }
    }

    /// Why, as a server of ours would say: mostly [`AcceptError::Refused`].
    pub fn error(&self) -> &AcceptError {
        &self.error
    }

    /// What to answer: its status, and its headers with those that a hook has [added](crate::authorize::Refuse::header).
    pub fn response(&self) -> &Response<Full<Bytes>> {
        &self.response
    }

    /// What to answer.
    pub fn into_response(self) -> Response<Full<Bytes>> {
        *self.response
    }
}
