//! The client of the blocking API.

use std::io;

use super::{WebSocketConnection, background::Background};
use crate::error::ConnectError;

/// Opens connections to servers. The client is cheap to clone. All clones share one background
/// thread.
#[derive(Debug, Clone)]
pub struct WebSocketClient {
    client: crate::client::WebSocketClient,
    background: Background,
}

impl WebSocketClient {
    /// Makes a client with the settings of `client`, and a background thread for its connections.
    ///
    /// # Errors
    /// The operating system's error if no more threads or file descriptors are available.
    pub fn new(client: crate::client::WebSocketClient) -> io::Result<Self> {
        Ok(Self { client, background: Background::start()? })
    }

    /// Connects to a `ws://` or `wss://` URL. The timeouts are the same as for the async client's
    /// [`connect`](crate::WebSocketClient::connect).
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect(&self, url: &str) -> Result<WebSocketConnection, ConnectError> {
        let connection = self.background.wait(self.client.connect(url))?;
        Ok(WebSocketConnection::from_async(connection))
    }

    /// Returns the async client with the same settings.
    pub fn as_async(&self) -> &crate::client::WebSocketClient {
        &self.client
    }
}
