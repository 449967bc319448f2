//! Transport error codes, and a transport error with its story.

use std::{borrow::Cow, fmt};

use super::VarInt;

/// Why a connection ended, in QUIC's numbers (RFC 9000 §20.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransportErrorCode(u64);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:expr;)*) => {
        impl TransportErrorCode {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// The code's name in its document; `None` for a code that none of them names.
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
    /// Closed without an error.
    NO_ERROR = 0x0;
    /// A mistake of the end that closed.
    INTERNAL_ERROR = 0x1;
    /// The server refused the connection.
    CONNECTION_REFUSED = 0x2;
    /// More data than the credit allowed (§4.1).
    FLOW_CONTROL_ERROR = 0x3;
    /// More streams than the limit allowed (§4.6).
    STREAM_LIMIT_ERROR = 0x4;
    /// A frame that the stream's state or kind does not permit (§3).
    STREAM_STATE_ERROR = 0x5;
    /// A final size that changed, or data past it (§4.5).
    FINAL_SIZE_ERROR = 0x6;
    /// A malformed frame, an unknown one, or one that the wire forbids.
    FRAME_ENCODING_ERROR = 0x7;
    /// Transport parameters that are malformed, forbidden or out of range (§7.4).
    TRANSPORT_PARAMETER_ERROR = 0x8;
    /// Any other breach of the protocol.
    PROTOCOL_VIOLATION = 0xa;
    /// The application asked to close before it could say so itself.
    APPLICATION_ERROR = 0xc;
    /// The peer makes us work without progress: wsmux's own code, HTTP/2's ENHANCE_YOUR_CALM
    /// (RFC 9113 §7) in a number that QUIC leaves to private use.
    EXCESSIVE_LOAD = 0x7773_6d78;
}

impl TransportErrorCode {
    pub(crate) const fn from_wire(code: VarInt) -> Self {
        Self(code.into_inner())
    }

    /// The code as the wire carries it.
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

/// The peer broke the protocol, and what this end found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {reason}")]
pub struct TransportError {
    /// The code that the peer was sent.
    pub code: TransportErrorCode,
    /// The type of the frame that showed it, where one did.
    pub frame: Option<VarInt>,
    /// What was found, in words.
    pub reason: Cow<'static, str>,
}

impl TransportError {
    pub(crate) fn new(code: TransportErrorCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, frame: None, reason: reason.into() }
    }
}

/// Short constructors: `violation::flow_control("...")`.
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
    }
}
