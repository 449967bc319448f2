//! A WebSocket that a client has opened, and the connection over it.

use std::time::Duration;

use wsmux_proto::{Side, Wire};

use crate::{
    connection::{
        ConnectionInfo, WebSocketConnection, WebSocketConnectionBuilder,
        resume::{NewSocket, Resume},
    },
    error::ConnectError,
};

/// A WebSocket that is open and has no connection yet.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) socket: NewSocket,
    pub(super) info: ConnectionInfo,
    /// The time that is left of the handshake timeout.
    pub(super) left: Duration,
}

impl Opened {
    /// Makes the connection over the WebSocket, and waits for the server's transport parameters.
    pub(super) async fn establish(
        self,
        settings: &WebSocketConnectionBuilder,
        wire: Wire,
        resume: Resume,
    ) -> Result<WebSocketConnection, ConnectError> {
        let Self { socket, info, left } = self;
        let settings = settings.clone().info(info).time_left(left).resume(resume);
        let connection = settings.build_over(socket, Side::Client, wire);
        connection.established().await?;
        Ok(connection)
    }

    /// Gives the WebSocket to a connection that was made with this subprotocol. Also returns how
    /// long the server may take to answer.
    ///
    /// # Errors
    /// [`ConnectError::Subprotocol`] if the server has selected another subprotocol.
    pub(super) fn resume(
        self,
        subprotocol: Option<&str>,
    ) -> Result<(NewSocket, Duration), ConnectError> {
        let selected = self.info.subprotocol();
        if selected == subprotocol {
            return Ok((self.socket, self.left));
        }
        // The caller does not dial again after this error, because a later attempt would get the
        // same answer.
        Err(ConnectError::Subprotocol {
            offered: subprotocol.map(str::to_owned).into_iter().collect(),
            selected: selected.map(str::to_owned),
        })
    }
}
