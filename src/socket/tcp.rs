//! Reads what the operating system knows about the TCP connection below a byte stream, and sets
//! options on it.

use std::{any::Any, time::Duration};

use tokio::net::TcpStream;
#[cfg(feature = "tls")]
use tokio_rustls::{client::TlsStream as ClientTls, server::TlsStream as ServerTls};

#[cfg(feature = "tls")]
use super::ReadAhead;

/// TLS as our client makes it.
#[cfg(feature = "tls")]
type OurClientTls = ClientTls<ReadAhead<TcpStream>>;

/// TLS as our server makes it.
#[cfg(feature = "tls")]
type OurServerTls = ServerTls<ReadAhead<TcpStream>>;

// The kernel fills as much of `struct tcp_info` as fits into the buffer. `libc::tcp_info` is not
// larger than the structure of any Linux that Rust's standard library supports. So nix's check that
// the kernel has filled the whole buffer never fails.

/// `struct tcp_info` of `linux/tcp.h`.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy)]
struct TcpInfo;

#[cfg(target_os = "linux")]
nix::getsockopt_impl!(
    TcpInfo,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    libc::tcp_info,
    nix::sys::socket::sockopt::GetStruct<libc::tcp_info>
);

/// How many unsent bytes the operating system may hold, if the path is fast or its rate is not
/// known yet. This is the length of one message, which the operating system can send while the
/// driver wakes up to write more. An urgent message has to wait until these bytes have been sent.
/// Without a limit, the message would have to wait for megabytes. Bytes that were sent and not acknowledged do not
/// count, so the limit does not slow down a long path.
pub(super) const MAX_UNSENT: usize = 64 * 1024;

/// The smallest limit on these bytes, for slow paths. BBR treats a connection with less than a packet
/// of unsent bytes as one whose application has little to send, and then measures too low a rate.
pub(super) const MIN_UNSENT: usize = 16 * 1024;

/// `TCP_NOTSENT_LOWAT` of `linux/tcp.h`.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy)]
struct NotSentLowWater;

#[cfg(target_os = "linux")]
nix::setsockopt_impl!(
    NotSentLowWater,
    libc::IPPROTO_TCP,
    libc::TCP_NOTSENT_LOWAT,
    usize,
    nix::sys::socket::sockopt::SetUsize
);

/// Returns what TCP below `io` knows about its path: its congestion window in bytes, and the
/// smoothed round-trip time. Returns `None` unless `io` is TCP, bare or under TLS, and the operating
/// system is Linux.
pub(super) fn path(io: &dyn Any) -> Option<(u64, Duration)> {
    let tcp = tcp_below(io)?;
    #[cfg(target_os = "linux")]
    {
        let info = nix::sys::socket::getsockopt(tcp, TcpInfo).ok()?;
        let window = u64::from(info.tcpi_snd_cwnd) * u64::from(info.tcpi_snd_mss);
        // The kernel reports 0 before the first sample.
        (info.tcpi_rtt > 0).then(|| (window, Duration::from_micros(info.tcpi_rtt.into())))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _: &TcpStream = tcp;
        None
    }
}

/// Limits the unsent bytes that the operating system holds for `io` to `bytes`, if `io` is TCP, bare
/// or under TLS. Only Linux supports this limit.
pub(super) fn limit_unsent(io: &dyn Any, bytes: usize) {
    #[cfg(target_os = "linux")]
    if let Some(tcp) = tcp_below(io) {
        // If the option cannot be set, the connection still works, with more delay under load.
        let _ = nix::sys::socket::setsockopt(tcp, NotSentLowWater, &bytes);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (io, bytes);
}

/// How many bytes TLS 1.3 adds to a packet of almost 64 KiB. Such a packet has four records of at
/// most 16 KiB. Each record has a header of 5 bytes, a type of 1 byte, and a tag of 16 bytes (RFC
/// 8446 §5.2).
#[cfg(feature = "tls")]
const RECORDS: usize = 4 * (5 + 1 + 16);

/// Returns how many bytes TLS adds to a packet of almost 64 KiB; 0 if `io` is not under TLS.
pub(super) fn tls_overhead(io: &dyn Any) -> usize {
    #[cfg(feature = "tls")]
    if is_tls(io) {
        return RECORDS;
    }
    let _ = io;
    0
}

#[cfg(feature = "tls")]
fn is_tls(io: &dyn Any) -> bool {
    io.is::<OurClientTls>()
        || io.is::<OurServerTls>()
        || io.is::<ClientTls<TcpStream>>()
        || io.is::<ServerTls<TcpStream>>()
}

/// Frees the buffer below TLS, if `io` is TLS over TCP and the buffer is empty.
pub(super) fn release_read_ahead(io: &mut dyn Any) {
    #[cfg(feature = "tls")]
    if let Some(tls) = io.downcast_mut::<OurClientTls>() {
        tls.get_mut().0.release_buffer();
    } else if let Some(tls) = io.downcast_mut::<OurServerTls>() {
        tls.get_mut().0.release_buffer();
    }
    let _ = io;
}

fn tcp_below(io: &dyn Any) -> Option<&TcpStream> {
    #[cfg(feature = "tls")]
    if let Some(tls) = io.downcast_ref::<OurClientTls>() {
        return Some(tls.get_ref().0.get_ref());
    } else if let Some(tls) = io.downcast_ref::<OurServerTls>() {
        return Some(tls.get_ref().0.get_ref());
    } else if let Some(tls) = io.downcast_ref::<ClientTls<TcpStream>>() {
        return Some(tls.get_ref().0);
    } else if let Some(tls) = io.downcast_ref::<ServerTls<TcpStream>>() {
        return Some(tls.get_ref().0);
    }
    io.downcast_ref()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    nix::getsockopt_impl!(
        NotSentLowWater,
        libc::IPPROTO_TCP,
        libc::TCP_NOTSENT_LOWAT,
        usize,
        nix::sys::socket::sockopt::GetUsize
    );

    #[tokio::test]
    async fn tcp_is_told_to_hold_little_that_it_has_not_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        limit_unsent(&tcp, MAX_UNSENT);
        assert_eq!(nix::sys::socket::getsockopt(&tcp, NotSentLowWater), Ok(MAX_UNSENT));
    }
}
