//! The one frame type that the engine speaks; each wire translates it.

use bytes::Bytes;

use super::{Dir, StreamId, TransportErrorCode, VarInt, transport_parameters::TransportParameters};

/// What one end sends to the other.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame {
    /// This many bytes without a meaning (RFC 9000 §19.1).
    Padding(usize),
    /// The limits of the sender. It is the first frame of each end, on a wire that has it.
    TransportParameters(TransportParameters),
    /// Requests a [`Frame::Pong`] with the same number.
    Ping(VarInt),
    /// Answers a [`Frame::Ping`].
    Pong(VarInt),
    /// Bytes of a stream, and possibly its end (RFC 9000 §19.8).
    Stream {
        /// The stream.
        id: StreamId,
        /// How many bytes of the stream precede these; `None` on a wire without offsets.
        offset: Option<u64>,
        /// The bytes.
        data: Bytes,
        /// Whether the stream ends after the bytes.
        fin: bool,
    },
    /// The sender resets its half of the stream (RFC 9000 §19.4).
    ResetStream {
        /// The stream.
        id: StreamId,
        /// The application's error code.
        code: VarInt,
        /// How many bytes were sent; `None` on a wire without final sizes.
        final_size: Option<u64>,
        /// How many of these bytes are delivered before the reset (RESET_STREAM_AT); 0 for a plain
        /// reset.
        reliable_size: u64,
    },
    /// The receiver stops reading (RFC 9000 §19.5).
    StopSending {
        /// The stream.
        id: StreamId,
        /// The application's error code.
        code: VarInt,
    },
    /// The receiver has seen the end of the stream. It exists only on a wire that
    /// [acknowledges](crate::StreamEnd::is_acknowledged) ends.
    FinReceived {
        /// The stream.
        id: StreamId,
    },
    /// Credit of the connection: the total number of bytes on all streams (RFC 9000 §19.9).
    MaxData(u64),
    /// Credit of one stream (RFC 9000 §19.10).
    MaxStreamData {
        /// The stream.
        id: StreamId,
        /// The credit, in bytes.
        credit: Credit,
    },
    /// The total number of streams of a kind that may be opened (RFC 9000 §19.11).
    MaxStreams {
        /// The kind.
        dir: Dir,
        /// The total.
        count: u64,
    },
    /// The sender has data and lacks credit of the connection. The value is its limit (RFC 9000
    /// §19.12).
    DataBlocked(u64),
    /// The sender has data and lacks credit of the stream (RFC 9000 §19.13).
    StreamDataBlocked {
        /// The stream.
        id: StreamId,
        /// The limit that it has reached.
        limit: u64,
    },
    /// The sender wants to open a stream and has reached the limit (RFC 9000 §19.14).
    StreamsBlocked {
        /// The kind.
        dir: Dir,
        /// The limit that it has reached.
        limit: u64,
    },
    /// A message that belongs to no stream (RFC 9221).
    Datagram(Bytes),
    /// The end of the connection.
    ConnectionClose(Close),
}

/// The credit of a grant, in the form of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credit {
    /// The total number of bytes that the stream may carry.
    Total(u64),
    /// How many bytes the stream may carry in addition to earlier grants.
    More(u64),
}

/// Why an end closes the connection, in the form of CONNECTION_CLOSE (RFC 9000 §19.19).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Close {
    /// The protocol closes it.
    Transport {
        /// The error.
        code: TransportErrorCode,
        /// The type of the frame that showed the error, 0 for none.
        frame: VarInt,
        /// The reason in words, usually UTF-8.
        reason: Bytes,
    },
    /// The application closes it.
    Application {
        /// The application's code.
        code: VarInt,
        /// The reason in words, usually UTF-8.
        reason: Bytes,
    },
}
