//! Why a server got no connection of a client.

use std::{borrow::Cow, io, sync::Arc};

use http::StatusCode;

use super::BuildError;
use crate::proto::ConnectionError;

/// A client's handshake failed. Cheap to clone. None of these is the server's end.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The network, or the client: the stream ended or failed during the handshake.
    #[error("connection lost during the handshake: {0}")]
    Io(#[source] Arc<io::Error>),
    /// There is no TLS with this client: it does not speak it, refuses our
    /// certificate, or has none that is accepted here. Where it could be, it was told so by an alert. Within this error
    /// there mostly is a `rustls::Error`.
    #[error("TLS: {0}")]
    Tls(#[source] Arc<io::Error>),
    /// TLS and the upgrade, the server's hooks included, took longer than the handshake timeout. Where it could
    /// be, the client was told so with status 408.
    #[error("the handshake timed out")]
    HandshakeTimeout,
    /// The client asked for something else than a WebSocket that is spoken here, and was answered so.
    #[error("refused with status {status}: {reason}")]
    Refused {
        /// The HTTP status of the answer.
        status: StatusCode,
        /// What is wrong with the request; where a hook has refused, its status in words; with status 500, what was
        /// wrong with a hook's answer, which the client is not told.
        reason: Cow<'static, str>,
    },
    /// The client asked for no WebSocket, and a hook has [answered](crate::authorize::Authorize::respond).
    #[error("not a WebSocket request; answered with status {status}")]
    Answered {
        /// The HTTP status of the answer.
        status: StatusCode,
    },
    /// The server [shuts down](crate::WebSocketServer::shutdown). Where it could be, the client was told so with
    /// status 503.
    #[error("the server is shutting down")]
    ShuttingDown,
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
            AcceptError::Refused { .. } | AcceptError::Answered { .. } => {
                io::ErrorKind::InvalidData
            }
            AcceptError::ShuttingDown => io::ErrorKind::ConnectionAborted,
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
