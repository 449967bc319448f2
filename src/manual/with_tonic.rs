//! gRPC over the streams of one connection, by tonic and the code that it generates.
//!
//! A stream is an `AsyncRead` and an `AsyncWrite`, and that is all that tonic asks of a transport: to it a stream is
//! what a TCP connection is elsewhere. [`examples/tonic`] is such a program, and its tests make every kind of call:
//! unary, with either side streaming or both, cancelled, with a deadline, and a hundred at once beside
//! streams that stand still. Its `transport.rs` is what a program needs to copy.
//!
//! # The server
//!
//! `serve_with_incoming` takes the streams that are accepted. tonic wants to know of each where it comes from, so they
//! go in a wrapper that implements its `Connected`; what that gives is in the extensions of each request: the client's
//! [`WebSocketConnection`], for example, whose request's headers and certificates say who it is. One
//! `serve_with_incoming` for each connection ends when the connection does.
//!
//! # The client
//!
//! ```ignore
//! Endpoint::from_static("http://wsmux").connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
//!     let connection = connection.clone();
//!     async move { Ok::<_, io::Error>(TokioIo::new(connection.open_bi().await?)) }
//! }))
//! ```
//!
//! makes a `Channel`, which opens a stream with its first call, and another one when that has ended. The name in the URL
//! leads nowhere; it is the `:authority` of the calls. The scheme is `http` even where the WebSocket is `wss`: TLS is below.
//!
//! Both directions work: a server can have a channel to its client, over a stream that it opens, for push.
//!
//! # How many channels
//!
//! The calls of one channel share a stream, and HTTP/2 on it, as they share a TCP connection elsewhere: HTTP/2's window for
//! all of them can be used up by answers that nobody reads, and then they wait for each other. Channels do not: each has
//! its stream, with credit of its own. So give one to each group of calls that must not wait for another: bulk
//! and questions, or each tenant. A channel costs a stream, a handshake of HTTP/2 within it (no round trip of its
//! own before the first call), and HTTP/2's buffers. Clones of a channel share it. The peer's
//! [`max_concurrent_bidi_streams`] bounds the channels, not the calls.
//!
//! # How calls end
//!
//! | what happens | the client's status |
//! |---|---|
//! | the client drops the call | none; the server's handler is dropped, and the channel's other calls go on |
//! | its deadline passes | `Cancelled`, with `tonic::TimeoutExpired` as its source; the handler is dropped |
//! | the stream or the connection ends | `Unknown`, "transport error"; the sources say what our error said |
//! | a call after the connection's end | `Unavailable`, with our error among the sources |
//!
//! Keep-alive is the connection's: tonic's own (`http2_keep_alive_interval`) is not needed. For a node that drains see
//! [`behind_a_proxy`](super::behind_a_proxy#draining-a-node): `serve_with_incoming_shutdown` ends the calls of a
//! connection gracefully, and then its streams; a bare [`shutdown`] waits for channels that their clients keep.
//!
//! [`WebSocketConnection`]: crate::WebSocketConnection
//! [`examples/tonic`]: https://github.com/wsmux/wsmux/tree/main/examples/tonic
//! [`max_concurrent_bidi_streams`]: crate::Config::max_concurrent_bidi_streams
//! [`shutdown`]: crate::WebSocketConnection::shutdown
