//! In axum, in hyper, and over HTTP/2: connections beside ordinary routes, and what sharing a TCP connection
//! costs and gains.
//!
//! # Which server
//!
//! A [`WebSocketServer`](crate::WebSocketServer) owns its port and knows nothing but WebSockets. Where pages, a
//! login or a health check are to live on the same port, an HTTP server owns it, and a route becomes a connection:
//!
//! - feature `axum`: the extractor [`WsMuxUpgrade`](crate::axum::WsMuxUpgrade), on an
//!   [`any`](::axum::routing::any) route (over HTTP/2 a WebSocket comes with method CONNECT, not GET);
//! - feature `hyper`: [`hyper::upgrade`](crate::hyper::upgrade), for whatever is built on hyper 1.x.
//!
//! Neither goes without a [`WebSocketAcceptor`](crate::WebSocketAcceptor), which
//! [`WebSocketServerBuilder::build`](crate::WebSocketServerBuilder::build) makes: build it once, keep it in the
//! router's state. Wires, protocols, response headers and [hooks](crate::authorize) are its settings, and the request
//! is checked by the same code as a server's own. What stands before the route is the framework's: TLS and its
//! certificates, layers that ask for a login (a `401` from a layer reaches the client as
//! [`ConnectError::Refused`](crate::ConnectError::Refused)), limits on connections.
//! [`Config::handshake_timeout`](crate::Config::handshake_timeout) counts from the request.
//!
//! # What stands before the route
//!
//! A port open to strangers needs more than `serve_connection` in a loop. By default neither hyper nor
//! `axum::serve` limits the time that a client takes for TLS, for HTTP/2's preface or for the head of its first request,
//! so that a few hundred silent clients hold all file descriptors; and a loop that leaves `main` by `accept().await?` ends
//! when there are none. [`HttpServer`](crate::hyper::HttpServer) is such a loop with limits:
//!
//! | what a client does | what ends it | default |
//! |---|---|---|
//! | nothing, a part of TLS, of HTTP/2's preface or of its first request's head | [`head_timeout`](crate::hyper::HttpServer::head_timeout), one for all of it | 10 s |
//! | no further request, or a part of one | [`idle_timeout`](crate::hyper::HttpServer::idle_timeout); what is open goes on | 75 s |
//! | a head above 64 KiB | status 431 | |
//! | it vanishes (HTTP/2) | a ping every 20 s, with 20 s for its answer | |
//!
//! When the system is out of file descriptors or memory, clients wait in its queue, and the server tries
//! again every 100 ms.
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
//! Hooks and [`remote_address`](crate::WebSocketConnection::remote_address) know the client if a
//! [`ConnectionInfo`](crate::ConnectionInfo) is among the request's extensions
//! ([`of_tcp`](crate::ConnectionInfo::of_tcp), [`of_tls`](crate::ConnectionInfo::of_tls) with the client's
//! certificates), or axum's `ConnectInfo<SocketAddr>`.
//!
//! A connection outlives its request, and the end of the HTTP server does not wait for an upgraded stream over
//! HTTP/1.1. Keep the connections, and [`shutdown`](crate::WebSocketConnection::shutdown) them.
//!
//! Over HTTP/1.1 hyper hands back the very socket it was given, where that is tokio's `TcpStream` or a rustls
//! stream over one: from then on a connection is as fast as one of our own server. Of any other stream it works
//! through hyper's box, and without the socket's own round-trip time.
//!
//! # Over HTTP/2
//!
//! RFC 8441 makes a WebSocket of one HTTP/2 stream, by a CONNECT with `:protocol = websocket`. The server says that
//! it can by SETTINGS_ENABLE_CONNECT_PROTOCOL: [`HttpServer`](crate::hyper::HttpServer) does, `axum::serve` with axum's
//! feature `http2`, and [`hyper::allow_http2`](crate::hyper::allow_http2) has a hyper server do so. The subprotocol and its rules are the
//! same, and so is every frame: a client still masks (RFC 8441 §5.1).
//!
//! Browsers use it by themselves, for a page that came over HTTP/2 from that server. Our client does as
//! [`Http2Client`](crate::Http2Client), feature `http2`:
//!
//! | server | what `Http2Client` does |
//! |---|---|
//! | ALPN selects `h2`, and the SETTINGS offer it | one TCP connection for all |
//! | ALPN selects `h2`, and they do not | a second TCP connection, HTTP/1.1; remembered for five minutes |
//! | ALPN selects `http/1.1`, or nothing | HTTP/1.1 on the same TCP connection; remembered for five minutes |
//! | `ws://` | HTTP/1.1; with [prior knowledge](crate::Http2Client::with_prior_knowledge) HTTP/2 and nothing else |
//!
//! ## What it gains
//!
//! One TCP and one TLS handshake for many connections, one congestion window that is warm, one socket and one entry
//! in each NAT and balancer on the way. That is worth something where connections are many and short, or where a
//! page opens several. **One connection's streams need no HTTP/2**: they share its WebSocket anyway.
//!
//! ## What it costs
//!
//! - **A second flow control.** The bytes pass an HTTP/2 window for the stream and one for the whole TCP connection,
//!   beside the credit of our own streams. Neither becomes a pause for all: a connection's task reads its WebSocket
//!   whatever the application does, and the credit is given back as it reads. A reader that stands still holds up its
//!   own stream, by our credit, and no byte of it waits in HTTP/2. But a window also limits what is under way in a
//!   round trip. hyper's own are 1 MiB for a stream and 1 MiB for all; `axum::serve` leaves them so, which is 80
//!   Mbit/s at 100 ms for all connections together. `HttpServer` and `allow_http2` set 8 MiB and
//!   [32 MiB](crate::hyper::HTTP2_CONNECTION_WINDOW), our client 8 MiB and the most there is. Of the two ends' settings
//!   each holds for what that end receives. A window per connection far above a stream's is also what keeps another
//!   route, which reads its request's body late, from holding all of it.
//! - **One TCP connection is one order.** A lost packet holds up everything behind it, for all connections that share
//!   it; and when it is lost, all of them are, at once. Each has its own end, its own keep-alive and its own idle timeout.
//! - **Another copy and another task.** Every byte passes through HTTP/2's frames of 16 KiB and its task. For one busy
//!   connection HTTP/1.1 is the faster way. What is urgent may wait behind some 128 KiB of the same connection that
//!   h2 has taken (our client's bound; hyper's servers have their own), and the system's own limit on unsent bytes is
//!   not set on a socket that is not ours alone.
//! - [`socket_rtt`](crate::WebSocketConnection::socket_rtt) is `None`: the socket is not the connection's.
//!   [`rtt`](crate::WebSocketConnection::rtt) measures as ever.
//! - **A round trip more** for the first connection to a server, whose SETTINGS are waited for.
//!
//! A reset of the HTTP/2 stream is a lost connection; END_STREAM is the end of the TCP stream (RFC 8441 §5).
//!
//! A server takes as many connections over one TCP connection as its SETTINGS_MAX_CONCURRENT_STREAMS says (hyper:
//! 200); beyond them our client opens another. Limits on TCP connections no longer limit WebSockets: count them in
//! the route.
