//! How streams and connections end, what stays readable, and how to end a process without losing
//! data.
//!
//! # Streams
//!
//! Each half of a stream ends on its own.
//!
//! | call | on | the peer sees |
//! |---|---|---|
//! | [`finish`](crate::SendStream::finish) | sending half | all bytes, then the end: `read` returns `None` |
//! | [`reset(code)`](crate::SendStream::reset) | sending half | [`ReadError::Reset`] with the code; unread bytes are discarded on both ends |
//! | drop, unfinished | sending half | as `reset(0)` |
//! | drop, after `finish` | sending half | as `finish`: bytes and end are still sent, as long as the connection lasts |
//! | [`stop(code)`](crate::RecvStream::stop) | receiving half | [`WriteError::Stopped`] with the code |
//! | drop, before the end was read | receiving half | as `stop(0)`; nothing, if the end had arrived |
//! | drop of a [`WebSocketStream`] | both | both of the above |
//!
//! **A drop never looks like a complete end.** The peer sees a complete end only after `finish`, or
//! after tokio's `shutdown`, which calls it. A task that panics or is cancelled in the middle of a
//! response therefore causes an error at the peer.
//!
//! `finish` returns at once. It fails if the half has already ended, and the error says how:
//! [`WriteError::Stopped`] means that the peer stopped the stream before. After `finish`, `reset`
//! still works until the end has been sent. [`stopped`](crate::SendStream::stopped) waits for the
//! outcome. `None` means that the end has been handed to the socket, and `Some(code)` that the peer
//! stopped the stream first. Neither outcome says that the peer's application has read anything.
//! Only an answer from that application does.
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
//! | [`drain()`] | fail here; the peer's are refused, including waiting ones (js-ws) | continue until they end | sent | code 0, when all have ended |
//! | [`drain_timeout(t)`] | the same | continue, for `t` at most; then fail | sent, within `t` | code 0; after `t` with reason `shutdown deadline` |
//! | drop of the last handle | | | lost | code 0, at once |
//!
//! **Handles** are the clones of [`WebSocketConnection`], the halves of its streams, and the
//! futures of `stopped`. The connection stays open while any handle is left.
//!
//! **A drain waits for the application too.** It ends when every stream has been finished or
//! reset, read to its end or dropped, and the application has accepted the streams that the peer
//! opened before. A stream that sits unused in a struct delays it for ever, so a program that must
//! end uses `drain_timeout`. A drain begins with the call; await `closed()` to wait for its end, and
//! keep a handle until then.
//!
//! **[`closed()`]** waits until the socket is gone, and returns why the connection ended. After a
//! close, it waits until the peer has answered and both ends have ended the underlying stream, or
//! until [`close_timeout`](crate::Config::close_timeout) has passed.
//!
//! **[`close_reason()`]** returns the same without waiting, as soon as the connection has begun to
//! end. Every handle reports the first cause; later causes change nothing.
//!
//! # What can still be read afterwards
//!
//! Everything that arrived before the end can still be read, no matter which end closed. A stream's
//! bytes come first, then `None` if its end had arrived, and [`ReadError::ConnectionLost`]
//! otherwise. Streams that were not accepted yet, and datagrams, can be taken until none are left.
//! Writes, opens and outgoing datagrams fail at once.
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
//! When a program returns from `main`, its sockets are closed. So:
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
//!     connection.closed().await; // not sooner: with the last handle the answer would go
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
//! accept loop and leaves connections alone. It then drains each of them.
//!
//! [`ConnectionError::LocallyClosed`] from a drain says that this end closed. It does not say
//! whether the streams ended in time, nor whether the peer answered. Any other error says that the
//! connection ended earlier, and that data may be lost.
//!
//! # WebSocket close codes
//!
//! Each endpoint also sends a WebSocket Close, for proxies, browsers and logs:
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
//! On the QMux wire this loses no information, because a CONNECTION_CLOSE frame with the whole code
//! is sent first. A bare WebSocket Close is not an application's close there, and is reported as
//! [`ConnectionError::ConnectionClosed`]. On the js-ws wire only the WebSocket code arrives: 1000
//! and 4000 become 0, 4001 to 4999 become the code minus 4000, 3000 to 3999 stay as they are, and
//! any other code is [`ConnectionError::ConnectionClosed`]. A reason may have 123 bytes there, and
//! 1,024 on the QMux wire.
//!
//! # The byte stream below the WebSocket
//!
//! The end of a connection also ends the byte stream below it properly: with close_notify under
//! TLS, with END_STREAM on HTTP/2, with a FIN on TCP. So no server, proxy or log mistakes the end
//! for a truncated stream. The server ends its direction first and the client follows (RFC 6455
//! §7.1.1), so that a TCP reset destroys neither end's last bytes. If the stream ends in any other
//! way, it was cut off: a process was killed, a runtime was dropped, or a Close could not be sent
//! in time.
//!
//! # Errors say who caused the end
//!
//! Each operation has its own small error. If the connection ended, that error contains the
//! [`ConnectionError`], and [`culprit`](crate::ConnectionError::culprit) says who caused it:
//!
//! | error | [`Culprit`](crate::Culprit) | meaning |
//! |---|---|---|
//! | `LocallyClosed` | `Local` | `close`, `drain` or drop, here |
//! | `DriverLost` | `Local` | the connection's task panicked, or its runtime ended; the peer received no close |
//! | `ApplicationClosed` | `Peer` | the peer's application closed, with code and reason |
//! | `ConnectionClosed` | `Peer` | the peer's protocol layer closed, with its reason |
//! | `TransportError`, `TextMessage`, `MessageTooLarge`, `WebSocketProtocol` | `Peer` | the peer broke the protocol, and this end noticed |
//! | `SocketLost` | `Network` | the socket ended or failed without a closing handshake |
//! | `TimedOut` | `Timeout` | nothing was received in the handshake, when idle, or after a ping; or the peer read nothing |
//!
//! The errors of connecting, accepting, opening, reading and writing convert into
//! [`std::io::Error`] with a fitting kind, and with the original inside.
//!
//! [`ConnectionError`]: crate::ConnectionError
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
