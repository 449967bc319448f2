//! The blocking API, for threads without a runtime. Its calls block the thread, and its streams
//! implement [`std::io::Read`] and [`std::io::Write`].
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
//!     // With several clients, run this part in one thread per client.
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
//! A connection has the same engine, driver and guarantees as the [async
//! connection](crate::WebSocketConnection), and dropping a handle has the same effect. A
//! [`SendStream`] that is dropped unfinished **resets** its stream. `Write` has no way to signal
//! the end, so call [`finish`](SendStream::finish). Dropping the last handle closes the connection,
//! and unsent data is lost. Before you drop the last handle, call
//! [`drain`](WebSocketConnection::drain), or wait for the peer's answer.
//!
//! A waiting thread is parked and uses no CPU time. The wait ends early if a
//! [timeout](RecvStream::set_read_timeout) expires, or if another thread closes the connection
//! through a clone of the handle. A timeout loses no data.
//!
//! # Threads
//! One background thread sends and receives the messages of all connections of a
//! [`WebSocketClient`] and its clones, or of a [`WebSocketServer`]. The thread ends once the client
//! or server has been dropped and its connections have ended. Before a connection ends, it sends
//! its close. Sending the close may take as long as the [close
//! timeout](crate::Config::close_timeout). A handshake runs on the thread that waits for it,
//! including TLS and the server's [`authorize`](crate::WebSocketServerBuilder::authorize) hook. A
//! task that such a hook spawns runs on the background thread, and is dropped when that thread
//! ends.
//!
//! # Within an async runtime
//! The blocking API also works within an async runtime, and never panics there. But a call that
//! waits blocks the calling thread, and every other task of that thread has to wait too. Use
//! `spawn_blocking` to avoid this. Only one case does not work: a thread cannot wait for a
//! connection whose driver has to run on the same thread. With connections of this module's clients
//! and servers, this case cannot occur. With a connection that was made by
//! [`from_async`](WebSocketConnection::from_async), it occurs if the connection's runtime has a
//! single thread and this thread waits for the connection.

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
