//! The connection and its streams for threads without a runtime: calls that wait, and streams that are
//! [`std::io::Read`] and [`std::io::Write`].
//!
//! ```
//! use std::{
//!     io::{Read, Write},
//!     thread,
//! };
//!
//! use wsmux::blocking::{WebSocketClient, WebSocketServer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = WebSocketServer::bind("127.0.0.1:0", wsmux::WebSocketServer::builder().build()?)?;
//! let url = format!("ws://{}/", server.local_addr()?);
//! let serving = thread::spawn(move || -> std::io::Result<()> {
//!     // A server of many clients does all this in a thread for each.
//!     let Some(connecting) = server.accept() else { return Ok(()) };
//!     let connection = connecting.wait()?;
//!     while let Ok(stream) = connection.accept_bi() {
//!         thread::spawn(move || -> std::io::Result<()> {
//!             let (mut send, mut recv) = stream.into_split();
//!             std::io::copy(&mut recv, &mut send)?;
//!             Ok(send.finish()?)
//!         });
//!     }
//!     Ok(())
//! });
//!
//! let client = WebSocketClient::new(wsmux::WebSocketClient::builder().build()?)?;
//! let connection = client.connect(&url)?;
//! let (mut send, mut recv) = connection.open_bi()?.into_split();
//! send.write_all(b"hello")?;
//! send.finish()?;
//! let mut answer = String::new();
//! recv.read_to_string(&mut answer)?;
//! assert_eq!(answer, "hello");
//! connection.drain();
//! connection.closed();
//! # serving.join().map_err(|_| "the server failed")??;
//! # Ok(())
//! # }
//! ```
//!
//! # What differs
//! Engine, driver and promises are those of the [async connection](crate::WebSocketConnection); so are drops: an
//! unfinished sender that is dropped **resets** its stream, for `Write` has no word for the end. Say
//! [`finish`](SendStream::finish). The last handle that is dropped closes the connection and what was not sent
//! is lost: [`drain`](WebSocketConnection::drain) before that, or wait for the peer's answer.
//!
//! A thread that waits is parked and costs no processor. What ends its wait early is a
//! [timeout](RecvStream::set_read_timeout), or another thread that closes the connection through a clone of the
//! handle. Nothing is lost by a timeout.
//!
//! # Threads
//! One thread in the background carries the messages of all connections of a [`WebSocketClient`] and its
//! clones, or of a [`WebSocketServer`]. It ends once that is dropped and its connections are gone, each of which
//! tells its peer first and is given the [close timeout](crate::Config::close_timeout) for that. A handshake,
//! with its TLS and the server's [`authorize`](crate::WebSocketServerBuilder::authorize), is done by the
//! thread that waits for it. A task that such a hook spawns runs in the background, and is dropped where it is when
//! that thread ends.
//!
//! # Within an async runtime
//! Nothing here panics there, and all of it works, but a call that waits holds up the thread that it is called
//! from, with every other task that this has to run: `spawn_blocking` is the place for it. One case cannot
//! work: to wait on a thread for a connection whose own driver has to run on that same thread. Connections of
//! this module's clients and servers never do; one made by
//! [`from_async`](WebSocketConnection::from_async) does if it was made in a runtime of a single thread and
//! is waited for in that thread.

mod background;
mod client;
mod connection;
mod error;
mod recv_stream;
mod send_stream;
mod server;
mod stream;
mod wait;

pub(crate) use self::background::carry;
pub use self::{
    client::WebSocketClient,
    connection::WebSocketConnection,
    error::WaitError,
    recv_stream::RecvStream,
    send_stream::SendStream,
    server::{Connecting, WebSocketServer},
    stream::{JoinError, WebSocketStream},
};
