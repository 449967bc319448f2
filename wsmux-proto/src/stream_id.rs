//! The id of a stream: which end opened it, its direction, and its number within its kind. The
//! *kind* of a stream is its initiator and its direction.

use std::{fmt, ops::Not};

/// One of the two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The end that sent the request of the WebSocket handshake.
    Client = 0,
    /// The end that answered the request.
    Server = 1,
}

impl Not for Side {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// The direction of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dir {
    /// Both ends send data.
    Bi = 0,
    /// Only the end that opened the stream sends data.
    Uni = 1,
}

impl Dir {
    /// Both directions, in the order of their numbers on the wire.
    pub const ALL: [Self; 2] = [Self::Bi, Self::Uni];
}

/// The id of a stream in QUIC's form (RFC 9000 §2.1), whatever the wire is.
///
/// The js-ws wire encodes ids in another form. [`StreamId::index`] is the same on all wires.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u64);

impl StreamId {
    /// The largest number of streams of one kind. An index is always below 2^60 (RFC 9000 §4.6).
    pub(crate) const MAX_COUNT: u64 = 1 << 60;

    /// Returns the id of the `index`th stream of its kind, counted from 0. An index above 2^60 - 1
    /// is replaced by 2^60 - 1.
    pub const fn new(initiator: Side, dir: Dir, index: u64) -> Self {
        let index = if index < Self::MAX_COUNT { index } else { Self::MAX_COUNT - 1 };
        Self(index << 2 | (dir as u64) << 1 | initiator as u64)
    }

    /// Returns the id of the `index`th stream of a kind. `kind` is the two low bits of the ids of
    /// that kind.
    pub(crate) const fn of_kind(kind: u64, index: u64) -> Self {
        Self(index << 2 | kind & 3)
    }

    /// Returns the id that QUIC encodes as `value`.
    pub(crate) const fn from_wire(value: super::VarInt) -> Self {
        Self(value.into_inner())
    }

    /// Returns the id as QUIC encodes it.
    pub const fn into_inner(self) -> u64 {
        self.0
    }

    /// Returns the end that opened the stream.
    pub const fn initiator(self) -> Side {
        if self.0 & 1 == 0 { Side::Client } else { Side::Server }
    }

    /// Returns the direction of the stream.
    pub const fn dir(self) -> Dir {
        if self.0 & 2 == 0 { Dir::Bi } else { Dir::Uni }
    }

    /// Returns the number of the stream within its kind, counted from 0.
    pub const fn index(self) -> u64 {
        self.0 >> 2
    }
}

impl From<StreamId> for u64 {
    fn from(id: StreamId) -> Self {
        id.into_inner()
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamId({self})")
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let initiator = match self.initiator() {
            Side::Client => "client",
            Side::Server => "server",
        };
        let dir = match self.dir() {
            Dir::Bi => "bidirectional",
            Dir::Uni => "unidirectional",
        };
        write!(f, "{initiator} {dir} stream {}", self.index())
    }
}
