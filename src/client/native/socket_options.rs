//! The options of a client's TCP sockets.

use std::{io, net::SocketAddr, ops::RangeInclusive, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};

/// The options of the TCP sockets below a client's connections. The client sets the options before
/// the sockets connect. A value that some systems do not accept is rounded to a value that all
/// systems accept, as described at each setting. Thus no setting makes connecting fail. `None`
/// keeps the system's default.
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

/// The range of `TCP_KEEPIDLE` on Linux, which is smaller than on other systems: whole seconds in
/// 15 bits (`MAX_TCP_KEEPIDLE` of its `net/tcp.h`).
const KEEPALIVE_SECONDS: RangeInclusive<u64> = 1..=32_767;

/// The range for the sizes of a socket's buffers. The sizes are signed C integers, and BSD does not
/// accept 0.
const BUFFER_BYTES: RangeInclusive<u32> = 1..=i32::MAX as u32;

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            // Frames are already gathered into messages. Nagle's algorithm would only delay credit
            // and the ends of streams by a round trip.
            nodelay: true,
            // The connection sends its own pings, which pass through a proxy to the peer. TCP's
            // probes reach only the proxy.
            keepalive: None,
            // The operating system adapts its default sizes to the path, but not sizes that a
            // program has set.
            send_buffer: None,
            recv_buffer: None,
        }
    }
}

impl SocketOptions {
    /// Sets `TCP_NODELAY`. With `true`, small writes are sent at once, because Nagle's algorithm is
    /// off. Default `true`.
    pub fn nodelay(&mut self, nodelay: bool) -> &mut Self {
        self.nodelay = nodelay;
        self
    }

    /// Sets `SO_KEEPALIVE`: the system probes a connection that has been silent for this time. The
    /// system chooses the number and the interval of the probes. Zero and `None` turn the probes
    /// off. The default is `None`. The time is rounded up to whole seconds, and limited to 32,767 s
    /// (about nine hours), because Linux accepts no more.
    ///
    /// [`Config::keep_alive_interval`](crate::Config::keep_alive_interval) detects more failures.
    /// If the keep-alive interval is off, TCP's probes can keep a NAT's entry alive.
    pub fn keepalive(&mut self, idle: Option<Duration>) -> &mut Self {
        let (least, most) = KEEPALIVE_SECONDS.into_inner();
        self.keepalive = idle.filter(|idle| !idle.is_zero()).map(|idle| {
            let seconds = idle.as_secs().saturating_add(u64::from(idle.subsec_nanos() > 0));
            Duration::from_secs(seconds.clamp(least, most))
        });
        self
    }

    /// Sets `SO_SNDBUF` in bytes, in the range from 1 to 2^31 - 1. With `None`, which is the
    /// default, the system chooses the size and adapts it to the path.
    ///
    /// The system may change the value. Linux doubles the value, and limits it to a maximum. BSD
    /// and macOS refuse a value above their maximum, so the value is halved until they accept it.
    pub fn send_buffer(&mut self, bytes: Option<u32>) -> &mut Self {
        self.send_buffer = bytes.map(buffer_bytes);
        self
    }

    /// Sets `SO_RCVBUF` in bytes. The range, the default and the system's changes are the same as
    /// for [`send_buffer`](Self::send_buffer).
    pub fn recv_buffer(&mut self, bytes: Option<u32>) -> &mut Self {
        self.recv_buffer = bytes.map(buffer_bytes);
        self
    }

    pub(super) async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        socket.set_nodelay(self.nodelay)?;
        if let Some(idle) = self.keepalive {
            let keepalive = TcpKeepalive::new().with_time(idle);
            // Windows sets the idle time and the interval in one call, so the interval must be
            // given as well. One second is the default of Windows.
            #[cfg(windows)]
            let keepalive = keepalive.with_interval(Duration::from_secs(1));
            SockRef::from(&socket).set_tcp_keepalive(&keepalive)?;
        }
        if let Some(bytes) = self.send_buffer {
            set_largest(bytes, |bytes| socket.set_send_buffer_size(bytes));
        }
        // The size of the receive buffer must be set before connecting, because the window scale is
        // agreed on in the first packets (RFC 7323 §2).
        if let Some(bytes) = self.recv_buffer {
            set_largest(bytes, |bytes| socket.set_recv_buffer_size(bytes));
        }
        socket.connect(address).await
    }
}

fn buffer_bytes(bytes: u32) -> u32 {
    bytes.clamp(*BUFFER_BYTES.start(), *BUFFER_BYTES.end())
}

/// Sets a size, and halves it until the system accepts it. If the system accepts no size, the
/// system's default stays.
fn set_largest(bytes: u32, set: impl Fn(u32) -> io::Result<()>) {
    let sizes = std::iter::successors(Some(bytes), |bytes| Some(bytes / 2));
    // The search ends, because a size can be halved only as often as it has bits.
    let _ = sizes.take_while(|&bytes| bytes > 0).find(|&bytes| set(bytes).is_ok());
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

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

    /// Without rounding, Linux and other systems would refuse some of these values with EINVAL when
    /// the socket connects.
    #[tokio::test]
    async fn every_keepalive_connects_and_is_rounded_as_documented() {
        for (idle, expected) in [
            (Duration::ZERO, None),
            (Duration::from_nanos(1), Some(1)),
            (Duration::from_millis(500), Some(1)),
            (Duration::from_secs(1), Some(1)),
            (Duration::from_millis(1_001), Some(2)),
            (Duration::from_secs(32_767), Some(32_767)),
            (Duration::from_secs(32_768), Some(32_767)),
            (Duration::from_secs(24 * 60 * 60), Some(32_767)),
            (Duration::from_secs(u64::from(u32::MAX)), Some(32_767)),
            (Duration::MAX, Some(32_767)),
        ] {
            let mut options = SocketOptions::default();
            options.keepalive(Some(idle));
            let stream = connected(&options).await;
            let socket = SockRef::from(&stream);
            assert_eq!(socket.keepalive().unwrap(), expected.is_some(), "{idle:?}");
            #[cfg(target_os = "linux")]
            if let Some(expected) = expected {
                let found = socket.tcp_keepalive_time().unwrap();
                assert_eq!(found, Duration::from_secs(expected), "{idle:?}");
            }
        }
    }

    #[tokio::test]
    async fn every_size_of_a_buffer_connects() {
        for bytes in [0, 1, 4_096, 1 << 20, i32::MAX as u32, 1 << 31, u32::MAX] {
            let mut options = SocketOptions::default();
            options.send_buffer(Some(bytes)).recv_buffer(Some(bytes));
            connected(&options).await;
        }
    }

    #[test]
    fn a_size_that_the_system_refuses_is_halved_until_it_takes_it() {
        let tried = RefCell::new(Vec::new());
        let set = |bytes| {
            tried.borrow_mut().push(bytes);
            let refused = || io::Error::from(io::ErrorKind::OutOfMemory);
            (bytes <= 1 << 20).then_some(()).ok_or_else(refused)
        };
        set_largest(7 << 20, set);
        assert_eq!(tried.take(), [7 << 20, 7 << 19, 7 << 18, 7 << 17]);
        set_largest(1, set);
        assert_eq!(tried.take(), [1]);
        set_largest(u32::MAX, |_| Err(io::ErrorKind::Unsupported.into()));
    }
}
