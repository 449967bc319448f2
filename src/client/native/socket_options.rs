//! The options of a client's TCP sockets.

use std::{io, net::SocketAddr, ops::RangeInclusive, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};

/// Options of the TCP sockets below a client's connections, set before they connect. A value that
/// not every system accepts is rounded to one that all accept, as each setting says. So no setting
/// makes a connect fail. `None` leaves the system's default.
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

/// The sizes of a socket's buffers are signed C integers, and BSD does not take 0.
const BUFFER_BYTES: RangeInclusive<u32> = 1..=i32::MAX as u32;

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            // Frames are already gathered into messages. Nagle's algorithm would only delay grants
            // and the ends of streams by a round trip.
            nodelay: true,
            // The connection has its own pings, which pass through a proxy. TCP's probes end at the
            // proxy.
            keepalive: None,
            // The system's own sizes adapt to the path. Fixed sizes do not, and on Linux they do
            // not even shrink.
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

    /// `SO_KEEPALIVE`: the system probes a connection that has been silent for this time. The
    /// system sets the number and interval of the probes. `None` for no probes, as is zero; this is
    /// the default. Rounded up to whole seconds. At most 32,767 s (about nine hours), because Linux
    /// accepts no more.
    ///
    /// [`Config::keep_alive_interval`](crate::Config::keep_alive_interval) detects more failures.
    /// TCP's probes are useful where that is off, to keep a NAT's entry alive.
    pub fn keepalive(&mut self, idle: Option<Duration>) -> &mut Self {
        let (least, most) = KEEPALIVE_SECONDS.into_inner();
        self.keepalive = idle.filter(|idle| !idle.is_zero()).map(|idle| {
            let seconds = idle.as_secs().saturating_add(u64::from(idle.subsec_nanos() > 0));
            Duration::from_secs(seconds.clamp(least, most))
        });
        self
    }

    /// `SO_SNDBUF` in bytes. Range 1 to 2^31 - 1. `None` for the system's own size, which adapts to
    /// the path; this is the default.
    ///
    /// The system may change the value: Linux doubles it, and lowers it to its own maximum. BSD and
    /// macOS refuse more than their maximum, so the value is halved until they accept it.
    pub fn send_buffer(&mut self, bytes: Option<u32>) -> &mut Self {
        self.send_buffer = bytes.map(buffer_bytes);
        self
    }

    /// `SO_RCVBUF` in bytes; otherwise as [`send_buffer`](Self::send_buffer).
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
            // Windows sets the idle time and the interval in one call. One second is its default
            // interval.
            #[cfg(windows)]
            let keepalive = keepalive.with_interval(Duration::from_secs(1));
            SockRef::from(&socket).set_tcp_keepalive(&keepalive)?;
        }
        if let Some(bytes) = self.send_buffer {
            set_largest(bytes, |bytes| socket.set_send_buffer_size(bytes));
        }
        // Before connecting, because the window scale is agreed on in the first packets (RFC 7323
        // §2).
        if let Some(bytes) = self.recv_buffer {
            set_largest(bytes, |bytes| socket.set_recv_buffer_size(bytes));
        }
        socket.connect(address).await
    }
}

fn buffer_bytes(bytes: u32) -> u32 {
    bytes.clamp(*BUFFER_BYTES.start(), *BUFFER_BYTES.end())
}

/// Halves a size until the system accepts it. If it accepts none, the system's own size stays.
fn set_largest(bytes: u32, set: impl Fn(u32) -> io::Result<()>) {
    let sizes = std::iter::successors(Some(bytes), |bytes| Some(bytes / 2));
    // Ends, because a size can be halved only as often as it has bits.
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

    /// What Linux and others refuse with EINVAL, at the moment of connecting.
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
