//! What happens when a future is dropped before it completes, for each async method.
//!
//! A future is dropped by `select!` when another branch completes first, by a timeout, or together
//! with its task. A method is *cancel safe* if dropping its future neither loses nor duplicates
//! anything. A second call then continues as if the first call had not been made. Nearly all
//! methods here are cancel safe, because they first wait and then act in one step.
//!
//! # The table
//!
//! | method | safe | when its future is dropped |
//! |---|---|---|
//! | [`SendStream::write`](crate::SendStream::write) | yes | nothing has been taken |
//! | [`SendStream::write_chunk`](crate::SendStream::write_chunk) | yes | nothing has been taken; the chunk is dropped, so keep a clone |
//! | [`SendStream::write_all`](crate::SendStream::write_all) | **no** | some bytes may have been taken; how many is unknown |
//! | [`SendStream::stopped`](crate::SendStream::stopped) | yes | nothing changes |
//! | [`RecvStream::read`](crate::RecvStream::read), [`read_chunk`](crate::RecvStream::read_chunk) | yes | no byte has been read |
//! | [`RecvStream::read_exact`](crate::RecvStream::read_exact) | **no** | some bytes may have been read into the buffer; how many is unknown |
//! | [`RecvStream::read_to_end`](crate::RecvStream::read_to_end) | **no** | the bytes that it has read are lost |
//! | [`RecvStream::received_reset`](crate::RecvStream::received_reset) | yes | nothing changes |
//! | [`open_bi`](crate::WebSocketConnection::open_bi), [`open_uni`](crate::WebSocketConnection::open_uni) | yes | no stream has been opened; the call loses its place in the queue of waiting calls |
//! | [`accept_bi`](crate::WebSocketConnection::accept_bi), [`accept_uni`](crate::WebSocketConnection::accept_uni) | yes | the stream goes to the next waiting task, or to the next call |
//! | [`send_datagram_wait`](crate::WebSocketConnection::send_datagram_wait) | yes | the datagram has not been sent and is dropped, so keep a clone; the call loses its place in the queue of waiting calls |
//! | [`read_datagram`](crate::WebSocketConnection::read_datagram) | yes | the datagram goes to the next waiting task, or to the next call |
//! | [`established`](crate::WebSocketConnection::established), [`closed`](crate::WebSocketConnection::closed) | yes | nothing changes |
//! | [`WebSocketClient::connect`](crate::WebSocketClient::connect), [`from_io`](crate::WebSocketClient::from_io) | | the attempt is abandoned and its socket closed |
//! | [`ReconnectingClient::connection`](crate::ReconnectingClient::connection) | yes | dialling continues |
//! | [`ReconnectingClient::open_bi`](crate::ReconnectingClient::open_bi), [`open_uni`](crate::ReconnectingClient::open_uni) | yes | no stream is opened, and dialling continues |
//! | [`ReconnectEvents::next`](crate::ReconnectEvents::next) | yes | the event waits for the next call |
//! | [`WebSocketServer::accept`](crate::WebSocketServer::accept) | yes | the client waits for the next call |
//! | awaiting a [`Connecting`](crate::Connecting) | | the client's socket is closed; await `&mut connecting` to continue later |
//! | [`WebSocketAcceptor::from_io`](crate::WebSocketAcceptor::from_io) | | the stream of bytes is dropped |
//! | [`from_websocket`](crate::WebSocketConnection::from_websocket) | | the connection is closed |
//!
//! tokio's extension traits `AsyncReadExt` and `AsyncWriteExt` keep their documented guarantees
//! with these streams. `read`, `read_buf`, `write`, `write_buf` and `flush` are cancel safe;
//! `read_exact`, `read_to_end`, `write_all` and `copy` are not cancel safe. `shutdown` finishes the
//! stream at once, and can be called again.
//!
//! Methods that are not async act at once, so there is nothing to cancel: `finish`, `reset`,
//! `stop`, `announce`, `close`, `drain`, `drain_timeout`, `set_drain_with_peer`, `send_datagram`.
//!
//! # write, write_all, write_chunk
//!
//! - `write` takes as many bytes as fit into the send buffer and returns how many it took. In a
//!   `select!`, keep the remaining bytes yourself.
//! - `write_chunk` takes the whole chunk or nothing, and does not copy it, so it is the simplest
//!   method to use in a `select!`. Keep chunks small relative to the [send
//!   buffer](crate::Config::send_buffer), because a chunk is taken even if it is larger than the
//!   room that is left.
//! - `write_all` is for code that is never cancelled, or that abandons the stream when it is
//!   cancelled.
//!
//! Abandoning the stream is common and safe. When a timeout around a whole request expires, the
//! stream is dropped together with the request. The drop resets the stream, so the peer sees an
//! error instead of half a message that looks complete.
//!
//! ```
//! use std::time::Duration;
//! use tokio::time::timeout;
//! use wsmux::WebSocketConnection;
//! # use wsmux::{Config, ConnectionInfo, Side, Wire, socket::memory_pair};
//!
//! type Error = Box<dyn std::error::Error + Send + Sync>;
//!
//! async fn request(connection: &WebSocketConnection, body: &[u8]) -> Result<Vec<u8>, Error> {
//!     let (mut send, mut recv) = connection.open_bi().await?.into_split();
//!     send.write_all(body).await?;
//!     send.finish()?;
//!     Ok(recv.read_to_end(64 * 1024).await?)
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Error> {
//! # let (left, right) = memory_pair(64 * 1024);
//! # let end = |socket, side| WebSocketConnection::from_socket(
//! #     socket, side, Wire::QMux, Config::default(), ConnectionInfo::default());
//! # let (connection, server) = (end(left, Side::Client), end(right, Side::Server));
//! // Nobody answers, so the timeout drops the stream. The connection stays open.
//! assert!(timeout(Duration::from_millis(10), request(&connection, b"?")).await.is_err());
//! assert!(connection.close_reason().is_none());
//! # Ok(())
//! # }
//! ```
//!
//! # A loop that reads and writes
//!
//! This loop keeps each chunk until `write_chunk` has taken it, and passes a clone. So a chunk
//! whose write was cancelled is still there in the next round:
//!
//! ```
//! use bytes::Bytes;
//! use tokio::sync::mpsc;
//! use wsmux::WebSocketStream;
//! # use wsmux::{Config, ConnectionInfo, Side, WebSocketConnection, Wire, socket::memory_pair};
//!
//! type Error = Box<dyn std::error::Error + Send + Sync>;
//!
//! /// Sends the chunks of `outbox` until it is closed. Returns how many bytes the peer sent.
//! async fn pump(
//!     stream: &mut WebSocketStream,
//!     mut outbox: mpsc::Receiver<Bytes>,
//! ) -> Result<usize, Error> {
//!     let (send, recv) = stream.split();
//!     let (mut waiting, mut open, mut received) = (None::<Bytes>, true, 0);
//!     loop {
//!         tokio::select! {
//!             chunk = outbox.recv(), if open && waiting.is_none() => match chunk {
//!                 Some(chunk) => waiting = Some(chunk),
//!                 None => {
//!                     open = false;
//!                     send.finish()?;
//!                 }
//!             },
//!             written = send.write_chunk(waiting.clone().unwrap_or_default()),
//!                 if waiting.is_some() =>
//!             {
//!                 written?;
//!                 waiting = None;
//!             }
//!             chunk = recv.read_chunk(16 * 1024) => match chunk? {
//!                 Some(chunk) => received += chunk.len(),
//!                 None => return Ok(received),
//!             },
//!         }
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Error> {
//! # let (left, right) = memory_pair(64 * 1024);
//! # let end = |socket, side| WebSocketConnection::from_socket(
//! #     socket, side, Wire::QMux, Config::default(), ConnectionInfo::default());
//! # let (client, server) = (end(left, Side::Client), end(right, Side::Server));
//! # let echo = tokio::spawn(async move {
//! #     let (mut send, mut recv) = server.accept_bi().await.unwrap().into_split();
//! #     while let Some(chunk) = recv.read_chunk(usize::MAX).await.unwrap() {
//! #         send.write_chunk(chunk).await.unwrap();
//! #     }
//! #     send.finish().unwrap();
//! #     server.closed().await;
//! # });
//! let (tx, rx) = mpsc::channel(1);
//! let mut stream = client.open_bi().await?;
//! let sender = async {
//!     for _ in 0..100 {
//!         tx.send(Bytes::from(vec![7; 10_000])).await?;
//!     }
//!     drop(tx);
//!     Ok::<_, Error>(())
//! };
//! let (sent, received) = tokio::join!(sender, pump(&mut stream, rx));
//! sent?;
//! assert_eq!(received?, 1_000_000);
//! # drop((stream, client));
//! # echo.await?;
//! # Ok(())
//! # }
//! ```
//!
//! To use a read that is not cancel safe in such a loop, keep its future. Pin the future outside
//! the loop, and poll `&mut future` in the `select!`. Or give each half its own task, with
//! [`into_split`](crate::WebSocketStream::into_split).
