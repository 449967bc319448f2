//! The server of the blocking API.

use std::{
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    time::Duration,
};

use wsmux_proto::VarInt;

use super::{WebSocketConnection, background::Background};
use crate::{
    error::AcceptError,
    server::{ShutdownReport, WebSocketAcceptor},
};

/// Accepts connections from clients. Several threads may accept at once.
#[derive(Debug)]
pub struct WebSocketServer {
    server: crate::server::WebSocketServer,
    background: Background,
}

impl WebSocketServer {
    /// Listens on a TCP address with the settings of `acceptor`
    /// ([`build`](crate::WebSocketServerBuilder::build) makes an acceptor).
    ///
    /// # Errors
    /// The operating system's error.
    pub fn bind(address: impl ToSocketAddrs, acceptor: WebSocketAcceptor) -> io::Result<Self> {
        Self::new(TcpListener::bind(address)?, acceptor)
    }

    /// Makes a server from a TCP socket that already listens.
    ///
    /// # Errors
    /// The operating system's error.
    pub fn new(listener: TcpListener, acceptor: WebSocketAcceptor) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let background = Background::start()?;
        let listener = background.wait(async { tokio::net::TcpListener::from_std(listener) })?;
        let server = crate::server::WebSocketServer::new(listener, acceptor);
        Ok(Self { server, background })
    }

    /// Returns the address that the server listens on, with the actual port if it was bound to port
    /// 0.
    ///
    /// # Errors
    /// The operating system's error.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.server.local_addr()
    }

    /// Returns the server's settings.
    pub fn acceptor(&self) -> &WebSocketAcceptor {
        self.server.acceptor()
    }

    /// Waits for the next client, and returns the client before its handshake. [`Connecting::wait`]
    /// does the handshake. Call `wait` in a thread of its own, so that a slow client does not delay
    /// other clients. Returns `None` once the server is [closed](Self::close).
    ///
    /// Like [`accept`](crate::WebSocketServer::accept) of the async server, this method never
    /// fails.
    pub fn accept(&self) -> Option<Connecting> {
        let connecting = self.background.wait(self.server.accept())?;
        Some(Connecting { connecting, background: self.background.clone() })
    }

    /// Stops listening. From now on [`accept`](Self::accept) returns `None`, also in threads that
    /// are already waiting in it. Open connections and handshakes in progress continue.
    pub fn close(&self) {
        self.server.close();
    }

    /// Ends the server and every connection that it has accepted; see
    /// [`shutdown`](crate::WebSocketServer::shutdown) of the async server.
    pub fn shutdown(&self, timeout: Duration, code: VarInt, reason: &[u8]) -> ShutdownReport {
        self.background.wait(self.server.shutdown(timeout, code, reason))
    }
}

/// A client before its handshake. [`wait`](Self::wait) starts the handshake, but the handshake's
/// timeout counts from the moment when the TCP connection was accepted. Dropping this closes the
/// client's socket.
#[derive(Debug)]
#[must_use = "the handshake is done by waiting for it"]
pub struct Connecting {
    connecting: crate::server::Connecting,
    background: Background,
}

impl Connecting {
    /// Returns the client's address, or the address of a proxy in front of the server; `None` on a
    /// Unix socket.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.connecting.remote_address()
    }

    /// Does the handshake, within the [handshake timeout](crate::Config::handshake_timeout).
    ///
    /// # Errors
    /// [`AcceptError`].
    pub fn wait(self) -> Result<WebSocketConnection, AcceptError> {
        let Self { connecting, background } = self;
        let connection = background.wait(connecting)?;
        Ok(WebSocketConnection::from_async(connection))
    }
}
