//! The interface between a connection and the WebSocket below it, and the sockets that implement
//! this interface.

#[cfg(target_family = "wasm")]
pub(crate) mod browser;
#[cfg(not(target_family = "wasm"))]
mod framed;
mod memory;
#[cfg(not(target_family = "wasm"))]
mod quantum;
#[cfg(all(feature = "tls", not(target_family = "wasm")))]
mod read_ahead;
#[cfg(not(target_family = "wasm"))]
mod tcp;
#[cfg(all(feature = "tungstenite", not(target_family = "wasm")))]
mod tungstenite;

use std::{
    io,
    task::{Context, Poll},
    time::Duration,
};

use wsmux_proto::SocketError;

#[cfg(not(target_family = "wasm"))]
pub(crate) use self::framed::FramedSocket;
pub use self::memory::{MemorySocket, MemoryStall, memory_pair};
#[cfg(all(feature = "tls", not(target_family = "wasm")))]
pub(crate) use self::read_ahead::ReadAhead;
#[cfg(all(feature = "tungstenite", not(target_family = "wasm")))]
pub use self::tungstenite::TungsteniteSocket;
use crate::runtime::MaybeSend;
pub use wsmux_proto::{Incoming, Outgoing, SocketCapabilities};

/// One WebSocket after its opening handshake. A socket receives and sends complete messages.
///
/// The two directions are independent, so a socket that cannot write must still read. The socket
/// handles control frames: it answers the peer's Close and its pings. The socket may keep only the
/// newest unsent pong (RFC 6455 §5.5.3).
///
/// # The end
/// After both ends have sent a Close, the connection calls [`poll_flush`](Self::poll_flush) and
/// [`poll_recv`](Self::poll_recv) until `poll_recv` returns an error, or the [close
/// timeout](crate::Config::close_timeout) is over. Then it calls
/// [`poll_shutdown`](Self::poll_shutdown), at least once, until that method is ready or the close
/// timeout is over. Finally it drops the socket.
pub trait Socket: MaybeSend + 'static {
    /// Returns what the socket can do besides carrying messages. This method is called once, before
    /// any other method. By default the socket can do everything.
    fn capabilities(&self) -> SocketCapabilities {
        SocketCapabilities::default()
    }

    /// Receives the next item. This method is not called again after an error.
    ///
    /// After the peer's Close the method waits for the end of the stream. Whatever arrives after
    /// the Close is discarded, by the socket or by its caller. On a server, this method also ends
    /// the server's direction of the stream once both ends have sent a Close, because the client
    /// waits for the server to do so (RFC 6455 §7.1.1).
    ///
    /// The `Bytes` of a message may share memory with other messages. But a message must not keep
    /// more memory allocated than twice its own length, because the connection counts only the
    /// length against its limits.
    ///
    /// # Errors
    /// [`SocketError::Eof`] if the stream has ended, [`SocketError::Io`] if reading failed.
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, SocketError>>;

    /// Waits until [`start_send`](Self::start_send) may be called. The method should return
    /// `Pending` while about 128 KiB or more are queued in the socket and below, because an urgent
    /// message cannot overtake the bytes that are queued there.
    ///
    /// # Errors
    /// [`SocketError`] if writing failed.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>>;

    /// Accepts one item. This method is called once each time [`poll_ready`](Self::poll_ready) has
    /// returned `Ready`. A socket may collect several items before a flush. The item is never
    /// [`Outgoing::Flush`].
    ///
    /// # Errors
    /// [`SocketError`] when writing failed, or for an item that the socket does not know.
    fn start_send(&mut self, item: Outgoing<'_>) -> Result<(), SocketError>;

    /// Passes all items to the operating system, and also the pongs and the Close with which the
    /// socket answers the peer.
    ///
    /// # Errors
    /// [`SocketError`] if writing failed.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>>;

    /// Ends the outgoing direction of the stream below the WebSocket, so that the peer knows that
    /// nothing was cut off. The method sends TLS's `close_notify` (RFC 8446 §6.1), HTTP/2's
    /// END_STREAM (RFC 8441 §5) or TCP's FIN. If the socket's Close was not sent in full, the
    /// method does nothing, because the peer must notice that the stream was cut off. No other
    /// method is called after this method. This method may be called again after it has returned
    /// `Ready`.
    ///
    /// The default does nothing. The default suits two kinds of sockets: a socket whose stream has
    /// no such end, and a socket that ends its stream by itself.
    ///
    /// # Errors
    /// [`SocketError`] if the stream could not be ended.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        let _ = cx;
        Poll::Ready(Ok(()))
    }

    /// Frees unused buffers. This method is called when the connection has been silent, for example
    /// for a keep-alive interval. The default does nothing.
    fn release_buffers(&mut self) {}

    /// Returns how many bytes have been received in all, including those of incomplete messages.
    /// When a long message arrives over a slow link, the growing number shows that the peer is not
    /// silent. The default always returns 0. With the default, only complete messages show that the
    /// peer is not silent.
    fn bytes_received(&self) -> u64 {
        0
    }

    /// Returns the round-trip time of the path as measured by the operating system, or `None` if it
    /// is unknown.
    fn rtt(&self) -> Option<Duration> {
        None
    }

    /// Returns the size that messages of stream data should have at most on the present path, in
    /// bytes: what the path carries in about a millisecond. The socket should also keep no more than
    /// that in its own buffers, and in those of the operating system, before
    /// [`poll_ready`](Self::poll_ready) is pending. Then an urgent message does not wait long on a
    /// slow path. This method is called a few times a second while the connection is busy.
    ///
    /// The default always returns `None`, which leaves the size unchanged.
    fn send_quantum(&mut self) -> Option<usize> {
        None
    }
}

/// Returns the error for an item that a socket does not know.
pub(crate) fn unsupported() -> SocketError {
    io::Error::from(io::ErrorKind::Unsupported).into()
}
