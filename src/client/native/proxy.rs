//! A tunnel through an HTTP proxy, with or without TLS to the proxy.

use std::time::Duration;

use http::StatusCode;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{dial::dial, exchange, is_an_answer, refusal, say_goodbye};
use crate::{
    client::SocketOptions,
    error::ConnectError,
    handshake::{client::Target, proxy::Proxy},
};

/// A stream of bytes that leads to the server.
pub(in crate::client) enum Tunnel {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<tokio_rustls::client::TlsStream<crate::socket::ReadAhead<TcpStream>>>),
}

/// A proxy, and the TLS configuration for it.
#[derive(Debug)]
pub(super) struct ProxyServer {
    pub(super) proxy: Proxy,
    #[cfg(feature = "tls")]
    pub(super) tls: super::tls::LazyConfig,
}

impl ProxyServer {
    /// Makes the proxy connect to the target. Every error is a [`ConnectError::Proxy`]. Either the
    /// proxy itself has failed, or the proxy reports a failure of the server.
    pub(super) async fn tunnel(
        &self,
        target: &Target,
        limit: Duration,
        options: &SocketOptions,
    ) -> Result<(TunnelAddresses, Tunnel), ConnectError> {
        let time = TimeLimit { start: Instant::now(), limit };
        let made = async {
            let tcp =
                dial(&self.proxy.at.host_in_zone(), self.proxy.at.port, limit, options).await?;
            let addresses = (tcp.peer_addr().ok(), tcp.local_addr().ok());
            Ok((addresses, self.through(tcp, target, time).await?))
        };
        made.await.map_err(|error: ConnectError| ConnectError::Proxy(error.into()))
    }

    async fn through(
        &self,
        mut tcp: TcpStream,
        target: &Target,
        time: TimeLimit,
    ) -> Result<Tunnel, ConnectError> {
        #[cfg(feature = "tls")]
        if self.proxy.at.tls {
            let name = super::tls::server_name(&self.proxy.at.host)?;
            let handshake = super::tls::connect(&self.tls, &[super::tls::HTTP1], name, tcp);
            let mut tls = time.bound(handshake).await?;
            self.ask(&mut tls, target, time).await?;
            return Ok(Tunnel::Tls(tls.into()));
        }
        self.ask(&mut tcp, target, time).await?;
        Ok(Tunnel::Plain(tcp))
    }

    async fn ask(
        &self,
        io: &mut (impl AsyncRead + AsyncWrite + Unpin),
        target: &Target,
        time: TimeLimit,
    ) -> Result<(), ConnectError> {
        let request = self.proxy.request(target);
        let is_tunnel = |status: StatusCode| status.is_success();
        let tunnel = match time.bound(exchange(io, &request, is_tunnel)).await {
            Ok((response, rest)) if !is_tunnel(response.status()) => {
                Err(refusal(io, response, rest, time.left()).await)
            }
            Ok((_, rest)) if rest.is_empty() => Ok(()),
            // Nothing has been sent to the server yet, and an HTTP or TLS server does not send
            // first. So the bytes after the response cannot come from the server.
            Ok(_) => Err(ConnectError::InvalidResponse("bytes after a tunnel's response".into())),
            Err(error) => Err(error),
        };
        if tunnel.as_ref().is_err_and(is_an_answer) {
            say_goodbye(io).await;
        }
        tunnel
    }
}

/// The connect timeout, which all steps up to the tunnel share.
#[derive(Debug, Clone, Copy)]
struct TimeLimit {
    start: Instant,
    limit: Duration,
}

impl TimeLimit {
    fn left(&self) -> Duration {
        self.limit.saturating_sub(self.start.elapsed())
    }

    async fn bound<T>(
        &self,
        step: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        timeout(self.left(), step).await.unwrap_or(Err(ConnectError::ConnectTimeout))
    }
}

/// The remote and the local address of the TCP connection to the proxy.
type TunnelAddresses = (Option<std::net::SocketAddr>, Option<std::net::SocketAddr>);
