//! Why a client got no connection.

use std::{error::Error, fmt, io, ops::Deref, sync::Arc};

use crate::{http::StatusCode, proto::ConnectionError};

/// Why a URL that can be read leads nowhere (W-50).
pub(crate) const FRAGMENT: &str = "a fragment has no meaning";
pub(crate) const CREDENTIALS: &str = "user and password belong in a header";

/// Connecting failed. Cheap to clone.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// This end: the URL leads nowhere, for this reason. It is not repeated here, for there may be a password or a
    /// token in it.
    #[error("invalid URL: {0}")]
    InvalidUrl(String),
    /// This end: neither `ws` nor `wss`, or `wss` without the feature `tls`.
    #[error("unsupported scheme {0:?}")]
    UnsupportedScheme(String),
    /// The network: the name could not be resolved.
    #[error("name not resolved: {0}")]
    Resolve(#[source] Arc<io::Error>),
    /// The network: none of the addresses took a TCP connection. Within this error there is what each of them
    /// said, as [`ConnectAttempts`](crate::ConnectAttempts); its kind is that of the last one.
    #[error("not connected: {0}")]
    Connect(#[source] Arc<io::Error>),
    /// No address took a TCP connection within the connect timeout.
    #[error("not connected in time")]
    ConnectTimeout,
    /// The proxy did not lead to the server. The error within says why, as if the proxy were the server: it could
    /// not be reached, or it refused with a status of its own, such as 407 where it wants other credentials.
    #[error("proxy: {0}")]
    Proxy(#[source] Arc<Self>),
    /// There is no TLS with this server. Where it is about the certificate, within this error there is a
    /// `rustls::Error`.
    #[error("TLS: {0}")]
    Tls(#[source] Arc<io::Error>),
    /// The server did not answer TLS and the upgrade within the handshake timeout.
    #[error("the handshake was not done in time")]
    HandshakeTimeout,
    /// The network: the stream ended or failed during the upgrade.
    #[error("connection lost during the handshake: {0}")]
    Io(#[source] Arc<io::Error>),
    /// The server answered, and it was no upgrade.
    #[error("refused with status {status}: {body}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The start of the response's body, at most 1 KiB.
        body: String,
    },
    /// What the server answered is no answer to this request (RFC 6455 §4.1), or no HTTP.
    #[error("invalid response: {0}")]
    InvalidResponse(String),
    /// The server selected no subprotocol, or one that was not offered: it does not speak this wire.
    #[error("offered subprotocols {offered:?}, and the server selected {selected:?}")]
    Subprotocol {
        /// The names that were offered; none on the js-ws wire.
        offered: Vec<String>,
        /// The one that came back.
        selected: Option<String>,
    },
    /// This end: its own [`VerifyServer`](crate::VerifyServer) did not want this server, for this reason.
    #[error("server rejected by this end: {0}")]
    Rejected(#[source] Rejection),
    /// The WebSocket was open, and the connection over it ended before its start: mostly
    /// [`TimedOut`](ConnectionError::TimedOut), of a server that says it speaks QMux and does not.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

/// What a [`VerifyServer`](crate::VerifyServer) fails with: any error, or words, by `into()`.
pub type VerifyServerError = Box<dyn Error + Send + Sync>;

/// The error of a [`VerifyServer`](crate::VerifyServer). Cheap to clone; it dereferences to the error itself, which can
/// be downcast.
#[derive(Clone)]
pub struct Rejection(Arc<dyn Error + Send + Sync>);

impl From<VerifyServerError> for Rejection {
    fn from(error: VerifyServerError) -> Self {
        Self(error.into())
    }
}

// Not an `Error` itself: that would stand between `ConnectError::source` and the application's own type.
impl Deref for Rejection {
    type Target = dyn Error + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.into())
    }
}

impl ConnectError {
    /// Whether the same attempt may succeed later, with nothing changed on this end: after what the network or
    /// time has done, and after a status that speaks of now (408, 425, 429, and 5xx but 501 and 505).
    ///
    /// It may not after this end's own mistakes and its own [`VerifyServer`](crate::VerifyServer), where a
    /// certificate was refused on either side, where server or proxy refused with any other status, such as 401,
    /// 403 or 407, and where the server does not speak the subprotocol.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::InvalidUrl(_) | Self::UnsupportedScheme(_) => false,
            Self::Rejected(_) | Self::Subprotocol { .. } => false,
            Self::Refused { status, .. } => match status.as_u16() {
                408 | 425 | 429 => true,
                501 | 505 => false,
                status => status >= 500,
            },
            Self::Proxy(error) => error.is_retryable(),
            // In TLS 1.3 a server's alert comes after the client's part of the handshake.
            Self::Tls(error) | Self::Io(error) => !is_final_in_tls(error),
            Self::Resolve(_) | Self::Connect(_) | Self::InvalidResponse(_) => true,
            Self::ConnectTimeout | Self::HandshakeTimeout | Self::Connection(_) => true,
        }
    }

    fn kind(&self) -> io::ErrorKind {
        match self {
            Self::InvalidUrl(_) | Self::UnsupportedScheme(_) => io::ErrorKind::InvalidInput,
            Self::Resolve(error) | Self::Connect(error) | Self::Tls(error) | Self::Io(error) => {
                error.kind()
            }
            Self::Proxy(error) => error.kind(),
            Self::ConnectTimeout | Self::HandshakeTimeout => io::ErrorKind::TimedOut,
            Self::Refused { .. } => io::ErrorKind::ConnectionRefused,
            Self::Rejected(_) => io::ErrorKind::PermissionDenied,
            Self::InvalidResponse(_) | Self::Subprotocol { .. } => io::ErrorKind::InvalidData,
            Self::Connection(error) => io::Error::from(error.clone()).kind(),
        }
    }
}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Connection(error) => error.into(),
            error => Self::new(error.kind(), error),
        }
    }
}

/// Whether it is about who the two ends are, or what they can speak.
#[cfg(all(feature = "tls", not(target_family = "wasm")))]
fn is_final_in_tls(error: &io::Error) -> bool {
    use rustls::{AlertDescription as Alert, Error};
    match error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(alert)) => {
            !matches!(alert, Alert::CloseNotify | Alert::InternalError | Alert::UserCanceled)
        }
        Some(error) => matches!(
            error,
            Error::InvalidCertificate(_)
                | Error::InvalidCertRevocationList(_)
                | Error::NoCertificatesPresented
                | Error::UnsupportedNameType
                | Error::PeerIncompatible(_)
                | Error::General(_)
        ),
        None => false,
    }
}

#[cfg(not(all(feature = "tls", not(target_family = "wasm"))))]
fn is_final_in_tls(_: &io::Error) -> bool {
    false
}
