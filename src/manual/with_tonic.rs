//! gRPC over the streams of one connection, with tonic and the code that it generates.
//!
//! A stream is an `AsyncRead` and an `AsyncWrite`, and tonic needs nothing more from a transport:
//! it uses a stream as it otherwise uses a TCP connection. [`examples/tonic`] is such a program.
//! Its tests make every kind of call: unary, with either side streaming or both, cancelled, with a
//! deadline, and a hundred at once beside stalled streams. Your program needs a copy of its
//! `transport.rs`.
//!
//! # The server
//!
//! `serve_with_incoming` takes the accepted streams. tonic wants to know where each comes from, so
//! put them into a wrapper that implements tonic's `Connected`. The value that the wrapper returns
//! is in the extensions of each request: for example the client's [`WebSocketConnection`], whose
//! request headers and certificates identify the client. Run one `serve_with_incoming` for each
//! connection; it ends when the connection does.
//!
//! # The client
//!
//! ```ignore
//! let open = tower::service_fn(move |_: Uri| {
//!     let connection = connection.clone();
//!     async move { Ok::<_, io::Error>(TokioIo::new(connection.open_bi().await?)) }
//! });
//! Endpoint::from_static("http://wsmux").connect_with_connector_lazy(open)
//! ```
//!
//! This makes a `Channel`, which opens a stream with its first call, and another one when that has
//! ended. The name in the URL is not resolved; it is the `:authority` of the calls. The scheme is
//! `http` even if the WebSocket is `wss`, because TLS is below it.
//!
//! Both directions work: to push, a server can have a channel to its client, over a stream that the
//! server opens.
//!
//! # How many channels
//!
//! The calls of one channel share a stream, and HTTP/2 on it, as they otherwise share a TCP
//! connection. Unread answers can use up HTTP/2's window for all of them, and then they wait for
//! each other. Channels do not wait for each other: each has its own stream with its own credit. So
//! use one channel for each group of calls that must not wait for another: for bulk and for
//! queries, or for each tenant. A channel costs a stream, an HTTP/2 handshake within it (which adds
//! no round trip before the first call), and HTTP/2's buffers. Clones of a channel share it. The
//! peer's [`max_concurrent_bidi_streams`] bounds the channels, not the calls.
//!
//! # How calls end
//!
//! | what happens | the client's status |
//! |---|---|
//! | the client drops the call | none; the server's handler is dropped, and the channel's other calls continue |
//! | its deadline passes | `Cancelled`, with `tonic::TimeoutExpired` as its source; the handler is dropped |
//! | the stream or the connection ends | `Unknown`, "transport error"; our error is among the sources |
//! | a call after the connection's end | `Unavailable`, with our error among the sources |
//!
//! The connection does keep-alive, so tonic's own (`http2_keep_alive_interval`) is not needed. For
//! draining a node see [`behind_a_proxy`](super::behind_a_proxy#draining-a-node):
//! `serve_with_incoming_shutdown` ends the calls of a connection gracefully, and then its streams.
//! A bare [`drain`] waits for channels that their clients keep open.
//!
//! [`WebSocketConnection`]: crate::WebSocketConnection
//! [`examples/tonic`]: https://github.com/wsmux/wsmux/tree/main/examples/tonic
//! [`max_concurrent_bidi_streams`]: crate::Config::max_concurrent_bidi_streams
//! [`drain`]: crate::WebSocketConnection::drain
