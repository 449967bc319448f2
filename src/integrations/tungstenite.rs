//! Connections over a WebSocket that `tokio-tungstenite` has opened.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::WebSocketConfig};
use wsmux_proto::{Config, ConnectionError, Side, Wire};

use crate::{
    connection::{ConnectionInfo, WebSocketConnection},
    socket::TungsteniteSocket,
};

impl WebSocketConnection {
    /// Makes a connection over a WebSocket that `tokio-tungstenite` has opened, as a client or as a
    /// server. Waits for the peer's transport parameters, up to the [handshake
    /// timeout](Config::handshake_timeout).
    ///
    /// `side` must be the role of the WebSocket, and `wire` the wire on which the two ends agreed
    /// in the handshake. [`Wire::QMux`] requires that the subprotocol stands for QMux, such as
    /// `qmux-02` or `qmux-02.<app>`, and that no extension was negotiated. No message may have been
    /// read since the handshake.
    ///
    /// Make the WebSocket with [`websocket_config`](Self::websocket_config). With tungstenite's own
    /// defaults, a WebSocket accepts messages of 64 MiB, and queues any amount of data for a peer
    /// that does not read. If tungstenite's limit on the size of a message is below that of
    /// `config`, a connection may fail although its peer follows the rules. If
    /// `max_write_buffer_size` is below 193 KiB, a connection may fail because a message does not
    /// fit.
    ///
    /// If writing a pong to the underlying stream fails, tungstenite stops reading, and received
    /// data that has not been read is lost. A [`WebSocketClient`](crate::WebSocketClient) and a
    /// [`WebSocketServer`](crate::WebSocketServer) do not have this problem.
    ///
    /// # Errors
    /// [`ConnectionError`] if the connection ended before it was established.
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

    /// Returns the tungstenite settings for a WebSocket that is passed to
    /// [`from_websocket`](Self::from_websocket) with `config` and `wire`.
    pub fn websocket_config(config: &Config, wire: Wire) -> WebSocketConfig {
        TungsteniteSocket::config(config.max_inbound_message(wire))
    }
}
