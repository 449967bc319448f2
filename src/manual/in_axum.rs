//! How to accept connections on a route of an axum or hyper server, how to run them over HTTP/2,
//! and what sharing a TCP connection gains and costs.
//!
//! # Which server
//!
//! A [`WebSocketServer`](crate::WebSocketServer) owns its port and serves only WebSockets. To serve
//! pages, a login or a health check on the same port, let an HTTP server own the port, and turn
//! requests on one of its routes into connections:
//!
//! - feature `axum`: the extractor [`WsMuxUpgrade`](crate::axum::WsMuxUpgrade), on an
//!   [`any`](::axum::routing::any) route (over HTTP/2 a WebSocket comes with method CONNECT, not
//!   GET);
//! - feature `hyper`: [`hyper::upgrade`](crate::hyper::upgrade), for any server that is built on
//!   hyper 1.x.
//!
//! Both need a [`WebSocketAcceptor`](crate::WebSocketAcceptor), which
//! [`WebSocketServerBuilder::build`](crate::WebSocketServerBuilder::build) makes. Build the
//! acceptor once and keep it in the router's state. The acceptor holds the settings for wires,
//! protocols, response headers and [hooks](crate::authorize), and checks requests in the same way
//! as a `WebSocketServer`. The framework is responsible for everything that happens before a
//! request reaches the route: TLS and its certificates, layers that require a login (a `401` from a
//! layer reaches the client as [`ConnectError::Refused`](crate::ConnectError::Refused)), and limits
//! on connections. [`Config::handshake_timeout`](crate::Config::handshake_timeout) starts when the
//! route gets the request.
//!
//! # Limits before the route
//!
//! A port on a public network needs more than `serve_connection` in a loop. By default neither
//! hyper nor `axum::serve` limits the time that a client takes for TLS, for HTTP/2's preface or for
//! the head of its first request, so a few hundred silent clients can hold all file descriptors. If
//! the loop then does `accept().await?` in `main`, the server ends as soon as no descriptors are
//! left. [`HttpServer`](crate::hyper::HttpServer) is an accept loop with limits:
//!
//! | what a client does | what ends it | default |
//! |---|---|---|
//! | it sends nothing, or only a part of TLS, of HTTP/2's preface or of its first request's head | [`head_timeout`](crate::hyper::HttpServer::head_timeout), which covers all of these together | 10 s |
//! | it sends no further request, or only a part of one | [`idle_timeout`](crate::hyper::HttpServer::idle_timeout); open requests continue | 75 s |
//! | it sends a head above 64 KiB | status 431 | |
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
//! Hooks and [`remote_address`](crate::WebSocketConnection::remote_address) take the client's
//! address from the request's extensions, which must contain one of two values: a
//! [`ConnectionInfo`](crate::ConnectionInfo) ([`of_tcp`](crate::ConnectionInfo::of_tcp), or
//! [`of_tls`](crate::ConnectionInfo::of_tls) with the client's certificates), or axum's
//! `ConnectInfo<SocketAddr>`.
//!
//! A connection outlives its request, and over HTTP/1.1 the HTTP server does not wait for upgraded
//! connections when it shuts down. So keep handles of the connections, and
//! [`drain`](crate::WebSocketConnection::drain) them before the program ends.
//!
//! Over HTTP/1.1 hyper returns the original socket, if that socket is tokio's `TcpStream` or a
//! rustls stream over a `TcpStream`. The connection is then as fast as a connection of a
//! `WebSocketServer`. If the original stream has any other type, the connection uses hyper's boxed
//! stream, and [`socket_rtt`](crate::WebSocketConnection::socket_rtt) is `None`.
//!
//! # Over HTTP/2
//!
//! Over HTTP/2, a client sends a CONNECT request with `:protocol = websocket`. The stream of that
//! request then carries a WebSocket (RFC 8441). The server announces support with
//! SETTINGS_ENABLE_CONNECT_PROTOCOL: [`HttpServer`](crate::hyper::HttpServer) announces it,
//! `axum::serve` announces it if axum's feature `http2` is on, and
//! [`hyper::allow_http2`](crate::hyper::allow_http2) makes a hyper server announce it. The rules
//! for subprotocols and the WebSocket's frames are the same as over HTTP/1.1. A client still masks
//! its frames (RFC 8441 §5.1).
//!
//! Browsers open WebSockets over HTTP/2 automatically if the page came over HTTP/2 from that
//! server. In Rust, [`Http2Client`](crate::Http2Client) opens WebSockets over HTTP/2, with the
//! feature `http2`:
//!
//! | server | what `Http2Client` does |
//! |---|---|
//! | ALPN selects `h2`, and the SETTINGS announce support | all connections share one TCP connection |
//! | ALPN selects `h2`, and the SETTINGS do not announce support | HTTP/1.1 on a second TCP connection; the client remembers this for five minutes |
//! | ALPN selects `http/1.1`, or nothing | HTTP/1.1 on the same TCP connection; the client remembers this for five minutes |
//! | `ws://` | HTTP/1.1; with [prior knowledge](crate::Http2Client::with_prior_knowledge) only HTTP/2 |
//!
//! ## What it gains
//!
//! Many connections share one TCP and one TLS handshake, one warm congestion window, one socket and
//! one entry in each NAT and balancer on the path. This helps if connections are many and short, or
//! if a page opens several connections. **The streams of one connection gain nothing from HTTP/2**,
//! because they already share a WebSocket.
//!
//! ## What it costs
//!
//! - **A second flow control.** The bytes pass an HTTP/2 window for the stream and an HTTP/2 window
//!   for the whole TCP connection, in addition to the credit of wsmux's streams. A stalled reader
//!   cannot use up these windows, so it cannot stop all streams. A connection's task always reads
//!   its WebSocket, even if the application reads nothing, and returns HTTP/2's credit as it reads.
//!   When a reader stalls, wsmux's credit stops the sender of its stream, and none of that stream's
//!   bytes wait in HTTP/2. An HTTP/2 window, however, also limits how much can be sent in one round
//!   trip. hyper's own windows are 1 MiB for a stream and 1 MiB for the TCP connection.
//!   `axum::serve` does not change them. At a round-trip time of 100 ms these windows permit 80
//!   Mbit/s for all connections together. `HttpServer` and `allow_http2` set 8 MiB and [32
//!   MiB](crate::hyper::HTTP2_CONNECTION_WINDOW); `Http2Client` sets 8 MiB and the maximum that
//!   HTTP/2 permits. Each end's settings apply to the bytes that it receives. The window of the TCP
//!   connection should be much larger than the window of a stream. Otherwise a single request to
//!   another route could use up the whole window if its handler reads the body late.
//! - **One TCP connection delivers in one order.** A lost packet delays everything after it, for
//!   all connections that share the TCP connection. If the TCP connection is lost, all these
//!   connections are lost at once. In all other cases the end of one connection does not affect the
//!   others. Each connection has its own keep-alive and its own idle timeout.
//! - **Another copy and another task.** Every byte is copied into HTTP/2 frames of 16 KiB, and a
//!   separate task writes these frames to the socket. So if there is only one busy connection, it
//!   is faster over HTTP/1.1. The crate `h2`, which implements HTTP/2, holds accepted bytes until
//!   they can be sent. Urgent data has to wait for the bytes of the same connection that `h2`
//!   holds. With `Http2Client` these are at most about 128 KiB; hyper's servers have limits of
//!   their own. On a shared socket, wsmux does not limit the unsent bytes in the kernel.
//! - [`socket_rtt`](crate::WebSocketConnection::socket_rtt) is `None`, because the socket does not
//!   belong to one connection. [`rtt`](crate::WebSocketConnection::rtt) is measured as usual.
//! - **One more round trip** for the first connection to a server, because the client waits for the
//!   SETTINGS of the server.
//!
//! A reset of the HTTP/2 stream is treated as the loss of the connection, and END_STREAM as the end
//! of a TCP stream (RFC 8441 §5).
//!
//! A server accepts as many connections over one TCP connection as its
//! SETTINGS_MAX_CONCURRENT_STREAMS permits (hyper: 200). When a client needs more connections, it
//! opens another TCP connection. A limit on TCP connections therefore no longer limits the number
//! of WebSockets. To limit WebSockets, count them in the route's handler.
