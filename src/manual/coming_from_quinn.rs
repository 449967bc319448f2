//! The names of quinn and of wsmux side by side, and differences between things that have the same
//! name. This chapter is about quinn 0.11.
//!
//! # Types
//!
//! | quinn | wsmux |
//! |---|---|
//! | `Endpoint` as a client, with `ClientConfig` | [`WebSocketClient`](crate::WebSocketClient) and its builder |
//! | `Endpoint` as a server, with `ServerConfig` | [`WebSocketServer`](crate::WebSocketServer) and its builder |
//! | `Incoming`, `Connecting` | [`Connecting`](crate::Connecting) |
//! | `Connection` | [`WebSocketConnection`](crate::WebSocketConnection) |
//! | `(SendStream, RecvStream)` of a bidirectional stream | [`WebSocketStream`](crate::WebSocketStream), by `into_split` |
//! | `SendStream`, `RecvStream` | [`SendStream`](crate::SendStream), [`RecvStream`](crate::RecvStream) |
//! | `TransportConfig` | [`Config`](crate::Config) |
//! | `VarInt`, `StreamId`, `Dir`, `Side` | the same names |
//! | `ConnectionError`, `ReadError`, `WriteError`, `ClosedStream`, … | mostly the same names; see *Errors* below |
//! | `Chunk` | [`Bytes`](bytes::Bytes) |
//! | `quinn_proto` | [`proto`](crate::proto): messages instead of packets, `handle` for `handle_event` |
//!
//! # Methods
//!
//! | quinn | wsmux | |
//! |---|---|---|
//! | `endpoint.connect(addr, name)?.await` | [`client.connect("wss://name/path").await`](crate::WebSocketClient::connect) | resolves the name itself |
//! | `endpoint.accept()` | [`server.accept()`](crate::WebSocketServer::accept) | returns a `Connecting` to await, or `None` after `close` |
//! | `incoming.refuse()` | drop it, or refuse in [`authorize`](crate::WebSocketServerBuilder::authorize) | a hook refuses with an HTTP status |
//! | `endpoint.close(code, reason)` | [`server.shutdown(timeout, code, reason)`](crate::WebSocketServer::shutdown) | `server.close()` only stops accepting |
//! | `endpoint.wait_idle()` | await the same `shutdown` | it drains all connections, and at the timeout closes the remaining connections with the code |
//! | `open_bi`, `open_uni`, `accept_bi`, `accept_uni` | the same | `open_bi` and `accept_bi` give one stream, not a pair |
//! | | [`try_open_bi`](crate::WebSocketConnection::try_open_bi), [`try_open_uni`](crate::WebSocketConnection::try_open_uni) | |
//! | `write`, `write_all` | the same | |
//! | `write_chunk` | the same | takes the whole chunk or nothing, and is cancel safe |
//! | `write_chunks`, `write_all_chunks` | `write_chunk` in a loop | |
//! | `finish` | the same | also fails if the peer has stopped the stream |
//! | `reset`, `set_priority`, `priority` | the same | |
//! | `stopped` | the same | `None` has another meaning, see below |
//! | `read`, `read_exact`, `read_to_end`, `stop` | the same | |
//! | `read_chunk(max, ordered)` | [`read_chunk(max)`](crate::RecvStream::read_chunk) | always in order |
//! | `read_chunks` | | |
//! | `received_reset` | the same | an error where quinn returns `Ok(None)` |
//! | `send_datagram`, `send_datagram_wait`, `read_datagram`, `max_datagram_size` | the same | |
//! | `datagram_send_buffer_space` | | |
//! | `close`, `close_reason` | the same | |
//! | `closed` | the same | returns only after the socket is gone too |
//! | | [`drain`](crate::WebSocketConnection::drain), [`drain_timeout`](crate::WebSocketConnection::drain_timeout) | end the connection without losing data |
//! | `set_max_concurrent_bi_streams` | the same | |
//! | `stats`, `rtt`, `remote_address`, `side` | the same | `rtt` and `remote_address` may be `None` |
//! | `peer_identity` | [`peer_certificates`](crate::WebSocketConnection::peer_certificates) | the chain as DER, no `Any` |
//! | `handshake_data` | [`info`](crate::WebSocketConnection::info), [`subprotocol`](crate::WebSocketConnection::subprotocol) | |
//! | `export_keying_material`, `stable_id`, `force_key_update`, `rebind` | | |
//!
//! # Settings
//!
//! | quinn | wsmux | |
//! |---|---|---|
//! | `max_concurrent_bidi_streams`, `max_concurrent_uni_streams` | the same | 100 in both |
//! | `stream_receive_window` | `stream_receive_window` | it grows here, up to `max_stream_receive_window` |
//! | `receive_window` | | always unlimited |
//! | `send_window` | the same, and `send_buffer` of a stream | 64 MiB here; stalled streams fill at most half of it |
//! | `max_idle_timeout` | the same | 30 s in both |
//! | `keep_alive_interval` | the same | 10 s here, off in quinn |
//! | `datagram_receive_buffer_size`, `datagram_send_buffer_size` | the same | |
//! | `qlog_stream` | `qlog`, with the feature of that name | a file for each connection |
//! | congestion control, MTU, GSO, … | | the operating system's TCP |
//!
//! # What is the same
//!
//! Streams have RFC 9000's states, limits, flow control and 62-bit codes. Opening a stream sends
//! nothing, so the peer sees the stream only when the stream's first frame arrives. These work as
//! in quinn: `stop` and `reset` with a code, `stopped`, strict priorities, and cancel safety.
//! Dropping a receiver acts as `stop(0)`. Dropping the last handle of a connection acts as
//! `close(0)`.
//!
//! # What differs
//!
//! **A dropped sender is a reset.** In quinn, dropping a `SendStream` finishes it, so a task that
//! fails halfway looks complete to the peer. In wsmux only [`finish`](crate::SendStream::finish)
//! ends a stream cleanly. Without a `finish` the peer's reads fail. Most ports from quinn break for
//! this reason, so look for senders that are dropped without a `finish`.
//!
//! ```
//! # use wsmux::{Config, ConnectionInfo, Side, WebSocketConnection, Wire, socket::memory_pair};
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (left, right) = memory_pair(64 * 1024);
//! # let end = |socket, side| WebSocketConnection::from_socket(
//! #     socket, side, Wire::QMux, Config::default(), ConnectionInfo::default());
//! # let (client, server) = (end(left, Side::Client), end(right, Side::Server));
//! let mut send = client.open_uni().await?;
//! send.write_all(b"all of it").await?;
//! send.finish()?; // otherwise the drop would reset the stream
//! drop(send);
//! assert_eq!(server.accept_uni().await?.read_to_end(64).await?, b"all of it");
//! # Ok(())
//! # }
//! ```
//!
//! **`finish` reports more.** It returns a [`WriteError`](crate::WriteError) in two cases. The
//! error is `Stopped` if the peer has stopped the stream; quinn returns `Ok` in this case. The
//! error is `ConnectionLost` if the connection has ended.
//!
//! **`stopped` promises less.** In quinn, `None` says that the peer has acknowledged every byte.
//! TCP does not report this to an application, so here `None` says that the end has been handed to
//! the socket. After a reset by this end, `stopped` returns
//! [`StoppedError::ClosedStream`](crate::StoppedError::ClosedStream). To know that something has
//! arrived, let the peer's application answer.
//!
//! **An opened stream can be announced.** If the side that opens a stream has to read before it
//! writes, [`announce`](crate::SendStream::announce) makes the stream visible to the peer without
//! writing to it:
//!
//! ```
//! # use wsmux::{Config, ConnectionInfo, Side, WebSocketConnection, Wire, socket::memory_pair};
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (left, right) = memory_pair(64 * 1024);
//! # let end = |socket, side| WebSocketConnection::from_socket(
//! #     socket, side, Wire::QMux, Config::default(), ConnectionInfo::default());
//! # let (client, server) = (end(left, Side::Client), end(right, Side::Server));
//! let mut stream = client.open_bi().await?;
//! stream.send().announce();
//! let mut accepted = server.accept_bi().await?;
//! accepted.send().write_all(b"hello").await?;
//! let greeting = stream.recv().read_chunk(64).await?;
//! # assert_eq!(greeting.as_deref(), Some(&b"hello"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! **Closing can wait for the streams.** `close` does the same as in quinn. It acts at once, and
//! unsent data is lost. [`drain`](crate::WebSocketConnection::drain) sends everything first; see
//! [`closing`](super::closing). Everything that arrived before the end can still be read, and
//! streams that arrived can still be accepted.
//!
//! **One TCP connection.** Streams do not wait for each other's readers, but a lost packet delays
//! all of them. There is no migration, so a new address needs a new connection. There is no 0-RTT:
//! the handshake takes the round trips of TCP, TLS and the upgrade.
//!
//! **Datagrams are reliable on the wire.** They arrive in order, and the network never loses a
//! datagram. Only two queues drop datagrams, the oldest first. The sender's queue drops datagrams
//! when the socket is slow
//! ([`datagram_send_buffer_size`](crate::Config::datagram_send_buffer_size)). The receiver's queue
//! drops datagrams when the application reads slowly
//! ([`datagram_receive_buffer_size`](crate::Config::datagram_receive_buffer_size)). Datagrams may
//! be large, up to [`max_datagram_size`](crate::WebSocketConnection::max_datagram_size). On a slow
//! path datagrams arrive late instead of being lost. Datagrams are sent before stream data that is
//! waiting.
//!
//! **TLS is optional**, and the URL's scheme selects it. A `ws://` connection has no TLS, and its
//! [`peer_certificates`](crate::WebSocketConnection::peer_certificates) is `None`.
//!
//! **Errors.** A lost socket is `ConnectionError::SocketLost`. There is no counterpart of quinn's
//! `Reset`, which reports a stateless reset. `TimedOut` names the timeout that expired. There is no
//! `VersionMismatch` and no `CidsExhausted`. [`culprit`](crate::ConnectionError::culprit) says what
//! ended the connection: this end, the peer, the network or a timeout.
