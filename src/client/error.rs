//! Why a client got no connection.

use std::{io, sync::Arc};

use tokio_tungstenite::tungstenite::http::StatusCode;

use super::Rejection;
use crate::proto::ConnectionError;

/// Connecting failed. Cheap to clone.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// This end: the URL leads nowhere.
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

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.into())
    }
}

impl ConnectError {
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
