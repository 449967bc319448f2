//! Transport errors and their codes.

use std::{borrow::Cow, fmt};

use super::VarInt;

/// The code of a transport error, from QUIC's numbers (RFC 9000 §20.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransportErrorCode(u64);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:expr;)*) => {
        impl TransportErrorCode {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// Returns the name of the code in its specification; `None` for an unknown code.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// The connection was closed without an error.
    NO_ERROR = 0x0;
    /// The end that closed the connection did so because of a fault of its own.
    INTERNAL_ERROR = 0x1;
    /// The server refused the connection.
    CONNECTION_REFUSED = 0x2;
    /// The peer sent more data than its credit allowed (RFC 9000 §4.1).
    FLOW_CONTROL_ERROR = 0x3;
    /// The peer opened more streams than its limit allowed (RFC 9000 §4.6).
    STREAM_LIMIT_ERROR = 0x4;
    /// The frame is not permitted by the kind of the stream or by its state (RFC 9000 §3).
    STREAM_STATE_ERROR = 0x5;
    /// The final size of a stream changed, or data exceeded it (RFC 9000 §4.5).
    FINAL_SIZE_ERROR = 0x6;
    /// The frame is malformed, unknown, or forbidden on the wire.
    FRAME_ENCODING_ERROR = 0x7;
    /// A transport parameter is malformed, forbidden or out of range (RFC 9000 §7.4).
    TRANSPORT_PARAMETER_ERROR = 0x8;
    /// The peer violated the protocol in another way.
    PROTOCOL_VIOLATION = 0xa;
    /// The application closed the connection at a time when its own code could not be sent.
    APPLICATION_ERROR = 0xc;
    /// The peer causes work without progress. The code is wsmux's own, and comes from a range that
    /// QUIC leaves to private use. This code means the same as HTTP/2's ENHANCE_YOUR_CALM (RFC 9113
    /// §7).
    EXCESSIVE_LOAD = 0x7773_6d78;
    /// The server cannot resume the session that the client asked for: it does not know the session
    /// or does not accept the proof. The code is wsmux's own (SPEC.md §12).
    SESSION_REFUSED = 0x7773_6d79;
}

impl TransportErrorCode {
    pub(crate) const fn from_wire(code: VarInt) -> Self {
        Self(code.into_inner())
    }

    /// Returns the code as a number.
    pub const fn into_inner(self) -> u64 {
        self.0
    }
}

impl From<TransportErrorCode> for u64 {
    fn from(code: TransportErrorCode) -> Self {
        code.into_inner()
    }
}

impl fmt::Debug for TransportErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for TransportErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "transport error {:#x}", self.0),
        }
    }
}

/// A violation of the protocol by the peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {reason}")]
pub struct TransportError {
    /// The code that was sent to the peer.
    pub code: TransportErrorCode,
    /// The type of the frame that caused the error, if there is one.
    pub frame: Option<VarInt>,
    /// The reason in words.
    pub reason: Cow<'static, str>,
}

impl TransportError {
    pub(crate) fn new(code: TransportErrorCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, frame: None, reason: reason.into() }
    }
}

/// Short constructors of errors, such as `violation::flow_control("...")`.
pub(crate) mod violation {
    use super::{Cow, TransportError, TransportErrorCode};

    macro_rules! constructors {
        ($($name:ident = $code:ident;)*) => {
            $(pub(crate) fn $name(reason: impl Into<Cow<'static, str>>) -> TransportError {
                TransportError::new(TransportErrorCode::$code, reason)
            })*
        };
    }

    constructors! {
        flow_control = FLOW_CONTROL_ERROR;
        stream_limit = STREAM_LIMIT_ERROR;
        stream_state = STREAM_STATE_ERROR;
        final_size = FINAL_SIZE_ERROR;
        frame_encoding = FRAME_ENCODING_ERROR;
        transport_parameter = TRANSPORT_PARAMETER_ERROR;
        protocol = PROTOCOL_VIOLATION;
        excessive_load = EXCESSIVE_LOAD;
        session_refused = SESSION_REFUSED;
    }
}
