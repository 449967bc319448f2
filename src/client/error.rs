//! Why a client got no connection.

use std::{io, sync::Arc};

use tokio_tungstenite::tungstenite::http::StatusCode;

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
    /// The network: none of the addresses took a TCP connection. This is what the last one said.
    #[error("not connected: {0}")]
    Connect(#[source] Arc<io::Error>),
    /// No address took a TCP connection within the connect timeout.
    #[error("not connected in time")]
    ConnectTimeout,
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

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        let kind = match &error {
            ConnectError::InvalidUrl(_) | ConnectError::UnsupportedScheme(_) => {
                io::ErrorKind::InvalidInput
            }
            ConnectError::Resolve(error)
            | ConnectError::Connect(error)
            | ConnectError::Tls(error)
            | ConnectError::Io(error) => error.kind(),
            ConnectError::ConnectTimeout | ConnectError::HandshakeTimeout => {
                io::ErrorKind::TimedOut
            }
            ConnectError::Refused { .. } => io::ErrorKind::ConnectionRefused,
            ConnectError::InvalidResponse(_) | ConnectError::Subprotocol { .. } => {
                io::ErrorKind::InvalidData
            }
            ConnectError::Connection(error) => return error.clone().into(),
        };
        Self::new(kind, error)
    }
}
