//! gRPC over the streams of one connection, with tonic and the code that it generates.
//!
//! A stream is an `AsyncRead` and an `AsyncWrite`, and tonic needs nothing more from a transport:
//! it uses a stream as it otherwise uses a TCP connection. [`examples/tonic`] is a program that
//! does this. The tests of this program make every kind of call: unary calls, calls in which one
//! side or both stream, calls that are cancelled, calls with a deadline, and a hundred calls at
//! once beside stalled streams. For your own program, copy its `transport.rs`.
//!
//! # The server
//!
//! `serve_with_incoming` takes the accepted streams. tonic wants to know where each stream comes
//! from, so put the stream into a wrapper that implements tonic's `Connected`. tonic puts the value
//! that the wrapper's `connect_info` returns into the extensions of each request. This value can be
//! the [`WebSocketConnection`], for example. Its request headers and certificates identify the
//! client. Run one `serve_with_incoming` for each connection. The future of `serve_with_incoming`
//! ends when the connection ends.
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
//! This makes a `Channel`. The channel opens a stream for its first call, and opens a new stream if
//! that stream has ended. The name in the URL is not resolved; it only becomes the `:authority` of
//! the calls. The scheme is `http` even if the WebSocket is `wss`, because TLS is below the
//! WebSocket.
//!
//! The other direction works too: to push to a client, a server can make a channel to the client,
//! over a stream that the server opens.
//!
//! # How many channels
//!
//! The calls of one channel share one HTTP/2 connection on one stream, as they would otherwise
//! share a TCP connection. If a client leaves answers unread, these answers can use up the HTTP/2
//! connection's window, and then all calls of the channel wait. Channels do not wait for each
//! other, because each channel has its own stream with its own credit. So use a channel for each
//! group of calls that must not wait for other groups, such as one for bulk data and one for
//! queries, or one for each tenant. A channel costs a stream, an HTTP/2 handshake on this stream
//! (which adds no round trip before the first call), and HTTP/2's buffers. Clones of a channel
//! share its stream. The peer's [`max_concurrent_bidi_streams`] limits the number of channels, not
//! the number of calls.
//!
//! # How calls end
//!
//! | what happens | the client's status |
//! |---|---|
//! | the client drops the call | none; the server's handler is dropped, and the channel's other calls continue |
//! | the deadline of the call passes | `Cancelled`, with `tonic::TimeoutExpired` as its source; the handler is dropped |
//! | the stream or the connection ends | `Unknown`, "transport error"; our error is among the sources |
//! | a call after the connection's end | `Unavailable`, with our error among the sources |
//!
//! The connection does keep-alive, so tonic's own keep-alive (`http2_keep_alive_interval`) is not
//! needed. For draining a node see [`behind_a_proxy`](super::behind_a_proxy#draining-a-node):
//! `serve_with_incoming_shutdown` lets the calls of a connection end, and then ends its streams. A
//! [`drain`] alone would wait until the clients close their channels.
//!
//! [`WebSocketConnection`]: crate::WebSocketConnection
//! [`examples/tonic`]: https://github.com/wsmux/wsmux/tree/main/examples/tonic
//! [`max_concurrent_bidi_streams`]: crate::Config::max_concurrent_bidi_streams
//! [`drain`]: crate::WebSocketConnection::drain
