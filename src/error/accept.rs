//! The errors of servers.

use std::{borrow::Cow, io, sync::Arc};

use http::StatusCode;
use wsmux_proto::ConnectionError;

use super::BuildError;

/// The handshake with a client failed. A failed handshake does not end the server. The error is
/// cheap to clone.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The stream ended or failed during the handshake. The cause is the network or the client.
    #[error("connection lost during the handshake: {0}")]
    Io(#[source] Arc<io::Error>),
    /// The TLS handshake failed: the client does not speak TLS, rejects this server's certificate,
    /// or has no acceptable certificate. The server has tried to send the client a TLS alert. This
    /// error usually contains a `rustls::Error`.
    #[error("TLS: {0}")]
    Tls(#[source] Arc<io::Error>),
    /// TLS and the upgrade, including the server's hooks, took longer than the handshake timeout.
    /// Unless TLS was still in progress, the server has tried to send the client status 408.
    #[error("the handshake timed out")]
    HandshakeTimeout,
    /// The client was refused with this status, by the handshake or by a hook.
    #[error("refused with status {status}: {reason}")]
    Refused {
        /// The HTTP status of the response.
        status: StatusCode,
        /// What was wrong with the request. If a hook refused the request, this is the status in
        /// words. If the status is 500, this says what was wrong with a hook's answer, and the
        /// client does not receive this text.
        reason: Cow<'static, str>,
    },
    /// The client did not ask for a WebSocket, and a hook has
    /// [answered](crate::authorize::Authorize::respond).
    #[error("not a WebSocket request; answered with status {status}")]
    Answered {
        /// The HTTP status of the response.
        status: StatusCode,
    },
    /// The server is [shutting down](crate::WebSocketServer::shutdown). Unless TLS was still in
    /// progress, the server has tried to send the client status 503.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The client has [resumed](crate::Config::resume_timeout) one of its earlier connections, and
    /// that connection goes on over this WebSocket. Nothing has failed, and there is no connection
    /// to accept.
    #[error("the client has resumed an earlier connection")]
    Resumed,
    /// The WebSocket was opened, but the connection over it ended before the connection was
    /// established. Usually this is [`TimedOut`](ConnectionError::TimedOut), because the client
    /// sent no transport parameters.
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
            AcceptError::ShuttingDown | AcceptError::Resumed => io::ErrorKind::ConnectionAborted,
            AcceptError::Connection(error) => return error.clone().into(),
        };
        Self::new(kind, error)
    }
}

/// A server could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// A setting is not valid.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The operating system could not listen on the address.
    #[error(transparent)]
    Io(#[from] io::Error),
}
