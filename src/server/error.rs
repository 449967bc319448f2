//! Why a server got no connection of a client.

use std::{borrow::Cow, io, sync::Arc};

use tokio_tungstenite::tungstenite::http::StatusCode;

use crate::{BuildError, proto::ConnectionError};

/// A client's handshake failed. Cheap to clone. None of these is the server's end.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The network, or the client: the stream ended or failed during the handshake.
    #[error("connection lost during the handshake: {0}")]
    Io(#[source] Arc<io::Error>),
    /// There is no TLS with this client: it does not speak it, or refuses our certificate. Within this error
    /// there mostly is a `rustls::Error`.
    #[error("TLS: {0}")]
    Tls(#[source] Arc<io::Error>),
    /// The client did not do TLS and the upgrade within the handshake timeout. Where it could be, it was told
    /// so with status 408.
    #[error("the handshake was not done in time")]
    HandshakeTimeout,
    /// The client asked for something else than a WebSocket that is spoken here, and was answered so.
    #[error("refused with status {status}: {reason}")]
    Refused {
        /// The HTTP status of the answer.
        status: StatusCode,
        /// The answer's body.
        reason: Cow<'static, str>,
    },
    /// The WebSocket was open, and the connection over it ended before its start: mostly
    /// [`TimedOut`](ConnectionError::TimedOut), of a client that sent no transport parameters.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

impl From<io::Error> for AcceptError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.into())
    }
}

impl From<AcceptError> for io::Error {
    fn from(error: AcceptError) -> Self {
        let kind = match &error {
            AcceptError::Io(error) | AcceptError::Tls(error) => error.kind(),
            AcceptError::HandshakeTimeout => io::ErrorKind::TimedOut,
            AcceptError::Refused { .. } => io::ErrorKind::InvalidData,
            AcceptError::Connection(error) => return error.clone().into(),
        };
        Self::new(kind, error)
    }
}

/// A server could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// A setting that cannot be.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The operating system does not give the address.
    #[error(transparent)]
    Io(#[from] io::Error),
}
