//! What a wire can express. The engine asks for capabilities, and never for the name of a wire.
//!
//! The types admit only combinations that the engine can serve. For example, a capability that
//! depends on transport parameters exists only on a wire that has them.

/// What a wire can express, and what the peers on it expect.
///
/// ```
/// use wsmux_proto::{Carrier, Wire};
///
/// assert_eq!(Wire::QMux.capabilities().close, Carrier::Frame);
/// assert!(!Wire::JsWs.capabilities().datagrams());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Capabilities {
    /// What a message contains, and what the two ends know about each other before the first
    /// message.
    pub messages: Messages,
    /// How a grant states the credit of a stream.
    pub grants: Grants,
    /// How the end of a stream is sent.
    pub end: StreamEnd,
    /// What carries the code and the reason of a close. If the wire has a frame for the code and
    /// the reason, the WebSocket's Close follows that frame.
    pub close: Carrier,
    /// Whether an end reports that it lacks credit or may not open more streams. The reports are
    /// DATA_BLOCKED, STREAM_DATA_BLOCKED and STREAMS_BLOCKED (RFC 9000 §19.12 to §19.14).
    pub blocked_frames: bool,
}

/// What a message contains, and what the two ends know about each other before the first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Messages {
    /// A message is a record, which contains any number of frames. A record without frames is valid
    /// and has no effect. Each end begins by sending its transport parameters, which limit the size
    /// of a record.
    #[non_exhaustive]
    Records {
        /// Which frame opens a stream.
        opening: Opening,
        /// Whether data needs credit of the connection, in addition to credit of its stream.
        connection_credit: bool,
        /// Whether datagrams exist.
        datagrams: bool,
        /// What carries pings.
        pings: Carrier,
    },
    /// A message is exactly one frame, and neither end declares anything beforehand.
    ///
    /// The wire therefore works as follows. A stream opens with a [grant](Opening::Grant). Only
    /// this end [knows](StreamLimit::Local) how many streams the peer may open. Pings are sent as
    /// WebSocket pings. There are no datagrams, and the connection has no credit of its own. A
    /// message may use up all the credit of its stream, so the window limits the size of a message.
    /// Windows therefore never grow beyond their initial size. If windows grew, a peer could send
    /// ever larger messages.
    Single,
}

/// Which frame opens a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Opening {
    /// The first frame on a stream opens it. The transport parameters contain the stream's first
    /// credit and the number of streams that may be opened, so the limit is
    /// [advertised](StreamLimit::Advertised).
    #[non_exhaustive]
    FirstFrame {
        /// Whether unidirectional streams exist.
        unidirectional: bool,
    },
    /// A grant of credit opens a stream. Each end begins a stream by granting credit to the other,
    /// and can send data only after it has received the other's grant. All streams are
    /// bidirectional, because the opener of a unidirectional stream would have no credit to grant.
    #[non_exhaustive]
    Grant {
        /// Which ends know how many streams a peer may open.
        limit: StreamLimit,
    },
}

/// Which ends know how many streams a peer may open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamLimit {
    /// Both ends know the limit, because it is advertised. Opening a stream also opens all streams
    /// of its kind with lower ids. Opening a stream above the limit is an error (RFC 9000 §4.6).
    Advertised,
    /// Only the end that accepts the streams knows the limit. This end refuses a stream above the
    /// limit, or lets it wait until another stream ends. Opening a stream opens no other stream.
    Local,
}

/// How a grant states credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Grants {
    /// A grant states how many bytes may be sent on the stream in all (RFC 9000 §19.10).
    Total,
    /// A grant states how many more bytes may be sent. A sender never holds more than 2^32 - 1
    /// bytes of credit.
    Increment,
}

/// How the end of a stream is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamEnd {
    /// The frame with the stream's last bytes also marks the end (RFC 9000 §19.8).
    WithData,
    /// The end is sent in a frame of its own.
    #[non_exhaustive]
    OwnFrame {
        /// Whether the socket is flushed between the last data and the end. `@matrixai/ws` needs
        /// this flush, because it loses the data of a stream if the end of the stream is in the
        /// same TLS record.
        after_flush: bool,
        /// Whether the receiver acknowledges the end with a frame.
        acknowledged: bool,
        /// Whether a late grant can open a new stream. Once a peer has seen both halves of its
        /// stream end, it forgets the stream. If a grant for the stream arrives after that, the
        /// peer believes that the grant begins a new stream.
        grants_revive: bool,
    },
}

/// What carries information about the connection as a whole, such as a ping or a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Carrier {
    /// A frame of the wire.
    Frame,
    /// A control frame of the WebSocket (RFC 6455 §5.5).
    WebSocket,
}

impl Capabilities {
    /// Whether each end begins by sending its transport parameters.
    #[inline]
    pub const fn parameters(&self) -> bool {
        self.messages.are_records()
    }

    /// Whether a grant opens a stream, so that a stream has no credit before its first grant.
    #[inline]
    pub const fn opens_with_grant(&self) -> bool {
        matches!(self.messages.opening(), Opening::Grant { .. })
    }

    /// Whether the limit on the number of streams is advertised. If so, opening a stream also opens
    /// all streams of its kind with lower ids.
    #[inline]
    pub const fn stream_limits(&self) -> bool {
        match self.messages.opening() {
            Opening::FirstFrame { .. } | Opening::Grant { limit: StreamLimit::Advertised } => true,
            Opening::Grant { limit: StreamLimit::Local } => false,
        }
    }

    /// Whether unidirectional streams exist.
    #[inline]
    pub const fn unidirectional(&self) -> bool {
        matches!(self.messages.opening(), Opening::FirstFrame { unidirectional: true })
    }

    /// Whether data needs credit of the connection, in addition to credit of its stream.
    #[inline]
    pub const fn connection_credit(&self) -> bool {
        matches!(self.messages, Messages::Records { connection_credit: true, .. })
    }

    /// Whether datagrams exist.
    #[inline]
    pub const fn datagrams(&self) -> bool {
        matches!(self.messages, Messages::Records { datagrams: true, .. })
    }

    /// Returns what carries pings.
    #[inline]
    pub const fn pings(&self) -> Carrier {
        match self.messages {
            Messages::Records { pings, .. } => pings,
            Messages::Single => Carrier::WebSocket,
        }
    }
}

impl Messages {
    /// Whether a message may contain any number of frames, including none.
    #[inline]
    pub const fn are_records(self) -> bool {
        matches!(self, Self::Records { .. })
    }

    /// Whether the size limit of a message follows from the window of a stream. If so, windows
    /// never grow beyond their initial size, because the limit is fixed when the connection begins
    /// (SPEC.md J-30, J-39).
    #[inline]
    pub const fn are_bounded_by_window(self) -> bool {
        matches!(self, Self::Single)
    }

    /// Returns which frame opens a stream.
    #[inline]
    pub const fn opening(self) -> Opening {
        match self {
            Self::Records { opening, .. } => opening,
            Self::Single => Opening::Grant { limit: StreamLimit::Local },
        }
    }
}

impl Grants {
    /// Whether a grant is an increment.
    #[inline]
    pub const fn are_relative(self) -> bool {
        matches!(self, Self::Increment)
    }
}

impl StreamEnd {
    /// Whether the frame with the last bytes also marks the end.
    #[inline]
    pub const fn is_with_data(self) -> bool {
        matches!(self, Self::WithData)
    }

    /// Whether the socket is flushed between the last data and the end.
    #[inline]
    pub const fn is_after_flush(self) -> bool {
        matches!(self, Self::OwnFrame { after_flush: true, .. })
    }

    /// Whether the receiver acknowledges the end with a frame.
    #[inline]
    pub const fn is_acknowledged(self) -> bool {
        matches!(self, Self::OwnFrame { acknowledged: true, .. })
    }

    /// Whether a peer that receives a grant after the end of a stream believes that the grant
    /// begins a new stream.
    #[inline]
    pub const fn grants_revive(self) -> bool {
        matches!(self, Self::OwnFrame { grants_revive: true, .. })
    }
}

impl Carrier {
    /// Whether this is a frame of the wire.
    #[inline]
    pub const fn is_frame(self) -> bool {
        matches!(self, Self::Frame)
    }
}
