//! Which stream: who opened it, which ways it carries data, and which one of its kind it is.

use std::{fmt, ops::Not};

/// Which end of a connection: the one that dialled or the one that accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The end that made the WebSocket handshake's request.
    Client = 0,
    /// The end that answered it.
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

/// Which ways a stream carries data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dir {
    /// Both ways.
    Bi = 0,
    /// From the end that opened it to the other.
    Uni = 1,
}

impl Dir {
    /// Both directions, in the order of their numbers on the wire.
    pub const ALL: [Self; 2] = [Self::Bi, Self::Uni];
}

/// A stream's number in QUIC's form (RFC 9000 §2.1), on either wire.
///
/// The js-ws wire numbers its streams in another way; [`StreamId::index`] is the same on both.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u64);

impl StreamId {
    /// How many streams of one kind there can ever be: indices stay below 2^60 (RFC 9000 §4.6).
    pub(crate) const MAX_COUNT: u64 = 1 << 60;

    /// The `index`th stream of its kind; an index past 2^60 - 1 is taken as 2^60 - 1.
    pub const fn new(initiator: Side, dir: Dir, index: u64) -> Self {
        let index = if index < Self::MAX_COUNT { index } else { Self::MAX_COUNT - 1 };
        Self(index << 2 | (dir as u64) << 1 | initiator as u64)
    }

    /// The `index`th stream of the kind that the two low bits of an id are.
    pub(crate) const fn of_kind(kind: u64, index: u64) -> Self {
        Self(index << 2 | kind & 3)
    }

    /// The id that QUIC writes as `value`, which a varint has already bounded.
    pub(crate) const fn from_wire(value: super::VarInt) -> Self {
        Self(value.into_inner())
    }

    /// The id as QUIC writes it.
    pub const fn into_inner(self) -> u64 {
        self.0
    }

    /// Who opened it.
    pub const fn initiator(self) -> Side {
        if self.0 & 1 == 0 { Side::Client } else { Side::Server }
    }

    /// Which ways it carries data.
    pub const fn dir(self) -> Dir {
        if self.0 & 2 == 0 { Dir::Bi } else { Dir::Uni }
    }

    /// How many streams of its kind were opened before it.
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
