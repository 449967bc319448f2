//! How streams and connections end, what can still be read then, and how to end a process without losing data.
//!
//! # Streams
//!
//! Each half of a stream ends on its own.
//!
//! | call | on | the peer sees |
//! |---|---|---|
//! | [`finish`](crate::SendStream::finish) | sending half | all bytes, then the end: `read` gives `None` |
//! | [`reset(code)`](crate::SendStream::reset) | sending half | [`ReadError::Reset`] with the code; bytes that were not read yet are gone, on both ends |
//! | drop, unfinished | sending half | as `reset(0)` |
//! | drop, after `finish` | sending half | as `finish`: bytes and end still leave, as long as the connection lives |
//! | [`stop(code)`](crate::RecvStream::stop) | receiving half | [`WriteError::Stopped`] with the code |
//! | drop, before the end was read | receiving half | as `stop(0)`; nothing, if the end had come |
//! | drop of a [`WebSocketStream`] | both | both of the above |
//!
//! **A drop is never an end that looks complete.** Only `finish`, or tokio's `shutdown`, which calls it, says that
//! nothing is missing. A task that panics or is cancelled in the middle of a response therefore shows as an
//! error at the peer.
//!
//! `finish` returns at once. It fails when the half had ended already, and says how: with [`WriteError::Stopped`]
//! the peer had lost interest before. After it, `reset` still works as long as the end has not left.
//! [`stopped`](crate::SendStream::stopped) waits for the stream's fate: `None` when the end has been handed
//! to the socket, `Some(code)` when the peer stopped the stream first. Neither answer says that the peer's application has read anything; only its own words do.
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
//! assert!(matches!(send.write(b"x").await, Err(WriteError::Stopped(code)) if code == 7u32.into()));
//! # Ok(())
//! # }
//! ```
//!
//! # The connection
//!
//! | | new streams | open streams | bytes not sent yet | the peer sees |
//! |---|---|---|---|---|
//! | [`close(code, reason)`] | fail | fail | lost | code and reason, at once |
//! | [`shutdown()`] | fail here; the peer's are refused, waiting ones included (js-ws) | go on to their ends | sent | code 0, when all have ended |
//! | [`shutdown_timeout(t)`] | the same | go on, for `t` at most; then fail | sent, within `t` | code 0; past `t` with reason `shutdown deadline` |
//! | drop of the last handle | | | lost | code 0, at once |
//!
//! **Handles** are the clones of [`WebSocketConnection`], its streams' halves, and the futures of `shutdown` and
//! `stopped`. As long as one is left the connection lives, even if the others are gone.
//!
//! **A shutdown waits for the application too**: it is over when every stream has been finished or reset,
//! read to its end or dropped, and those that the peer opened before have been accepted. A stream that sits
//! unused in some struct holds it up for ever, so a program that must end uses `shutdown_timeout`. It
//! begins with the call; the future may be dropped, as long as another handle stays.
//!
//! **[`closed()`]** waits until the socket is gone, and tells why the connection ended. After a close that is when
//! the peer has answered and both ends have ended the stream below, or when
//! [`close_timeout`](crate::Config::close_timeout) has passed.
//! **[`close_reason()`]** tells the same without waiting, as soon as the end has begun. The first cause is the one that
//! is told, on every handle; later ones change nothing.
//!
//! # What is readable afterwards
//!
//! Everything that had come before the end, whoever brought it about: a stream's bytes, and then `None` if its end
//! had come, else [`ReadError::ConnectionLost`]; streams that were not accepted yet, and datagrams, until there are
//! none left. Writes, opens and datagrams to send fail at once.
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
//! A program that returns from `main` takes its sockets with it. So:
//!
//! 1. Finish the streams that are to be complete, and drop the others.
//! 2. What must be known to have been *processed*, the peer has to say: read its answer.
//! 3. `connection.shutdown_timeout(limit).await`. Every byte that a write accepted is sent, and the closing
//!    handshake is waited for.
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
//! let end = connection.shutdown_timeout(Duration::from_secs(10)).await;
//! assert!(matches!(end, ConnectionError::LocallyClosed));
//! # Ok(())
//! # }
//! ```
//!
//! A server first calls [`WebSocketServer::close`](crate::WebSocketServer::close), which ends its accept loop and
//! leaves connections alone, and then shuts each of them down.
//!
//! [`ConnectionError::LocallyClosed`] from a shutdown says that this end closed. It does not say whether the
//! streams were done in time, nor whether the peer answered; any other error says that the connection ended
//! before, and data may be lost.
//!
//! # WebSocket close codes
//!
//! Each wsmux end also sends a WebSocket Close, for proxies, browsers and logs:
//!
//! | what ends the connection | code |
//! |---|---|
//! | `close(0, ..)`, `shutdown`, the last handle's drop | 1000 |
//! | `close` with 1 to 999 | 4000 + code |
//! | `close` with 3000 to 3999 | the code itself |
//! | `close` with any other code | 4999 |
//! | the peer broke the protocol | 1002; 1009 for a message that is too long |
//! | a timeout | 1001 |
//!
//! On the QMux wire this loses nothing, because a CONNECTION_CLOSE frame with the whole code goes before it; there
//! a bare WebSocket Close is never taken for the application's word, but reported as
//! [`ConnectionError::ConnectionClosed`]. On the js-ws wire it is all there is: 1000 and 4000 come back as 0, 4001 to
//! 4999 less 4000, 3000 to 3999 as they are, and any other as [`ConnectionError::ConnectionClosed`].
//! A reason has room for 123 bytes there, and for 1,024 on the QMux wire.
//!
//! # What carries the WebSocket
//!
//! The stream below is ended, and not dropped: under TLS by a close_notify, over HTTP/2 by END_STREAM, on TCP by a FIN,
//! so that no server, proxy or log takes the end for one that was cut off. The server ends its direction first and the
//! client after it (RFC 6455 §7.1.1); then neither's last bytes are destroyed by a reset. A stream that ends in any other
//! way was cut off: a process was killed, a runtime was dropped, a Close could not be sent in time.
//!
//! # Errors say who
//!
//! Each operation has its own small error. Where it is the connection that ended, the [`ConnectionError`] is inside,
//! and [`culprit`](crate::ConnectionError::culprit) sums it up:
//!
//! | error | [`Culprit`](crate::Culprit) | meaning |
//! |---|---|---|
//! | `LocallyClosed` | `Local` | `close`, `shutdown` or drop, here |
//! | `DriverLost` | `Local` | the connection's task panicked, or its runtime ended; nothing was said to the peer |
//! | `ApplicationClosed` | `Peer` | the peer's application closed, with code and reason |
//! | `ConnectionClosed` | `Peer` | the peer's protocol layer closed; it says what it found wrong with us |
//! | `TransportError`, `TextMessage`, `MessageTooLarge`, `WebSocketProtocol` | `Peer` | the peer broke the rules, as found here |
//! | `Reset` | `Network` | the socket ended or failed without a closing handshake |
//! | `TimedOut` | `Timeout` | silence: in the handshake, when idle, or after a ping; or a peer that reads nothing |
//!
//! The errors of connecting, accepting, opening, reading and writing turn into [`std::io::Error`] with a fitting
//! kind, and the original inside.
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
//! [`shutdown()`]: crate::WebSocketConnection::shutdown
//! [`shutdown_timeout(t)`]: crate::WebSocketConnection::shutdown_timeout
