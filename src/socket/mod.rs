//! What a connection needs of the WebSocket below it, and the sockets that give it.

#[cfg(target_family = "wasm")]
pub(crate) mod browser;
#[cfg(not(target_family = "wasm"))]
mod framed;
mod memory;
#[cfg(not(target_family = "wasm"))]
mod tcp;
#[cfg(all(feature = "tungstenite", not(target_family = "wasm")))]
mod tungstenite;

use std::{
    io,
    task::{Context, Poll},
    time::Duration,
};

#[cfg(not(target_family = "wasm"))]
pub(crate) use self::framed::FramedSocket;
pub use self::memory::{MemorySocket, MemoryStall, memory_pair};
#[cfg(all(feature = "tungstenite", not(target_family = "wasm")))]
pub use self::tungstenite::TungsteniteSocket;
pub use crate::proto::{Incoming, Outgoing, SocketCapabilities};
use crate::{proto::SocketError, runtime::MaybeSend};

/// One WebSocket, after its handshake: whole messages in, whole messages out.
///
/// The two directions are independent: a socket that cannot write still reads. Control frames are the
/// socket's: it answers pings (one pending answer is enough, RFC 6455 §5.5.3) and the peer's Close.
///
/// # The end
/// When both Closes have been said, the connection goes on with [`poll_flush`](Self::poll_flush) and
/// [`poll_recv`](Self::poll_recv) until that gives an error, for the rest of the [close
/// timeout](crate::Config::close_timeout) at most. Then it calls [`poll_shutdown`](Self::poll_shutdown) until that is
/// ready or the time is up, at least once, and drops the socket.
pub trait Socket: MaybeSend + 'static {
    /// What the socket can do besides carrying messages. Called once, before any other method. By
    /// default the socket can do everything.
    fn capabilities(&self) -> SocketCapabilities {
        SocketCapabilities::default()
    }

    /// The next message. After an error it is not called again. What arrives after the peer's Close is thrown away, by
    /// the socket or by its caller; the end of the stream is still waited for. A server's socket ends its own
    /// direction here once both Closes have been said, because the client waits for that (RFC 6455 §7.1.1).
    ///
    /// A message's `Bytes` may share the memory of others that came with it, but keep alive no more than twice
    /// their own length: what a peer makes a connection hold is counted in their bytes.
    ///
    /// # Errors
    /// [`SocketError::Eof`] when the stream has ended, [`SocketError::Io`] when reading failed.
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, SocketError>>;

    /// Waits until [`start_send`](Self::start_send) may be called. It keeps back what would grow the bytes
    /// below the scheduler past some 128 KiB and one message.
    ///
    /// # Errors
    /// [`SocketError`] when writing failed.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>>;

    /// Takes one item, after [`poll_ready`](Self::poll_ready) said so. Several may be taken before a flush.
    ///
    /// # Errors
    /// [`SocketError`] when writing failed.
    fn start_send(&mut self, item: Outgoing<'_>) -> Result<(), SocketError>;

    /// Hands all that was taken, and the socket's own answers, to the operating system.
    ///
    /// # Errors
    /// [`SocketError`] when writing failed.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>>;

    /// Ends the outgoing direction of the stream below, so that the peer sees that nothing was cut off: by a `close_notify`
    /// under TLS (RFC 8446 §6.1), by END_STREAM on HTTP/2 (RFC 8441 §5), by a FIN on TCP. A socket whose Close has not
    /// left in full does nothing, because the peer has to see that its stream was cut off. It is called last, and again
    /// after it was ready.
    ///
    /// The default does nothing, for a socket that has no such end, or that ends its stream by itself.
    ///
    /// # Errors
    /// [`SocketError`] when the stream could not be ended.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        let _ = cx;
        Poll::Ready(Ok(()))
    }

    /// The connection has been quiet for a while: memory that waits for more to read or write can go.
    fn release_buffers(&mut self) {}

    /// How many bytes have come in all, those of messages that are not complete included: a peer that sends a long
    /// message over a slow link is not silent. 0 where the socket does not know, and then only whole messages count.
    fn bytes_received(&self) -> u64 {
        0
    }

    /// The round-trip time of the path as the operating system has measured it; `None` where it does not tell.
    fn rtt(&self) -> Option<Duration> {
        None
    }
}

/// The error of a socket that was given an item which this version does not know.
pub(crate) fn unsupported() -> SocketError {
    io::Error::from(io::ErrorKind::Unsupported).into()
}
