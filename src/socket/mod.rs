//! The interface between a connection and the WebSocket below it, and its implementations.

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
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;

#[cfg(not(target_family = "wasm"))]
pub(crate) use self::framed::FramedSocket;
pub use self::memory::{MemorySocket, MemoryStall, memory_pair};
#[cfg(all(feature = "tungstenite", not(target_family = "wasm")))]
pub use self::tungstenite::TungsteniteSocket;
pub use crate::proto::SocketCapabilities;
use crate::{
    proto::{MessageBuf, SocketError},
    runtime::MaybeSend,
};

/// One WebSocket, after its handshake: whole messages in, whole messages out.
///
/// The two directions are independent: a socket that cannot write still reads. The socket handles
/// control frames: it answers pings (one pending answer is enough, RFC 6455 §5.5.3) and the peer's
/// Close.
///
/// # The end
/// When both Closes have been sent, the connection calls [`poll_flush`](Self::poll_flush) and
/// [`poll_recv`](Self::poll_recv) until the latter returns an error, but no longer than the rest of
/// the [close timeout](crate::Config::close_timeout). Then it calls
/// [`poll_shutdown`](Self::poll_shutdown) at least once, until it is ready or the time is up, and
/// drops the socket.
/// ready or the time is up, at least once, and drops the socket.
pub trait Socket: MaybeSend + 'static {
    /// What the socket can do besides carrying messages. Called once, before any other method. By
    /// default the socket can do everything.
    fn capabilities(&self) -> SocketCapabilities {
        SocketCapabilities::default()
    }

    /// Returns the next message. It is not called again after an error. Data that arrives after the
    /// peer's Close is discarded, by the socket or by its caller; the end of the stream is still
    /// awaited. A server's socket ends its own direction here once both Closes have been sent,
    /// because the client waits for that (RFC 6455 §7.1.1).
    ///
    /// A message's `Bytes` may share memory with other messages, but must not keep more than twice
    /// its own length allocated: limits on a peer's data count only the bytes of its messages.
    ///
    /// # Errors
    /// [`SocketError::Eof`] if the stream has ended, [`SocketError::Io`] if reading failed.
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, SocketError>>;

    /// Waits until [`start_send`](Self::start_send) may be called. Returns `Pending` while more
    /// than about 128 KiB plus one message is queued below the scheduler.
    ///
    /// # Errors
    /// [`SocketError`] if writing failed.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>>;

    /// Accepts one item, after [`poll_ready`](Self::poll_ready) has returned `Ready`. Several items
    /// may be sent before a flush.
    ///
    /// # Errors
    /// [`SocketError`] if writing failed.
    fn start_send(&mut self, item: Outgoing<'_>) -> Result<(), SocketError>;

    /// Hands all accepted items, and the socket's own answers, to the operating system.
    ///
    /// # Errors
    /// [`SocketError`] if writing failed.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>>;

    /// Ends the outgoing direction of the byte stream below, so that the peer sees that nothing was
    /// cut off: with a `close_notify` under TLS (RFC 8446 §6.1), with END_STREAM on HTTP/2 (RFC
    /// 8441 §5), with a FIN on TCP. If the socket's Close has not been sent in full, it does
    /// nothing, because the peer has to see that the stream was cut off. It is called last, and may
    /// be called again after it was ready.
    ///
    /// The default does nothing. It is for a socket that has no such end, or that ends its stream
    /// by itself.
    ///
    /// # Errors
    /// [`SocketError`] if the stream could not be ended.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        let _ = cx;
        Poll::Ready(Ok(()))
    }

    /// Releases buffers that are not in use, because the connection has been quiet for a while.
    fn release_buffers(&mut self) {}

    /// The number of bytes received in total, including those of incomplete messages: a peer that
    /// sends a long message over a slow link is not silent. A socket that does not know it returns
    /// 0, and then only whole messages count.
    fn bytes_received(&self) -> u64 {
        0
    }

    /// The round-trip time of the path as measured by the operating system; `None` if it is
    /// unknown.
    fn rtt(&self) -> Option<Duration> {
        None
    }
}

/// An item that a socket receives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incoming {
    /// A binary message, in one piece.
    Message(Bytes),
    /// A text message, whose content is ignored.
    Text,
    /// A message larger than the socket's limit.
    TooLarge,
    /// A violation of the WebSocket protocol, in words.
    ProtocolError(String),
    /// A ping; the socket answers it.
    Ping,
    /// A pong, with its payload.
    Pong(Bytes),
    /// The peer's Close; the socket answers it.
    Close {
        /// The code, if there is one.
        code: Option<u16>,
        /// The reason.
        reason: String,
    },
}

/// An item that a socket sends.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outgoing<'a> {
    /// A binary message.
    Message(&'a MessageBuf),
    /// A ping with this payload.
    Ping([u8; 8]),
    /// The Close, after which nothing is sent.
    Close {
        /// The code.
        code: u16,
        /// The reason, at most 123 bytes.
        reason: String,
    },
}
