//! How streams and connections end, what stays readable, and how to end a process without losing
//! data.
//!
//! # Streams
//!
//! The two halves of a stream end independently of each other.
//!
//! | call | on | the peer sees |
//! |---|---|---|
//! | [`finish`](crate::SendStream::finish) | sending half | all bytes, then the end: `read` returns `None` |
//! | [`reset(code)`](crate::SendStream::reset) | sending half | [`ReadError::Reset`] with the code; unread bytes are discarded on both ends |
//! | drop, unfinished | sending half | the same as after `reset(0)` |
//! | drop, after `finish` | sending half | the same as after `finish`: bytes and end are still sent, as long as the connection lasts |
//! | [`stop(code)`](crate::RecvStream::stop) | receiving half | [`WriteError::Stopped`] with the code |
//! | drop, before the end was read | receiving half | the same as after `stop(0)`, or nothing if the end had already arrived |
//! | drop of a [`WebSocketStream`] | both halves | for each half, the same as after a drop of that half |
//!
//! **A drop never looks like a complete end.** The peer sees a complete end only after `finish`, or
//! after tokio's `shutdown`, which calls it. A task that panics or is cancelled in the middle of a
//! response therefore causes an error at the peer.
//!
//! `finish` returns at once. It fails if the half has already ended, and the error says why. For
//! example, [`WriteError::Stopped`] means that the peer had already stopped the stream. After
//! `finish`, `reset` still works until the end has been sent.
//! [`stopped`](crate::SendStream::stopped) waits for one of two outcomes. It returns `None` once
//! the end has been handed to the socket, and `Some(code)` if the peer stopped the stream first.
//! Neither outcome says that the peer's application has read anything. Only an answer from that
//! application shows that the application has read something.
//!
//! ```
//! use wsmux::{VarInt, WriteError};
//! # use wsmux::{Config, ConnectionInfo, Side, WebSocketConnection, Wire, socket::memory_pair};
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (left, right) = memory_pair(64 * 1024);
//! # let end = |socket, side| WebSocketConnection::from_socket(
//! #     socket, side, Wire::QMux, Config::default(), ConnectionInfo::default());
//! # let (client, server) = (end(left, Side::Client), end(right, Side::Server));
//! let mut unfinished = client.open_uni().await?;
//! unfinished.write_all(b"half of it").await?;
//! drop(unfinished);
//! let mut recv = server.accept_uni().await?;
//! let Err(error) = recv.read_to_end(64).await else { panic!("it looked complete") };
//! assert!(error.to_string().contains("reset by the peer with code 0"));
//!
//! let mut send = client.open_uni().await?;
//! send.announce();
//! server.accept_uni().await?.stop(VarInt::from_u32(7))?;
//! assert_eq!(send.stopped().await?, Some(VarInt::from_u32(7)));
//! let error = send.write(b"x").await.unwrap_err();
//! assert!(matches!(error, WriteError::Stopped(code) if code == 7u32.into()));
//! # Ok(())
//! # }
//! ```
//!
//! # The connection
//!
//! | | new streams | open streams | bytes not sent yet | the peer sees |
//! |---|---|---|---|---|
//! | [`close(code, reason)`] | fail | fail | lost | code and reason, at once |
//! | [`drain()`] | opening fails at this end; streams that the peer opens are refused; a wsmux peer on the QMux wire gets a notice first, and its streams are accepted until it has answered the notice, for 5 s at most; on the js-ws wire, streams that wait above the stream limit are refused too | continue until they end | sent | code 0, when all have ended |
//! | [`drain_timeout(t)`] | the same | continue, for `t` at most; then fail | sent, within `t` | code 0; after `t` with reason `shutdown deadline` |
//! | drop of the last handle | | | lost | code 0, at once |
//!
//! **Handles** are the clones of [`WebSocketConnection`], the halves of its streams, and the
//! futures of `stopped`. The connection stays open while any handle is left.
//!
//! **A drain waits for the application too.** The drain ends when two conditions hold: the
//! application has accepted all streams that the peer opened before the drain, and every stream has
//! ended in both directions. A sending half ends when the application finishes, resets or drops it.
//! A receiving half ends when the application reads it to the end, stops or drops it. If a struct
//! keeps a stream that nobody uses, the drain never ends. So a program that must end should use
//! `drain_timeout`. `drain` and `drain_timeout` only begin the drain. To wait for the end of the
//! drain, await `closed()`, and keep a handle until `closed()` returns.
//!
//! **[`closed()`]** waits until the socket is gone, and returns why the connection ended. After a
//! close, it waits until the peer has answered and both ends have ended the underlying stream, or
//! until [`close_timeout`](crate::Config::close_timeout) has passed.
//!
//! **[`close_reason()`]** returns the same error without waiting. The error is available as soon as
//! the connection has begun to end. Every handle reports the first cause; later causes change
//! nothing.
//!
//! # What can still be read afterwards
//!
//! Everything that arrived before the connection ended can still be read, no matter which side
//! closed it. A stream's bytes come first, then `None` if its end had arrived, and
//! [`ReadError::ConnectionLost`] otherwise. Streams that the application had not accepted yet can
//! still be accepted, and datagrams can still be read, until none are left. Writes, opens and
//! outgoing datagrams fail at once.
//!
//! ```
//! # use wsmux::{Config, ConnectionInfo, Side, WebSocketConnection, Wire, socket::memory_pair};
//! use wsmux::{ConnectionError, VarInt};
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (left, right) = memory_pair(64 * 1024);
//! # let end = |socket, side| WebSocketConnection::from_socket(
//! #     socket, side, Wire::QMux, Config::default(), ConnectionInfo::default());
//! # let (client, server) = (end(left, Side::Client), end(right, Side::Server));
//! let mut send = client.open_uni().await?;
//! send.write_all(b"last words").await?;
//! send.finish()?;
//! send.stopped().await?; // the socket has it all
//! client.close(VarInt::from_u32(3), b"done");
//!
//! let ConnectionError::ApplicationClosed(close) = server.closed().await else { panic!() };
//! assert_eq!((close.error_code, &close.reason[..]), (3u32.into(), &b"done"[..]));
//! assert_eq!(server.accept_uni().await?.read_to_end(64).await?, b"last words");
//! assert!(server.accept_uni().await.is_err());
//! # Ok(())
//! # }
//! ```
//!
//! # To end a process without losing data
//!
//! When a program returns from `main`, its sockets are closed. So take these steps first:
//!
//! 1. Finish the streams that should be complete, and drop the others.
//! 2. If you must know that something was *processed*, let the peer say so, and read its answer.
//! 3. Call `connection.drain_timeout(limit)`, which sends every byte that a write accepted, and
//!    `connection.closed().await`, which waits for the closing handshake.
//!
//! ```
//! use std::time::Duration;
//! use wsmux::{ConnectionError, WebSocketClient, WebSocketServer};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = WebSocketServer::builder().bind("127.0.0.1:0").await?;
//! let url = format!("ws://{}/", server.local_addr()?);
//! tokio::spawn(async move {
//!     let connection = server.accept().await?.await.ok()?;
//!     let (mut send, mut recv) = connection.accept_bi().await.ok()?.into_split();
//!     recv.read_to_end(1 << 20).await.ok()?;
//!     send.write_all(b"got it").await.ok()?;
//!     send.finish().ok()?;
//!     connection.closed().await; // dropping the last handle now would lose the answer
//!     Some(())
//! });
//!
//! let connection = WebSocketClient::builder().build()?.connect(&url).await?;
//! let (mut send, mut recv) = connection.open_bi().await?.into_split();
//! send.write_all(&[7; 100_000]).await?;
//! send.finish()?;
//! assert_eq!(recv.read_to_end(64).await?, b"got it");
//! drop((send, recv));
//! connection.drain_timeout(Duration::from_secs(10));
//! let end = connection.closed().await;
//! assert!(matches!(end, ConnectionError::LocallyClosed));
//! # Ok(())
//! # }
//! ```
//!
//! A server first calls [`WebSocketServer::close`](crate::WebSocketServer::close), which ends its
//! accept loop and does not affect open connections. After that the server drains each open
//! connection.
//!
//! If `closed` returns [`ConnectionError::LocallyClosed`] after a drain, this end closed the
//! connection. This error does not say whether the streams ended in time, nor whether the peer
//! answered. If both ends drain, either of them may close, and the other end gets
//! [`ConnectionError::ApplicationClosed`] with code 0. Any other error says that the connection
//! ended before the drain was complete, and that data may be lost.
//!
//! # WebSocket close codes
//!
//! When a connection ends, each endpoint also sends a WebSocket Close, for proxies, browsers and
//! logs. The code of this Close depends on the cause:
//!
//! | what ends the connection | code |
//! |---|---|
//! | `close(0, ..)`, `drain`, the last handle's drop | 1000 |
//! | `close` with 1 to 999 | 4000 + code |
//! | `close` with 3000 to 3999 | the code itself |
//! | `close` with any other code | 4999 |
//! | the peer broke the protocol | 1002; 1009 for a message that is too long |
//! | a timeout | 1001 |
//!
//! On the QMux wire this mapping of codes loses no information, because a CONNECTION_CLOSE frame
//! with the whole code is sent first. On that wire a WebSocket Close without this frame does not
//! come from an application, and is reported as [`ConnectionError::ConnectionClosed`]. On the js-ws
//! wire only the WebSocket code arrives: 1000 and 4000 become 0, 4001 to 4999 become the code minus
//! 4000, 3000 to 3999 stay as they are, and any other code is
//! [`ConnectionError::ConnectionClosed`]. A reason may have 123 bytes on the js-ws wire, and 1,024
//! on the QMux wire.
//!
//! # The byte stream below the WebSocket
//!
//! When a connection ends, the byte stream below it ends properly, too: with close_notify under
//! TLS, with END_STREAM on HTTP/2, with a FIN on TCP. So no server, proxy or log mistakes the end
//! of the connection for a truncated stream. The server ends its direction first and the client
//! follows (RFC 6455 §7.1.1), so that no TCP reset destroys the last bytes of either end. If the
//! byte stream ends in any other way, something cut it off: a process was killed, a runtime was
//! dropped, or a Close could not be sent in time.
//!
//! # Errors say who caused the end
//!
//! Each operation has its own small error type. If the operation failed because the connection
//! ended, the error contains the [`ConnectionError`], and
//! [`culprit`](crate::ConnectionError::culprit) says who ended the connection:
//!
//! | error | [`Culprit`](crate::Culprit) | meaning |
//! |---|---|---|
//! | `LocallyClosed` | `Local` | this end called `close` or `drain`, or dropped its last handle |
//! | `DriverLost` | `Local` | the connection's task panicked, or its runtime ended; the peer received no close |
//! | `ApplicationClosed` | `Peer` | the peer's application closed, with code and reason |
//! | `ConnectionClosed` | `Peer` | the peer's protocol layer closed, with its reason |
//! | `TransportError`, `TextMessage`, `MessageTooLarge`, `WebSocketProtocol` | `Peer` | the peer broke the protocol, and this end noticed the violation |
//! | `SocketLost` | `Network` | the socket ended or failed without a closing handshake |
//! | `TimedOut` | `Timeout` | nothing was received during the handshake, for the whole idle timeout, or in answer to a ping; or the peer read nothing |
//!
//! The errors of connecting, accepting, opening, reading and writing convert into
//! [`std::io::Error`] with a fitting kind, and with the original inside.
//!
//! [`ConnectionError`]: crate::ConnectionError
//! [`ConnectionError::ApplicationClosed`]: crate::ConnectionError::ApplicationClosed
//! [`ConnectionError::ConnectionClosed`]: crate::ConnectionError::ConnectionClosed
//! [`ConnectionError::LocallyClosed`]: crate::ConnectionError::LocallyClosed
//! [`ReadError::ConnectionLost`]: crate::ReadError::ConnectionLost
//! [`ReadError::Reset`]: crate::ReadError::Reset
//! [`WebSocketConnection`]: crate::WebSocketConnection
//! [`WebSocketStream`]: crate::WebSocketStream
//! [`WriteError::Stopped`]: crate::WriteError::Stopped
//! [`close(code, reason)`]: crate::WebSocketConnection::close
//! [`close_reason()`]: crate::WebSocketConnection::close_reason
//! [`closed()`]: crate::WebSocketConnection::closed
//! [`drain()`]: crate::WebSocketConnection::drain
//! [`drain_timeout(t)`]: crate::WebSocketConnection::drain_timeout
