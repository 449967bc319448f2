//! Listening.

use std::{
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    time::Duration,
};

use super::{WebSocketConnection, background::Background};
use crate::{
    error::AcceptError,
    proto::VarInt,
    server::{ShutdownReport, WebSocketAcceptor},
};

/// Takes connections from clients. Several threads may accept at once.
#[derive(Debug)]
pub struct WebSocketServer {
    server: crate::server::WebSocketServer,
    background: Background,
}

impl WebSocketServer {
    /// Listens on a TCP address; `acceptor` has the settings
    /// ([`build`](crate::WebSocketServerBuilder::build)).
    ///
    /// # Errors
    /// What the operating system says.
    pub fn bind(address: impl ToSocketAddrs, acceptor: WebSocketAcceptor) -> io::Result<Self> {
        Self::new(TcpListener::bind(address)?, acceptor)
    }

    /// A server over a TCP socket that listens already.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn new(listener: TcpListener, acceptor: WebSocketAcceptor) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let background = Background::start()?;
        let listener = background.wait(async { tokio::net::TcpListener::from_std(listener) })?;
        let server = crate::server::WebSocketServer::new(listener, acceptor);
        Ok(Self { server, background })
    }

    /// The address that the server listens on: the port, where it was bound to port 0.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.server.local_addr()
    }

    /// The server's settings.
    pub fn acceptor(&self) -> &WebSocketAcceptor {
        self.server.acceptor()
    }

    /// Waits for the next client. Its handshake is for [`Connecting::wait`] to do, best in a thread of its
    /// own: then a client that is slow holds up nobody. `None` once the server is [closed](Self::close).
    ///
    /// It does not fail, as that of the [async server](crate::WebSocketServer::accept) does not.
    pub fn accept(&self) -> Option<Connecting> {
        let connecting = self.background.wait(self.server.accept())?;
        Some(Connecting { connecting, background: self.background.clone() })
    }

    /// From now on [`accept`](Self::accept) gives `None`, also to the threads that wait in it, and nobody listens
    /// any more. Connections go on, and so do handshakes.
    pub fn close(&self) {
        self.server.close();
    }

    /// Ends the server and every connection that it has accepted; see the
    /// [async server's](crate::WebSocketServer::shutdown).
    pub fn shutdown(&self, timeout: Duration, code: VarInt, reason: &[u8]) -> ShutdownReport {
        self.background.wait(self.server.shutdown(timeout, code, reason))
    }
}

/// A client whose handshake is to be done. Nothing happens before it is waited for, but the handshake timeout
/// counts from the TCP connection. When it is dropped, the client's socket is closed.
#[derive(Debug)]
#[must_use = "the handshake is done by waiting for it"]
pub struct Connecting {
    connecting: crate::server::Connecting,
    background: Background,
}

impl Connecting {
    /// The client's address, or that of the proxy before it; `None` on a Unix socket.
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
