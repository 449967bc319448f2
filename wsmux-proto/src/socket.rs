//! The boundary to the WebSocket below a connection: what arrives from the WebSocket, what it has
//! to send, and what it cannot do.

use bytes::Bytes;

use super::MessageBuf;

/// Something that arrived from the WebSocket, for
/// [`Connection::handle`](crate::Connection::handle).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incoming {
    /// A complete binary message.
    Message(Bytes),
    /// A text message. The contents are left out, because neither wire has text messages.
    Text,
    /// A message larger than
    /// [`Connection::max_inbound_message`](crate::Connection::max_inbound_message). The socket may
    /// report the message before all of the message has arrived.
    TooLarge,
    /// Bytes that violate RFC 6455. The text describes the violation.
    ProtocolError(String),
    /// A ping. The socket itself answers it.
    Ping,
    /// A pong, with its payload.
    Pong(Bytes),
    /// The peer's Close frame. The socket itself answers it.
    Close {
        /// The close code (RFC 6455 §7.4), if the Close has one.
        code: Option<u16>,
        /// The reason.
        reason: String,
    },
}

/// Something that the WebSocket has to send, returned by
/// [`Connection::poll_transmit`](crate::Connection::poll_transmit).
#[derive(Debug)]
#[non_exhaustive]
pub enum Outgoing<'a> {
    /// A binary message.
    Message(&'a MessageBuf),
    /// A ping with this payload.
    Ping([u8; 8]),
    /// The WebSocket's Close frame. Nothing is sent after it.
    Close {
        /// The close code (RFC 6455 §7.4).
        code: u16,
        /// The reason, at most 123 bytes.
        reason: String,
    },
    /// A request to flush. Everything sent so far must leave the process before the next item is
    /// sent. The request itself sends nothing. The crate `wsmux` flushes the socket when it gets
    /// this item, and never passes the item to a `Socket`.
    Flush,
}

/// What a WebSocket can do besides carrying messages. By default it can do everything. The
/// WebSocket of a web page can do none of the things listed here.
///
/// ```
/// use wsmux_proto::SocketCapabilities;
///
/// const OF_A_PAGE: SocketCapabilities =
///     SocketCapabilities::new().pings(false).all_close_codes(false);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketCapabilities {
    /// Whether the WebSocket sends pings and reports the peer's pings and pongs.
    pub pings: bool,
    /// Whether the WebSocket can send a Close with any code. Otherwise it can send only the codes
    /// 1000 and 3000 to 4999.
    pub all_close_codes: bool,
    /// The size of the largest message of stream data that the engine sends through this socket, in
    /// bytes. The limits of the peer and of the configuration apply as well. A message exceeds this
    /// size only if it contains a larger datagram, or if a session sends the message again.
    pub max_message: usize,
}

impl SocketCapabilities {
    /// Returns the capabilities of a socket that can do everything. The setters take capabilities
    /// away.
    #[must_use]
    pub const fn new() -> Self {
        Self { pings: true, all_close_codes: true, max_message: usize::MAX }
    }

    /// Sets [`pings`](Self#structfield.pings).
    #[must_use]
    pub const fn pings(mut self, pings: bool) -> Self {
        self.pings = pings;
        self
    }

    /// Sets [`all_close_codes`](Self#structfield.all_close_codes).
    #[must_use]
    pub const fn all_close_codes(mut self, all: bool) -> Self {
        self.all_close_codes = all;
        self
    }

    /// Sets [`max_message`](Self#structfield.max_message). Use this method if messages of some
    /// sizes cost less than messages of other sizes. For example, loopback carries 65,483 bytes in
    /// one packet, and a message that is a few bytes larger costs almost as much as two messages. A
    /// value below 1,200 has the effect of 1,200.
    #[must_use]
    pub const fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }
}

impl Default for SocketCapabilities {
    fn default() -> Self {
        Self::new()
    }
}
