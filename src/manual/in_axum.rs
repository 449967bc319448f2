//! Connections on the routes of axum and hyper and over HTTP/2, and what sharing a TCP connection
//! costs and gains.
//!
//! # Which server
//!
//! A [`WebSocketServer`](crate::WebSocketServer) owns its port and serves only WebSockets. To have
//! pages, a login or a health check on the same port, let an HTTP server own it, and turn a route
//! into a connection:
//!
//! - feature `axum`: the extractor [`WsMuxUpgrade`](crate::axum::WsMuxUpgrade), on an
//!   [`any`](::axum::routing::any) route (over HTTP/2 a WebSocket comes with method CONNECT, not GET);
//! - feature `hyper`: [`hyper::upgrade`](crate::hyper::upgrade), for any server that is built on
//!   hyper 1.x.
//!
//! Both need a [`WebSocketAcceptor`](crate::WebSocketAcceptor), which
//! [`WebSocketServerBuilder::build`](crate::WebSocketServerBuilder::build) makes. Build it once and
//! keep it in the router's state. Its settings are the wires, protocols, response headers and
//! [hooks](crate::authorize), and the same code checks the request as in a `WebSocketServer`. The
//! framework is responsible for what comes before the route: TLS and its certificates, layers that
//! require a login (a `401` from a layer reaches the client as
//! [`ConnectError::Refused`](crate::ConnectError::Refused)), and limits on connections.
//! [`Config::handshake_timeout`](crate::Config::handshake_timeout) counts from the request.
//!
//! # Limits before the route
//!
//! A port on a public network needs more than `serve_connection` in a loop. By default neither
//! hyper nor `axum::serve` limits the time that a client takes for TLS, for HTTP/2's preface or for
//! the head of its first request, so a few hundred silent clients can hold all file descriptors. A
//! loop that leaves `main` by `accept().await?` ends when there are none left.
//! [`HttpServer`](crate::hyper::HttpServer) is such a loop with limits:
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
//! Hooks and [`remote_address`](crate::WebSocketConnection::remote_address) know the client if the
//! request's extensions contain a [`ConnectionInfo`](crate::ConnectionInfo)
//! ([`of_tcp`](crate::ConnectionInfo::of_tcp), [`of_tls`](crate::ConnectionInfo::of_tls) with the
//! client's certificates), or axum's `ConnectInfo<SocketAddr>`.
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
//! The server announces that with SETTINGS_ENABLE_CONNECT_PROTOCOL:
//! [`HttpServer`](crate::hyper::HttpServer) does so, `axum::serve` does with axum's feature
//! `http2`, and [`hyper::allow_http2`](crate::hyper::allow_http2) makes a hyper server do so. The
//! rules for subprotocols are the same, and so is every frame: a client still masks (RFC 8441
//! §5.1).
//!
//! Browsers use it by themselves, for a page that came over HTTP/2 from that server. The Rust
//! client uses it as [`Http2Client`](crate::Http2Client), feature `http2`:
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
//! if a page opens several. **One connection's streams need no HTTP/2**: they share its WebSocket
//! anyway.
//!
//! ## What it costs
//!
//! - **A second flow control.** The bytes pass an HTTP/2 window for the stream and one for the
//!   whole TCP connection, in addition to the credit of wsmux's streams. Neither stops all streams:
//!   a connection's task reads its WebSocket whatever the application does, and returns the credit
//!   as it reads. A stalled reader stops its own stream, through wsmux's credit, and none of its
//!   bytes wait in HTTP/2. But a window also limits what is in flight in a round trip. hyper's own
//!   windows are 1 MiB for a stream and 1 MiB for the TCP connection. `axum::serve` does not change
//!   them, which gives 80 Mbit/s at 100 ms for all connections together. `HttpServer` and
//!   `allow_http2` set 8 MiB and [32 MiB](crate::hyper::HTTP2_CONNECTION_WINDOW); `Http2Client`
//!   sets 8 MiB and the maximum. Each end's settings apply to what that end receives. A connection
//!   window far above a stream's also prevents another route, which reads its request's body late,
//!   from holding all of it.
//! - **One TCP connection is one order.** A lost packet delays everything after it, for all
//!   connections that share the TCP connection; and if that is lost, they are all lost at once.
//!   Each has its own end, its own keep-alive and its own idle timeout.
//! - **Another copy and another task.** Every byte passes through HTTP/2's frames of 16 KiB and its
//!   task. For one busy connection HTTP/1.1 is faster. Urgent data may wait for about 128 KiB of
//!   the same connection that h2 has accepted (the bound of `Http2Client`; hyper's servers have
//!   their own). The limit on the system's unsent bytes is not set on a socket that is shared.
//! - [`socket_rtt`](crate::WebSocketConnection::socket_rtt) is `None`, because the socket is not
//!   the connection's. [`rtt`](crate::WebSocketConnection::rtt) measures as usual.
//! - **One more round trip** for the first connection to a server, to wait for its SETTINGS.
//!
//! A reset of the HTTP/2 stream is a lost connection; END_STREAM is the end of the TCP stream (RFC 8441 §5).
//!
//! A server accepts as many connections over one TCP connection as its
//! SETTINGS_MAX_CONCURRENT_STREAMS permits (hyper: 200); for more, the client opens another TCP
//! connection. Limits on TCP connections no longer limit WebSockets: count them in the route.
