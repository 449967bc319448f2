//! Dialling.

use std::io;

use super::{WebSocketConnection, background::Background};
use crate::error::ConnectError;

/// Opens connections to servers. Cheap to clone; the clones share their thread in the background.
#[derive(Debug, Clone)]
pub struct WebSocketClient {
    client: crate::client::WebSocketClient,
    background: Background,
}

impl WebSocketClient {
    /// A client with the settings of `client`, and a thread in the background for its connections.
    ///
    /// # Errors
    /// What the operating system says when it has no more threads or file descriptors.
    pub fn new(client: crate::client::WebSocketClient) -> io::Result<Self> {
        Ok(Self { client, background: Background::start()? })
    }

    /// Connects to a `ws://` or `wss://` URL, as [`connect`](crate::WebSocketClient::connect) of the async
    /// client does, with its timeouts.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect(&self, url: &str) -> Result<WebSocketConnection, ConnectError> {
        let connection = self.background.wait(self.client.connect(url))?;
        Ok(WebSocketConnection::from_async(connection))
    }

    /// The async client with the same settings.
    pub fn as_async(&self) -> &crate::client::WebSocketClient {
        &self.client
    }
}
