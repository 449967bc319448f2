//! Connections on the routes of axum and hyper and over HTTP/2, and the costs and gains of a shared
//! TCP connection.
//!
//! # Which server
//!
//! A [`WebSocketServer`](crate::WebSocketServer) owns its port and serves only WebSockets. To have
//! pages, a login or a health check on the same port, let an HTTP server own it, and turn a route
//! into a connection:
//!
//! - feature `axum`: the extractor [`WsMuxUpgrade`](crate::axum::WsMuxUpgrade), on an
//!   [`any`](::axum::routing::any) route (over HTTP/2 a WebSocket comes with method CONNECT, not
//!   GET);
//! - feature `hyper`: [`hyper::upgrade`](crate::hyper::upgrade), for any server that is built on
//!   hyper 1.x.
//!
//! Both need a [`WebSocketAcceptor`](crate::WebSocketAcceptor), which
//! [`WebSocketServerBuilder::build`](crate::WebSocketServerBuilder::build) makes. Build it once and
//! keep it in the router's state. It holds the wires, protocols, response headers and
//! [hooks](crate::authorize), and it checks requests as a `WebSocketServer` does. The framework is
//! responsible for everything before the route: TLS and its certificates, layers that require a
//! login (a `401` from a layer reaches the client as
//! [`ConnectError::Refused`](crate::ConnectError::Refused)), and limits on connections.
//! [`Config::handshake_timeout`](crate::Config::handshake_timeout) counts from the request.
//!
//! # Limits before the route
//!
//! A port on a public network needs more than `serve_connection` in a loop. By default neither
//! hyper nor `axum::serve` limits the time that a client takes for TLS, for HTTP/2's preface or for
//! the head of its first request, so a few hundred silent clients can hold all file descriptors. A
//! loop that returns from `main` when `accept().await?` fails ends the server when no descriptors
//! are left. [`HttpServer`](crate::hyper::HttpServer) is an accept loop with limits:
//!
//! | what a client does | what ends it | default |
//! |---|---|---|
//! | nothing, a part of TLS, of HTTP/2's preface or of its first request's head | [`head_timeout`](crate::hyper::HttpServer::head_timeout), one for all of it | 10 s |
//! | no further request, or a part of one | [`idle_timeout`](crate::hyper::HttpServer::idle_timeout); open requests continue | 75 s |
//! | a head above 64 KiB | status 431 | |
//! | it vanishes (HTTP/2) | a ping every 20 s, with 20 s for its answer | |
//!
//! When the system is out of file descriptors or memory, clients wait in the kernel's accept queue,
//! and the server tries again every 100 ms.
//!
//! ```no_run
//! # #[cfg(feature = "tls")]
//! # async fn example(
//! #     routes: axum::Router,
//! #     tls: std::sync::Arc<wsmux::rustls::ServerConfig>,
//! # ) -> std::io::Result<()> {
//! use wsmux::hyper::HttpServer;
//!
//! let listener = tokio::net::TcpListener::bind("[::]:8443").await?;
//! HttpServer::new().tls_config(tls).serve_routes(listener, routes).await;
//! # Ok(())
//! # }
//! ```
//!
//! # What the route knows
//!
//! Hooks and [`remote_address`](crate::WebSocketConnection::remote_address) need one of two things
//! in the request's extensions: a [`ConnectionInfo`](crate::ConnectionInfo)
//! ([`of_tcp`](crate::ConnectionInfo::of_tcp), or [`of_tls`](crate::ConnectionInfo::of_tls) with
//! the client's certificates), or axum's `ConnectInfo<SocketAddr>`.
//!
//! A connection outlives its request, and over HTTP/1.1 the HTTP server does not wait for upgraded
//! streams when it ends. Keep the connections, and
//! [`drain`](crate::WebSocketConnection::drain) them.
//!
//! Over HTTP/1.1 hyper returns the original socket, if that is tokio's `TcpStream` or a rustls
//! stream over one. Such a connection is then as fast as one of a `WebSocketServer`. With any other
//! stream it works through hyper's boxed stream, and has no round-trip time of the socket.
//!
//! # Over HTTP/2
//!
//! RFC 8441 turns one HTTP/2 stream into a WebSocket, by a CONNECT with `:protocol = websocket`.
//! The server announces support with SETTINGS_ENABLE_CONNECT_PROTOCOL:
//! [`HttpServer`](crate::hyper::HttpServer) does so, `axum::serve` does with axum's feature
//! `http2`, and [`hyper::allow_http2`](crate::hyper::allow_http2) makes a hyper server do so. The
//! rules for subprotocols and the WebSocket's frames are the same as over HTTP/1.1. A client still
//! masks its frames (RFC 8441 §5.1).
//!
//! Browsers use it automatically if the page came over HTTP/2 from that server. In Rust,
//! [`Http2Client`](crate::Http2Client) uses it, with the feature `http2`:
//!
//! | server | what `Http2Client` does |
//! |---|---|
//! | ALPN selects `h2`, and the SETTINGS offer it | one TCP connection for all |
//! | ALPN selects `h2`, and the SETTINGS do not offer it | a second TCP connection, HTTP/1.1; remembered for five minutes |
//! | ALPN selects `http/1.1`, or nothing | HTTP/1.1 on the same TCP connection; remembered for five minutes |
//! | `ws://` | HTTP/1.1; with [prior knowledge](crate::Http2Client::with_prior_knowledge) only HTTP/2 |
//!
//! ## What it gains
//!
//! Many connections share one TCP and one TLS handshake, one warm congestion window, one socket and
//! one entry in each NAT and balancer on the path. This helps if connections are many and short, or
//! if a page opens several. **The streams of one connection gain nothing from HTTP/2**, because
//! they already share a WebSocket.
//!
//! ## What it costs
//!
//! - **A second flow control.** The bytes pass an HTTP/2 window for the stream and one for the
//!   whole TCP connection, in addition to the credit of wsmux's streams. Neither window stops all
//!   streams. A connection's task always reads its WebSocket, even if the application reads
//!   nothing, and returns the credit as it reads. A stalled reader stops its own stream, through
//!   wsmux's credit, and none of its bytes wait in HTTP/2. But a window also limits how much is in
//!   flight in a round trip. hyper's own windows are 1 MiB for a stream and 1 MiB for the TCP
//!   connection. `axum::serve` does not change them, which gives 80 Mbit/s at 100 ms for all
//!   connections together. `HttpServer` and `allow_http2` set 8 MiB and
//!   [32 MiB](crate::hyper::HTTP2_CONNECTION_WINDOW); `Http2Client` sets 8 MiB and the maximum.
//!   Each end's settings apply to the bytes that it receives. The connection's window should be far
//!   above a stream's. Otherwise another route that reads its request's body late could hold all of
//!   it.
//! - **One TCP connection delivers in one order.** A lost packet delays everything after it, for
//!   all connections that share the TCP connection. If the TCP connection is lost, they are all
//!   lost at once. Each has its own end, its own keep-alive and its own idle timeout.
//! - **Another copy and another task.** Every byte passes through HTTP/2's frames of 16 KiB and its
//!   task. For one busy connection HTTP/1.1 is faster. Urgent data may wait for about 128 KiB of
//!   the same connection that h2 has accepted. That is the bound of `Http2Client`; hyper's servers
//!   have their own. wsmux does not limit the kernel's unsent bytes on a shared socket.
//! - [`socket_rtt`](crate::WebSocketConnection::socket_rtt) is `None`, because the socket is not
//!   the connection's. [`rtt`](crate::WebSocketConnection::rtt) measures as usual.
//! - **One more round trip** for the first connection to a server, to wait for its SETTINGS.
//!
//! A reset of the HTTP/2 stream is a lost connection, and END_STREAM corresponds to the end of the
//! TCP stream (RFC 8441 §5).
//!
//! A server accepts as many connections over one TCP connection as its
//! SETTINGS_MAX_CONCURRENT_STREAMS permits (hyper: 200). When a client needs more, it opens another
//! TCP connection. Limits on TCP connections no longer limit WebSockets: count them in the route.
