//! The builder that makes a connection over an open WebSocket.

use std::time::Duration;

#[cfg(not(target_family = "wasm"))]
use tokio::io::{AsyncRead, AsyncWrite};
use wsmux_proto::{Config, Side, Wire};

use super::{
    ConnectionInfo, WebSocketConnection,
    resume::{NewSocket, Resume},
};
#[cfg(feature = "qlog")]
use crate::observe::qlog::QlogConfig;
#[cfg(not(target_family = "wasm"))]
use crate::socket::FramedSocket;
use crate::socket::Socket;

/// Makes a [`WebSocketConnection`] over a WebSocket whose opening handshake is complete. The
/// builder is created by [`WebSocketConnection::builder`].
///
/// `WebSocketClient` and `WebSocketServer` make their connections with this builder, and with the
/// same defaults.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct WebSocketConnectionBuilder {
    pub(crate) config: Config,
    pub(crate) info: ConnectionInfo,
    pub(crate) resume: Resume,
    #[cfg(feature = "qlog")]
    pub(crate) qlog: Option<QlogConfig>,
}

impl WebSocketConnectionBuilder {
    /// Sets the limits and timeouts of the connection. Default [`Config::default`].
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets what is known from the opening handshake. By default, nothing is known about the
    /// handshake.
    pub fn info(mut self, info: ConnectionInfo) -> Self {
        self.info = info;
        self
    }

    /// Writes a log of the connection in QUIC's qlog format, if the connection is on the QMux wire.
    /// The default is `None`, because a log costs time and disk space, and because it records what
    /// the application did and when.
    #[cfg(feature = "qlog")]
    pub fn qlog(mut self, qlog: Option<QlogConfig>) -> Self {
        self.qlog = qlog;
        self
    }

    /// Makes the connection. Call this method in the context of a tokio runtime, which then runs
    /// the connection's task. In a web page, the browser runs the task. The call does not wait for
    /// the peer. To wait, use [`established`](WebSocketConnection::established).
    pub fn build(self, socket: impl Socket + Unpin, side: Side, wire: Wire) -> WebSocketConnection {
        WebSocketConnection::start(NewSocket::new(socket), side, wire, self)
    }

    /// Sets the handshake timeout to `left`, because the opening handshake has used the rest of the
    /// timeout. The wait for the peer's transport parameters must end within `left`.
    pub(crate) fn time_left(mut self, left: Duration) -> Self {
        self.config.handshake_timeout(left);
        self
    }

    /// Sets how the connection gets a new socket after the loss of its socket.
    pub(crate) fn resume(mut self, resume: Resume) -> Self {
        self.resume = resume;
        self
    }

    /// Makes the connection over an upgraded stream. If bytes after the HTTP head were read
    /// together with the head, `rest` contains these bytes.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn build_upgraded<S>(
        self,
        io: S,
        rest: &[u8],
        side: Side,
        wire: Wire,
    ) -> WebSocketConnection
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let socket = self.socket(io, rest, side, wire);
        self.build_over(socket, side, wire)
    }

    /// Returns the WebSocket over an upgraded stream.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn socket<S>(&self, io: S, rest: &[u8], side: Side, wire: Wire) -> NewSocket
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limit = self.config.max_inbound_message(wire);
        NewSocket::new(FramedSocket::new(io, rest, side, limit))
    }

    /// Makes the connection over a WebSocket that is ready to be driven.
    pub(crate) fn build_over(
        self,
        socket: NewSocket,
        side: Side,
        wire: Wire,
    ) -> WebSocketConnection {
        WebSocketConnection::start(socket, side, wire, self)
    }
}
