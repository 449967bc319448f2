//! Connections on a route of a [hyper](https://docs.rs/hyper/1) 1.x server, beside the server's
//! other routes: over HTTP/1.1 by upgrade (RFC 6455), and over HTTP/2 by extended CONNECT (RFC
//! 8441).
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
//! [`HttpServer`] is a loop around hyper's `serve_connection_with_upgrades` with the limits that a
//! port open to strangers needs. You may also write such a loop yourself, with [`allow_http2`] and
//! your own limits.
//!
//! The manual has a chapter on [costs and benefits](crate::manual::in_axum).

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;

use super::upgrade::Handle;
pub use super::{
    http_server::HttpServer,
    upgrade::{UpgradeError, Upgrading},
};
use crate::{
    connection::ConnectionInfo,
    server::{WebSocketAcceptor, listener::canonical},
};

/// How many bytes a client may send on one HTTP/2 stream before they are read. A WebSocket's bytes
/// are read as they arrive, so the window is rarely full. But the window bounds how many bytes can
/// be in flight during a round trip. At a round trip of 100 ms, 8 MiB allow 640 Mbit/s, and hyper's
/// default of 1 MiB allows 80 Mbit/s.
pub const HTTP2_STREAM_WINDOW: u32 = 8 * 1024 * 1024;

/// The window for all streams of one HTTP/2 connection together. It is so large that four streams
/// may fill their windows at once. If a route does not read its request's body, the body may use up
/// the window of its stream, but not the whole window of the connection.
pub const HTTP2_CONNECTION_WINDOW: u32 = 4 * HTTP2_STREAM_WINDOW;

/// Upgrades a valid request to a connection, as a [`WebSocketServer`](crate::WebSocketServer) with
/// the acceptor's settings would, including subprotocols, headers and hooks. The [handshake
/// timeout](crate::Config::handshake_timeout) covers the hooks. TLS is left to the HTTP server.
///
/// Returns the response to send (101, or 200 over HTTP/2) and a future that resolves to the
/// connection. Await the future in a task of its own, because it resolves only after the response
/// was returned.
///
/// A [`ConnectionInfo`] in the request's extensions says what is known about the client; see
/// [`ConnectionInfo::of_tcp`]. Without a `ConnectionInfo`, hooks see neither an address nor a
/// certificate.
///
/// # Errors
/// [`UpgradeError`], with the response to send.
///
/// # Cancel safety
/// When the future is dropped, the request gets no connection, and hyper closes the request's
/// stream.
pub async fn upgrade<B>(
    acceptor: &WebSocketAcceptor,
    request: &mut Request<B>,
) -> Result<(Response<Full<Bytes>>, Upgrading), UpgradeError> {
    let handle = Handle::take(request.extensions_mut());
    let info = request.extensions().get::<ConnectionInfo>().cloned().unwrap_or_default();
    let mut head = Request::new(());
    *head.method_mut() = request.method().clone();
    *head.uri_mut() = request.uri().clone();
    *head.version_mut() = request.version();
    *head.headers_mut() = request.headers().clone();
    super::upgrade::upgrade(acceptor, head, handle, info).await
}

/// Lets clients open WebSockets over HTTP/2 (SETTINGS_ENABLE_CONNECT_PROTOCOL, RFC 8441 §3), with
/// windows of [`HTTP2_STREAM_WINDOW`] and [`HTTP2_CONNECTION_WINDOW`].
///
/// The windows apply to all requests. If other routes of the server receive large bodies and read
/// them late, the server may hold up to [`HTTP2_CONNECTION_WINDOW`] bytes for each client.
pub fn allow_http2<E>(server: &mut auto::Builder<E>) {
    server
        .http2()
        .enable_connect_protocol()
        .initial_stream_window_size(HTTP2_STREAM_WINDOW)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW);
}

/// Constructors for use in an HTTP server of your own. The server can add the value to the
/// extensions of a client's requests.
impl ConnectionInfo {
    /// Returns the addresses of a TCP connection.
    pub fn of_tcp(tcp: &TcpStream) -> Self {
        Self {
            remote_address: tcp.peer_addr().ok().map(canonical),
            local_address: tcp.local_addr().ok().map(canonical),
            ..Self::default()
        }
    }

    /// Returns the addresses of a TCP connection under TLS, and the certificates that the client
    /// presented.
    #[cfg(feature = "tls")]
    pub fn of_tls(tls: &tokio_rustls::server::TlsStream<TcpStream>) -> Self {
        let (tcp, session) = tls.get_ref();
        Self { peer_certificates: crate::tls::peer_certificates(session), ..Self::of_tcp(tcp) }
    }
}
