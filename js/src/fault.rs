//! The reason why an operation failed. The modules convert a fault to an error.

use std::fmt::Display;

use js_sys::{Object, Reflect};
use wasm_bindgen::JsValue;
use wsmux::{
    ClosedStream, ConnectError, ConnectionError, Culprit, OpenError, ReadError, ResetError,
    SendDatagramError, StoppedError, TransportErrorCode, VarInt, WriteError,
};

/// A plain object with `kind`, `message`, and further properties that depend on the kind.
pub(crate) struct Fault(Object);

impl Fault {
    fn new(kind: &str, message: impl Display) -> Self {
        let fault = Self(Object::new());
        fault.with("kind", kind).with("message", message.to_string())
    }

    fn with(self, name: &str, value: impl Into<JsValue>) -> Self {
        // This cannot fail, because a new object accepts any property.
        let _ = Reflect::set(&self.0, &name.into(), &value.into());
        self
    }

    /// Makes the fault for an operation on a half that has already ended, or on a connection that
    /// opens no more streams.
    pub(crate) fn closed(message: impl Display) -> Self {
        Self::new("closed", message)
    }

    /// Makes the fault for a stream that cannot be opened because as many are open as the peer
    /// permits.
    pub(crate) fn no_stream_left() -> Self {
        Self::new("quota", "as many streams are open as the peer permits")
    }

    /// Makes the fault for an operation that the page itself has aborted.
    pub(crate) fn aborted() -> Self {
        Self::new("session", "closed before it was ready").with("culprit", "local")
    }
}

impl From<Fault> for JsValue {
    fn from(fault: Fault) -> Self {
        fault.0.into()
    }
}

/// Converts a code for JavaScript, whose numbers are exact up to 2^53. A larger code is rounded.
pub(crate) fn number(code: VarInt) -> f64 {
    code.into_inner() as f64
}

/// Converts a code from JavaScript, which the modules have checked.
pub(crate) fn code(number: f64) -> VarInt {
    VarInt::from_u64(number as u64).unwrap_or(VarInt::MAX)
}

fn stream(code: VarInt, error: impl Display) -> Fault {
    Fault::new("stream", error).with("code", number(code))
}

/// The fault for the end of a connection. It has a `closeCode` and a `reason` if the peer's
/// application closed the connection, or if the peer's protocol layer closed it without an error.
impl From<ConnectionError> for Fault {
    fn from(error: ConnectionError) -> Self {
        let culprit = match error.culprit() {
            Culprit::Local => "local",
            Culprit::Peer => "peer",
            Culprit::Network => "network",
            Culprit::Timeout => "timeout",
            _ => "unknown",
        };
        let fault = Self::new("session", &error).with("culprit", culprit);
        let (code, reason) = match &error {
            ConnectionError::ApplicationClosed(close) => (number(close.error_code), &close.reason),
            ConnectionError::ConnectionClosed(close)
                if close.error_code == TransportErrorCode::NO_ERROR =>
            {
                (0.0, &close.reason)
            }
            _ => return fault,
        };
        let reason = String::from_utf8_lossy(reason);
        fault.with("closeCode", code).with("reason", &*reason)
    }
}

impl From<ConnectError> for Fault {
    fn from(error: ConnectError) -> Self {
        let culprit = match error {
            ConnectError::Connection(error) => return error.into(),
            ConnectError::InvalidUrl(_) | ConnectError::UnsupportedScheme(_) => "local",
            ConnectError::Subprotocol { .. } => "peer",
            ConnectError::HandshakeTimeout => "timeout",
            // The browser does not report any other cause.
            _ => "network",
        };
        Self::new("session", error).with("culprit", culprit)
    }
}

impl From<OpenError> for Fault {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::ConnectionLost(error) => error.into(),
            OpenError::Unsupported => Self::new("unsupported", error),
            error => Self::closed(error),
        }
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(code) => stream(code, error),
            ReadError::ConnectionLost(error) => error.into(),
            error => Self::closed(error),
        }
    }
}

impl From<ResetError> for Fault {
    fn from(error: ResetError) -> Self {
        match error {
            ResetError::ConnectionLost(error) => error.into(),
            error => Self::closed(error),
        }
    }
}

impl From<WriteError> for Fault {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(code) => stream(code, error),
            WriteError::ConnectionLost(error) => error.into(),
            error => Self::closed(error),
        }
    }
}

impl From<StoppedError> for Fault {
    fn from(error: StoppedError) -> Self {
        match error {
            StoppedError::ConnectionLost(error) => error.into(),
            error => Self::closed(error),
        }
    }
}

impl From<SendDatagramError> for Fault {
    fn from(error: SendDatagramError) -> Self {
        match error {
            SendDatagramError::ConnectionLost(error) => error.into(),
            SendDatagramError::TooLarge => Self::new("range", error),
            error => Self::new("unsupported", error),
        }
    }
}

impl From<ClosedStream> for Fault {
    fn from(error: ClosedStream) -> Self {
        Self::closed(error)
    }
}
