//! A tunnel through an HTTP proxy, to which TLS may be spoken.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{dial::dial, exchange, is_an_answer, say_goodbye};
use crate::{
    client::SocketOptions,
    error::ConnectError,
    handshake::{client::Target, proxy::Proxy},
};

/// A stream of bytes that leads to the server.
pub(in crate::client) enum Tunnel {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

/// A proxy, and how to reach it.
#[derive(Debug)]
pub(super) struct ProxyServer {
    pub(super) proxy: Proxy,
    #[cfg(feature = "tls")]
    pub(super) tls: super::tls::LazyConfig,
}

impl ProxyServer {
    /// Has the proxy connect to the target. Whatever goes wrong is the proxy's: it says so for itself, and it
    /// alone knows the server so far.
    pub(super) async fn tunnel(
        &self,
        target: &Target,
        limit: Duration,
        options: &SocketOptions,
    ) -> Result<(TunnelAddresses, Tunnel), ConnectError> {
        let start = Instant::now();
        let made = async {
            let tcp =
                dial(&self.proxy.at.host_in_zone(), self.proxy.at.port, limit, options).await?;
            let addresses = (tcp.peer_addr().ok(), tcp.local_addr().ok());
            let left = limit.saturating_sub(start.elapsed());
            let tunnel = timeout(left, self.through(tcp, target));
            Ok((addresses, tunnel.await.unwrap_or(Err(ConnectError::ConnectTimeout))?))
        };
        made.await.map_err(|error: ConnectError| ConnectError::Proxy(error.into()))
    }

    async fn through(&self, mut tcp: TcpStream, target: &Target) -> Result<Tunnel, ConnectError> {
        #[cfg(feature = "tls")]
        if self.proxy.at.tls {
            let name = super::tls::server_name(&self.proxy.at.host)?;
            let mut tls = super::tls::connect(&self.tls, &[super::tls::HTTP1], name, tcp).await?;
            self.ask(&mut tls, target).await?;
            return Ok(Tunnel::Tls(tls.into()));
        }
        self.ask(&mut tcp, target).await?;
        Ok(Tunnel::Plain(tcp))
    }

    async fn ask(
        &self,
        io: &mut (impl AsyncRead + AsyncWrite + Unpin),
        target: &Target,
    ) -> Result<(), ConnectError> {
        let request = self.proxy.request(target);
        let answer = exchange(io, &request, |status| status.is_success()).await;
        let tunnel = answer.and_then(|(_, rest)| match rest.is_empty() {
            true => Ok(()),
            // A server speaks when it is spoken to, so these are not the server's.
            false => Err(ConnectError::InvalidResponse("bytes behind a tunnel's response".into())),
        });
        if tunnel.as_ref().is_err_and(is_an_answer) {
            say_goodbye(io).await;
        }
        tunnel
    }
}

/// The far and the near end of the TCP connection to the proxy.
type TunnelAddresses = (Option<std::net::SocketAddr>, Option<std::net::SocketAddr>);
