//! Makes a connection of a WebSocket that is open already.

use std::time::Duration;

#[cfg(not(target_family = "wasm"))]
use tokio::io::{AsyncRead, AsyncWrite};

use super::{ConnectionInfo, WebSocketConnection};
#[cfg(feature = "qlog")]
use crate::observe::qlog::QlogConfig;
#[cfg(not(target_family = "wasm"))]
use crate::socket::FramedSocket;
use crate::{
    proto::{Config, Side, Wire},
    socket::Socket,
};

/// Makes a [`WebSocketConnection`] of a WebSocket whose handshake is done: from [`WebSocketConnection::builder`].
///
/// A client and a server make theirs in the same way, with the same defaults.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct WebSocketConnectionBuilder {
    pub(crate) config: Config,
    pub(crate) info: ConnectionInfo,
    #[cfg(feature = "qlog")]
    pub(crate) qlog: Option<QlogConfig>,
}

impl WebSocketConnectionBuilder {
    /// The limits and timeouts of the connection. Default [`Config::default`].
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// What is known from the handshake. Default nothing.
    pub fn info(mut self, info: ConnectionInfo) -> Self {
        self.info = info;
        self
    }

    /// Writes a log of the connection in QUIC's qlog format, if it is on the QMux wire. `None` for no
    /// log, which is the default: a log costs time and disk space, and shows who did what and when.
    #[cfg(feature = "qlog")]
    pub fn qlog(mut self, qlog: Option<QlogConfig>) -> Self {
        self.qlog = qlog;
        self
    }

    /// The connection over `socket`. It must be called within a tokio runtime, in which the connection's task then
    /// runs; in a web page the browser runs it. It does not wait for the peer: see
    /// [`established`](WebSocketConnection::established).
    pub fn build(self, socket: impl Socket + Unpin, side: Side, wire: Wire) -> WebSocketConnection {
        WebSocketConnection::start(socket, side, wire, self)
    }

    /// Leaves `left` time for what is missing of the handshake.
    pub(crate) fn time_left(mut self, left: Duration) -> Self {
        self.config.handshake_timeout(left);
        self
    }

    /// The connection over an upgraded stream, of which `rest` was read with the head.
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
        let socket = FramedSocket::new(io, rest, side, self.config.max_inbound_message(wire));
        self.build(socket, side, wire)
    }
}
