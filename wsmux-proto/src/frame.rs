//! The frames as the engine knows them. Each wire translates them to and from its own encoding.

use bytes::Bytes;

use super::{Dir, StreamId, TransportErrorCode, VarInt, transport_parameters::TransportParameters};

/// A frame that one end sends to the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame {
    /// Bytes without a meaning (RFC 9000 §19.1). The field is the number of these bytes.
    Padding(usize),
    /// The limits that the sender sets for its peer. On a wire that has this frame, it is the first
    /// frame of each end.
    TransportParameters(TransportParameters),
    /// A request for a [`Frame::Pong`] with the same number.
    Ping(VarInt),
    /// An answer to a [`Frame::Ping`].
    Pong(VarInt),
    /// Bytes of a stream, and possibly the end of the stream (RFC 9000 §19.8).
    Stream {
        /// The stream.
        id: StreamId,
        /// How many bytes of the stream precede these bytes, or `None` on a wire without offsets.
        offset: Option<u64>,
        /// The bytes.
        data: Bytes,
        /// Whether the stream ends after the bytes.
        fin: bool,
    },
    /// Reports that the sender resets its sending half of the stream (RFC 9000 §19.4).
    ResetStream {
        /// The stream.
        id: StreamId,
        /// The application's error code.
        code: VarInt,
        /// How many bytes were sent on the stream, or `None` on a wire without final sizes.
        final_size: Option<u64>,
        /// How many bytes of the stream are delivered in spite of the reset (RESET_STREAM_AT). The
        /// number is 0 for a plain reset.
        reliable_size: u64,
    },
    /// Reports that the sender of this frame stops reading the stream (RFC 9000 §19.5).
    StopSending {
        /// The stream.
        id: StreamId,
        /// The application's error code.
        code: VarInt,
    },
    /// Acknowledges the end of the stream. This frame exists only on a wire that
    /// [acknowledges](crate::StreamEnd::is_acknowledged) ends.
    FinReceived {
        /// The stream.
        id: StreamId,
    },
    /// Grants credit of the connection. The field is the total number of bytes that all streams
    /// together may carry (RFC 9000 §19.9).
    MaxData(u64),
    /// Grants credit of one stream (RFC 9000 §19.10).
    MaxStreamData {
        /// The stream.
        id: StreamId,
        /// The credit, in bytes.
        credit: Credit,
    },
    /// Grants streams. `count` is the total number of streams of this kind that the receiver may
    /// open over the connection's life (RFC 9000 §19.11).
    MaxStreams {
        /// The kind of the streams.
        dir: Dir,
        /// The total number of streams.
        count: u64,
    },
    /// Reports that the sender has data and lacks credit of the connection. The field is the limit
    /// that the sender has reached (RFC 9000 §19.12).
    DataBlocked(u64),
    /// Reports that the sender has data and lacks credit of the stream (RFC 9000 §19.13).
    StreamDataBlocked {
        /// The stream.
        id: StreamId,
        /// The limit that the sender has reached.
        limit: u64,
    },
    /// Reports that the sender wants to open a stream and has reached the limit (RFC 9000 §19.14).
    StreamsBlocked {
        /// The kind of the stream.
        dir: Dir,
        /// The limit that the sender has reached.
        limit: u64,
    },
    /// Data of the application that belongs to no stream (RFC 9221).
    Datagram(Bytes),
    /// Announces that the connection ends once its streams have ended, and that the sender opens no
    /// more streams. This is a frame of wsmux (SPEC.md §13).
    GoingAway,
    /// Closes the connection.
    ConnectionClose(Close),
}

/// The credit of a grant, in the form that the wire uses.
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
    /// The protocol layer closes the connection.
    Transport {
        /// The error.
        code: TransportErrorCode,
        /// The type of the frame that caused the error, or 0 if no frame did.
        frame: VarInt,
        /// The reason in words, usually UTF-8.
        reason: Bytes,
    },
    /// The application closes the connection.
    Application {
        /// The application's code.
        code: VarInt,
        /// The reason in words, usually UTF-8.
        reason: Bytes,
    },
}
