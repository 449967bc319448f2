//! What the operating system is asked to do for a client's TCP connection.

use std::{io, net::SocketAddr, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};

/// Options of the TCP socket below a client's connections, set before it connects.
///
/// ```
/// use std::time::Duration;
/// use wsmux::{SocketOptions, WebSocketClient};
///
/// # fn main() -> Result<(), wsmux::BuildError> {
/// let mut options = SocketOptions::default();
/// options.keepalive(Some(Duration::from_secs(60)));
/// let client = WebSocketClient::builder().socket_options(options).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct SocketOptions {
    nodelay: bool,
    keepalive: Option<Duration>,
    send_buffer: Option<u32>,
    recv_buffer: Option<u32>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            // What goes to the socket has been gathered into messages already: Nagle's algorithm would only hold
            // grants and the ends of streams back for a round trip.
            nodelay: true,
            // The connection pings by itself, which a proxy passes on; TCP's probes end at the proxy.
            keepalive: None,
            // The system's own sizes grow with the path. Fixed ones do not, on Linux not even down.
            send_buffer: None,
            recv_buffer: None,
        }
    }
}

impl SocketOptions {
    /// `TCP_NODELAY`: small writes leave at once (Nagle's algorithm is off). Default `true`.
    pub fn nodelay(&mut self, nodelay: bool) -> &mut Self {
        self.nodelay = nodelay;
        self
    }

    /// `SO_KEEPALIVE`: the system probes a connection that has been silent for so long, by its own count and
    /// interval. Default `None`, because [`Config::keep_alive_interval`](crate::Config::keep_alive_interval) sees
    /// further; useful where that is off, to keep a NAT's entry alive.
    pub fn keepalive(&mut self, idle: Option<Duration>) -> &mut Self {
        self.keepalive = idle.filter(|idle| !idle.is_zero());
        self
    }

    /// `SO_SNDBUF` in bytes; the system may round it, and Linux doubles it. Default `None`: the system's own size,
    /// which grows as the path needs it.
    pub fn send_buffer(&mut self, bytes: Option<u32>) -> &mut Self {
        self.send_buffer = bytes;
        self
    }

    /// `SO_RCVBUF` in bytes; otherwise as [`send_buffer`](Self::send_buffer).
    pub fn recv_buffer(&mut self, bytes: Option<u32>) -> &mut Self {
        self.recv_buffer = bytes;
        self
    }

    pub(super) async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        socket.set_nodelay(self.nodelay)?;
        if let Some(idle) = self.keepalive {
            SockRef::from(&socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(idle))?;
        }
        if let Some(bytes) = self.send_buffer {
            socket.set_send_buffer_size(bytes)?;
        }
        // Before the connection, for the window's scale is agreed on in its first packets (RFC 7323 §2).
        if let Some(bytes) = self.recv_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.connect(address).await
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn connected(options: &SocketOptions) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        options.connect(listener.local_addr().unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn a_socket_is_set_as_the_options_say() {
        let stream = connected(&SocketOptions::default()).await;
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(!socket.keepalive().unwrap());
        let usual = (socket.send_buffer_size().unwrap(), socket.recv_buffer_size().unwrap());

        let mut options = SocketOptions::default();
        let idle = Duration::from_secs(77);
        options.nodelay(false).keepalive(Some(idle));
        options.send_buffer(Some(20_000)).recv_buffer(Some(10_000));
        let stream = connected(&options).await;
        let socket = SockRef::from(&stream);
        assert!(!socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_keepalive_time().unwrap(), idle);
        let set = (socket.send_buffer_size().unwrap(), socket.recv_buffer_size().unwrap());
        assert!(set.0 < usual.0 && (20_000..=40_000).contains(&set.0), "{set:?}, not {usual:?}");
        assert!(set.1 < usual.1 && (10_000..=20_000).contains(&set.1), "{set:?}, not {usual:?}");
    }
}
