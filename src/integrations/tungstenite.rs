//! Connections over a WebSocket that somebody else has opened.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::WebSocketConfig};

use crate::{
    connection::{ConnectionInfo, WebSocketConnection},
    proto::{Config, ConnectionError, Side, Wire},
    socket::TungsteniteSocket,
};

impl WebSocketConnection {
    /// A connection over a WebSocket of `tokio-tungstenite` whose handshake is done, in either role. Waits for
    /// the peer's transport parameters, up to the [handshake timeout](Config::handshake_timeout).
    ///
    /// `side` must be the role that the WebSocket has, and `wire` what was agreed on: on [`Wire::QMux`] a
    /// subprotocol `qmux-02` or `qmux-02.<app>`, without any extension. Of what was read before, nothing may be
    /// missing.
    ///
    /// The WebSocket should have been made with [`websocket_config`](Self::websocket_config). By its own defaults tungstenite
    /// takes messages of 64 MiB, and queues without a limit for a peer that does not read. A limit on messages
    /// below that of the configuration fails connections whose peer does nothing wrong; a
    /// `max_write_buffer_size` below 193 KiB may fail them when a message does not fit.
    ///
    /// Where the stream below fails to write a pong, what had arrived and was not read yet is lost, for
    /// tungstenite stops reading then. A [`WebSocketClient`](crate::WebSocketClient) and a
    /// [`WebSocketServer`](crate::WebSocketServer) do not have this problem.
    ///
    /// # Errors
    /// [`ConnectionError`] when the connection ended before its start.
    ///
    /// # Cancel safety
    /// When the future is dropped, the connection is closed.
    pub async fn from_websocket<S>(
        websocket: WebSocketStream<S>,
        side: Side,
        wire: Wire,
        config: Config,
    ) -> Result<Self, ConnectionError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let socket = TungsteniteSocket::new(websocket);
        let info = ConnectionInfo::default();
        let connection = Self::from_socket(socket, side, wire, config, info);
        connection.established().await?;
        Ok(connection)
    }

    /// The settings of tungstenite for a WebSocket that goes to [`from_websocket`](Self::from_websocket) with `config`
    /// and `wire`.
    pub fn websocket_config(config: &Config, wire: Wire) -> WebSocketConfig {
        TungsteniteSocket::config(config.max_inbound_message(wire))
    }
}
