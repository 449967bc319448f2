//! What the operating system knows of the path below a stream of bytes.

use std::{any::Any, time::Duration};

use tokio::net::TcpStream;

// The kernel fills as much of the structure as it is given room for, and its own has only ever grown: nix's
// check that all of it was filled holds on every Linux that Rust's standard library runs on.

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

/// The smoothed round-trip time that TCP has measured below `io`, where that is TCP, bare or under TLS, and the
/// operating system tells: on Linux.
pub(super) fn rtt(io: &dyn Any) -> Option<Duration> {
    let tcp = tcp_below(io)?;
    #[cfg(target_os = "linux")]
    {
        let info = nix::sys::socket::getsockopt(tcp, TcpInfo).ok()?;
        // Before the first sample it is 0.
        (info.tcpi_rtt > 0).then(|| Duration::from_micros(info.tcpi_rtt.into()))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _: &TcpStream = tcp;
        None
    }
}

fn tcp_below(io: &dyn Any) -> Option<&TcpStream> {
    #[cfg(feature = "tls")]
    {
        if let Some(tls) = io.downcast_ref::<tokio_rustls::client::TlsStream<TcpStream>>() {
            return Some(tls.get_ref().0);
        }
        if let Some(tls) = io.downcast_ref::<tokio_rustls::server::TlsStream<TcpStream>>() {
            return Some(tls.get_ref().0);
        }
    }
    io.downcast_ref()
}
