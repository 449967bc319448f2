//! The one frame type that the engine speaks; each wire translates it.

use bytes::Bytes;

use super::{Dir, StreamId, TransportErrorCode, VarInt, transport_parameters::TransportParameters};

/// What one end tells the other.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame {
    /// This many bytes that say nothing.
    Padding(usize),
    /// The sender's limits; the first frame of each end, where the wire has them.
    TransportParameters(TransportParameters),
    /// Asks for a [`Frame::Pong`] with the same number.
    Ping(VarInt),
    /// Answers a [`Frame::Ping`].
    Pong(VarInt),
    /// Bytes of a stream, and perhaps its end.
    Stream {
        /// The stream.
        id: StreamId,
        /// How many bytes came before; `None` on a wire that does not say.
        offset: Option<u64>,
        /// The bytes.
        data: Bytes,
        /// Nothing follows.
        fin: bool,
    },
    /// The sender gives the stream up (RFC 9000 §19.4).
    ResetStream {
        /// The stream.
        id: StreamId,
        /// The application's reason.
        code: VarInt,
        /// How many bytes were sent; `None` on a wire that does not say.
        final_size: Option<u64>,
        /// How many of them are to be delivered first (RESET_STREAM_AT); 0 for a plain reset.
        reliable_size: u64,
    },
    /// The receiver wants no more (RFC 9000 §19.5).
    StopSending {
        /// The stream.
        id: StreamId,
        /// The application's reason.
        code: VarInt,
    },
    /// The receiver has seen the end of the stream; only on a wire that answers ends.
    FinReceived {
        /// The stream.
        id: StreamId,
    },
    /// Credit for all streams together: the total of bytes that may be sent.
    MaxData(u64),
    /// Credit for one stream.
    MaxStreamData {
        /// The stream.
        id: StreamId,
        /// The credit, in bytes.
        credit: Credit,
    },
    /// How many streams of a kind may be opened in all.
    MaxStreams {
        /// The kind.
        dir: Dir,
        /// The total.
        count: u64,
    },
    /// The sender has data and no credit for the connection.
    DataBlocked(u64),
    /// The sender has data and no credit for the stream.
    StreamDataBlocked {
        /// The stream.
        id: StreamId,
        /// Where it is stuck.
        limit: u64,
    },
    /// The sender wants to open a stream and may not.
    StreamsBlocked {
        /// The kind.
        dir: Dir,
        /// Where it is stuck.
        limit: u64,
    },
    /// A message outside all streams (RFC 9221).
    Datagram(Bytes),
    /// The end of the connection.
    ConnectionClose(Close),
}

/// A grant of credit, in the form that the wire has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credit {
    /// The stream may carry this many bytes in all.
    Total(u64),
    /// The stream may carry this many bytes more than before.
    More(u64),
}

/// Why an end closes the connection, as CONNECTION_CLOSE carries it (RFC 9000 §19.19).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Close {
    /// By the protocol.
    Transport {
        /// The error.
        code: TransportErrorCode,
        /// The type of the frame that showed it, 0 for none.
        frame: VarInt,
        /// In words; UTF-8 by custom.
        reason: Bytes,
    },
    /// By the application.
    Application {
        /// The application's code.
        code: VarInt,
        /// In words; UTF-8 by custom.
        reason: Bytes,
    },
}
