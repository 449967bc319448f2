//! What a wire can say. The engine asks for capabilities, and never for the name of a wire.
//!
//! The types admit only combinations that the engine can serve: what depends on transport
//! parameters, for example, exists only on a wire that has them.

/// What a wire can say and what its peers expect.
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
    /// What a message holds, and what the two ends know of each other before the first one.
    pub messages: Messages,
    /// How a grant states the credit of a stream.
    pub grants: Grants,
    /// How the end of a stream is sent.
    pub end: StreamEnd,
    /// What carries the code and the reason of a close. On a wire with a frame for them, the
    /// WebSocket's Close follows that frame.
    pub close: Carrier,
    /// An end that lacks credit or streams says so, in the `BLOCKED` kinds of frame (RFC 9000
    /// §19.12 to §19.14).
    pub blocked_frames: bool,
}

/// What a message holds, and what the two ends know of each other before the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Messages {
    /// A message is a record of any number of frames. A record without frames is valid and has no
    /// effect. Each end begins with its transport parameters, which limit the size of a record.
    #[non_exhaustive]
    Records {
        /// Which message opens a stream.
        opening: Opening,
        /// Data needs credit of the connection, in addition to credit of its stream.
        connection_credit: bool,
        /// Datagrams exist.
        datagrams: bool,
        /// What carries pings.
        pings: Carrier,
    },
    /// A message is exactly one frame, and neither end declares anything.
    ///
    /// So streams open with a [grant](Opening::Grant) at a limit that only the
    /// [receiver](StreamLimit::Local) knows, and pings are the WebSocket's. There are no datagrams
    /// and there is no credit of the connection. A message may carry all the credit of its stream,
    /// so the largest message follows from the window. For that reason no window grows past its
    /// first size: otherwise a peer could send ever larger messages.
    Single,
}

/// Which message opens a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Opening {
    /// The first frame on a stream opens it. The transport parameters contain its first credit and
    /// the number of streams, which is [advertised](StreamLimit::Advertised).
    #[non_exhaustive]
    FirstFrame {
        /// Unidirectional streams exist.
        unidirectional: bool,
    },
    /// A grant of credit opens a stream. Each end begins a stream with one, and neither has credit
    /// before the grant of the other. All streams are bidirectional, because the opener of a
    /// unidirectional one has no credit to grant.
    #[non_exhaustive]
    Grant {
        /// Who knows how many streams there may be.
        limit: StreamLimit,
    },
}

/// Who knows how many streams a peer may open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamLimit {
    /// Both ends. The limit is advertised, and a stream opens all lower ones of its kind. A stream
    /// above the limit is an error (RFC 9000 §4.6).
    Advertised,
    /// The receiver alone. A stream above its limit waits for a place, or is refused. A stream
    /// opens no other.
    Local,
}

/// How a grant states credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Grants {
    /// As the total since the stream began (RFC 9000 §19.10).
    Total,
    /// As an increment. A sender never holds more than 2^32 - 1 bytes of credit.
    Increment,
}

/// How the end of a stream is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamEnd {
    /// In the frame of the stream's last bytes (RFC 9000 §19.8).
    WithData,
    /// In a frame of its own.
    #[non_exhaustive]
    OwnFrame {
        /// The socket is flushed between the last data and the end: `@matrixai/ws` loses the data
        /// of a stream if the end is in the same TLS record.
        after_flush: bool,
        /// A frame acknowledges the end.
        acknowledged: bool,
        /// A peer forgets a stream that it opened once it has seen both halves end. It takes a
        /// later grant for the begin of a new stream.
        grants_revive: bool,
    },
}

/// What carries a message of the connection as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Carrier {
    /// A frame of the wire.
    Frame,
    /// A control frame of the WebSocket (RFC 6455 §5.5).
    WebSocket,
}

impl Capabilities {
    /// Whether each end begins with its transport parameters.
    #[inline]
    pub const fn parameters(&self) -> bool {
        self.messages.are_records()
    }

    /// Whether a grant opens a stream, and a stream has no credit before its first grant.
    #[inline]
    pub const fn opens_with_grant(&self) -> bool {
        matches!(self.messages.opening(), Opening::Grant { .. })
    }

    /// Whether the number of streams is advertised. Then a stream opens all lower ones of its kind.
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

    /// What carries pings.
    #[inline]
    pub const fn pings(&self) -> Carrier {
        match self.messages {
            Messages::Records { pings, .. } => pings,
            Messages::Single => Carrier::WebSocket,
        }
    }
}

impl Messages {
    /// Whether a message may hold any number of frames, and none at all.
    #[inline]
    pub const fn are_records(self) -> bool {
        matches!(self, Self::Records { .. })
    }

    /// Whether the window of a stream bounds the largest message, and so cannot grow.
    #[inline]
    pub const fn are_bounded_by_window(self) -> bool {
        matches!(self, Self::Single)
    }

    /// Which message opens a stream.
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
    /// Whether the end is in the frame of the last bytes.
    #[inline]
    pub const fn is_with_data(self) -> bool {
        matches!(self, Self::WithData)
    }

    /// Whether the socket is flushed between the last data and the end.
    #[inline]
    pub const fn is_after_flush(self) -> bool {
        matches!(self, Self::OwnFrame { after_flush: true, .. })
    }

    /// Whether a frame acknowledges the end.
    #[inline]
    pub const fn is_acknowledged(self) -> bool {
        matches!(self, Self::OwnFrame { acknowledged: true, .. })
    }

    /// Whether a peer takes a grant after the end of a stream for the begin of a new one.
    #[inline]
    pub const fn grants_revive(self) -> bool {
        matches!(self, Self::OwnFrame { grants_revive: true, .. })
    }
}

impl Carrier {
    /// Whether it is a frame of the wire.
    #[inline]
    pub const fn is_frame(self) -> bool {
        matches!(self, Self::Frame)
    }
}
