//! Connections on the routes of a [hyper](https://docs.rs/hyper/1) 1.x server, beside its other routes: over
//! HTTP/1.1 by upgrade (RFC 6455), and over HTTP/2 by extended CONNECT (RFC 8441).
//!
//! ```no_run
//! use bytes::Bytes;
//! use http_body_util::Full;
//! use hyper::{Request, Response, body::Incoming, service::service_fn};
//! use wsmux::{WebSocketAcceptor, WebSocketServer, hyper::HttpServer};
//!
//! async fn route(
//!     acceptor: WebSocketAcceptor,
//!     mut request: Request<Incoming>,
//! ) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
//!     if request.uri().path() != "/mux" {
//!         return Ok(Response::new("a page\n".into()));
//!     }
//!     Ok(match wsmux::hyper::upgrade(&acceptor, &mut request).await {
//!         Ok((response, upgrading)) => {
//!             tokio::spawn(async move {
//!                 let connection = upgrading.await?;
//!                 // accept its streams
//!                 Ok::<_, wsmux::AcceptError>(())
//!             });
//!             response
//!         }
//!         Err(refused) => refused.into_response(),
//!     })
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let acceptor = WebSocketServer::builder().protocol("chat").build()?;
//! let listener = tokio::net::TcpListener::bind("[::]:8080").await?;
//! let service = service_fn(move |request| route(acceptor.clone(), request));
//! HttpServer::new().serve(listener, service).await;
//! # Ok(())
//! # }
//! ```
//!
//! [`HttpServer`] is a loop around hyper's `serve_connection_with_upgrades` with the limits that a port open to
//! strangers needs. A loop of your own does as well, with [`allow_http2`] and limits of your own.
//!
//! [What it costs and gains](crate::manual::in_axum) is a chapter of the manual.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;

use super::upgrade::Handle;
pub use super::{
    http_server::HttpServer,
    upgrade::{Refused, Upgrading},
};
use crate::{
    connection::ConnectionInfo,
    server::{WebSocketAcceptor, listener::canonical},
};

/// Bytes that a client may send on one HTTP/2 stream before they are read. A WebSocket's are read as they come,
/// so the window is never full for long; but no more than this is under way in a round trip: 8 MiB fill 640
/// Mbit/s over 100 ms, where hyper's 1 MiB ends at 80.
pub const HTTP2_STREAM_WINDOW: u32 = 8 * 1024 * 1024;

/// The same for all streams of one HTTP/2 connection: what four of them may have under way together. A route
/// that does not read its request's body can hold one stream's window, and must not hold all of it.
pub const HTTP2_CONNECTION_WINDOW: u32 = 4 * HTTP2_STREAM_WINDOW;

/// Upgrades a request to a connection, if it is in order: as a [`WebSocketServer`](crate::WebSocketServer) with
/// these settings would: its subprotocols, its headers and its hooks included, which the [handshake
/// timeout](crate::Config::handshake_timeout) bounds. TLS is the HTTP
/// server's own affair.
///
/// Of the first two, the response is what to answer (101, or 200 over HTTP/2), and the future gives the
/// connection: it is to be awaited in a task of its own, after the response was returned.
///
/// What was known of the client before the request is taken from a [`ConnectionInfo`] in the request's
/// extensions: see [`ConnectionInfo::of_tcp`]. Without one, hooks see neither address nor certificate.
///
/// # Errors
/// [`Refused`], with the answer.
///
/// # Cancel safety
/// When the future is dropped, the request is as good as refused: hyper closes its stream.
pub async fn upgrade<B>(
    acceptor: &WebSocketAcceptor,
    request: &mut Request<B>,
) -> Result<(Response<Full<Bytes>>, Upgrading), Refused> {
    let handle = Handle::take(request.extensions_mut());
    let info = request.extensions().get::<ConnectionInfo>().cloned().unwrap_or_default();
    let mut head = Request::new(());
    *head.method_mut() = request.method().clone();
    *head.uri_mut() = request.uri().clone();
    *head.version_mut() = request.version();
    *head.headers_mut() = request.headers().clone();
    super::upgrade::upgrade(acceptor, head, handle, info).await
}

/// Lets clients open WebSockets over HTTP/2 (SETTINGS_ENABLE_CONNECT_PROTOCOL, RFC 8441 §3), with windows of
/// [`HTTP2_STREAM_WINDOW`] and [`HTTP2_CONNECTION_WINDOW`].
///
/// The windows are those of all requests: a server whose other routes take large bodies and read them late may
/// hold that much for each client.
pub fn allow_http2<E>(server: &mut auto::Builder<E>) {
    server
        .http2()
        .enable_connect_protocol()
        .initial_stream_window_size(HTTP2_STREAM_WINDOW)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW);
}

/// What an HTTP server that took a client can tell of it, for the extensions of the client's requests.
impl ConnectionInfo {
    /// The addresses of a TCP connection.
    pub fn of_tcp(tcp: &TcpStream) -> Self {
        Self {
            remote_address: tcp.peer_addr().ok().map(canonical),
            local_address: tcp.local_addr().ok().map(canonical),
            ..Self::default()
        }
    }

    /// The same, and the certificates that the client showed.
    #[cfg(feature = "tls")]
    pub fn of_tls(tls: &tokio_rustls::server::TlsStream<TcpStream>) -> Self {
        let (tcp, session) = tls.get_ref();
        Self { peer_certificates: crate::tls::peer_certificates(session), ..Self::of_tcp(tcp) }
    }
}
