//! Dials a new TCP connection or tunnel as [`WebSocketClient`] does, and finds out which version of
//! HTTP to speak over it.

use std::sync::Arc;

use http::HeaderValue;
use tokio::{net::TcpStream, time::Instant};
#[cfg(feature = "tls")]
use tokio_rustls::client::TlsStream;

use super::Session;
#[cfg(feature = "tls")]
use crate::{client::native::tls::HTTP1, socket::ReadAhead};
use crate::{
    client::{WebSocketClient, native::proxy::Tunnel, opened::Opened},
    connection::ConnectionInfo,
    error::ConnectError,
    handshake::client::Target,
};

/// The ALPN names in order of preference. If a server speaks `h2` but offers WebSocket only over
/// HTTP/1.1, this order costs one additional attempt. The client remembers such a server, and its
/// next attempts at that server use HTTP/1.1 at once.
// W-60 (RFC 8441 §3): `h2` comes before `http/1.1`.
#[cfg(feature = "tls")]
const ALPN: [&[u8]; 2] = [b"h2", HTTP1];

/// A stream of bytes to the server. If the URL demands TLS, the TLS handshake is complete.
#[derive(Debug)]
pub(super) struct Dialled {
    /// When the TCP connection or the tunnel was established. The handshake timeout counts from
    /// this moment.
    pub(super) start: Instant,
    pub(super) is_http2: bool,
    io: Io,
    info: ConnectionInfo,
}

#[derive(Debug)]
enum Io {
    Tcp(TcpStream),
    /// TLS with the server, or TLS with a proxy that tunnels to the server.
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<ReadAhead<TcpStream>>>),
    #[cfg(feature = "tls")]
    TlsInTls(Box<TlsStream<ReadAhead<TlsStream<ReadAhead<TcpStream>>>>>),
}

pub(super) async fn dial(
    client: &WebSocketClient,
    target: &Target,
) -> Result<Dialled, ConnectError> {
    let (tunnel, info) = client.reach(target).await?;
    let start = Instant::now();
    #[cfg(feature = "tls")]
    if target.tls {
        let is_http2 =
            |session: &rustls::ClientConnection| session.alpn_protocol() == Some(ALPN[0]);
        return Ok(match tunnel {
            Tunnel::Plain(tcp) => {
                let (tls, info) = client.secure(start, target, &ALPN, tcp, info).await?;
                let is_http2 = is_http2(tls.get_ref().1);
                Dialled { start, is_http2, io: Io::Tls(tls.into()), info }
            }
            Tunnel::Tls(tunnel) => {
                let (tls, info) = client.secure(start, target, &ALPN, *tunnel, info).await?;
                let is_http2 = is_http2(tls.get_ref().1);
                Dialled { start, is_http2, io: Io::TlsInTls(tls.into()), info }
            }
        });
    }
    let io = match tunnel {
        Tunnel::Plain(tcp) => Io::Tcp(tcp),
        #[cfg(feature = "tls")]
        Tunnel::Tls(tls) => Io::Tls(tls),
    };
    Ok(Dialled { start, is_http2: true, io, info })
}

impl Dialled {
    pub(super) async fn session(self) -> Result<Arc<Session>, ConnectError> {
        match self.io {
            Io::Tcp(tcp) => Session::start(tcp, self.start, self.info).await,
            #[cfg(feature = "tls")]
            Io::Tls(tls) => Session::start(*tls, self.start, self.info).await,
            #[cfg(feature = "tls")]
            Io::TlsInTls(tls) => Session::start(*tls, self.start, self.info).await,
        }
    }

    pub(super) async fn upgrade(
        self,
        client: &WebSocketClient,
        target: &Target,
        cookies: Option<HeaderValue>,
    ) -> Result<Opened, ConnectError> {
        let Self { start, io, info, .. } = self;
        match io {
            Io::Tcp(tcp) => client.finish(start, target, tcp, info, cookies).await,
            #[cfg(feature = "tls")]
            Io::Tls(tls) => client.finish(start, target, *tls, info, cookies).await,
            #[cfg(feature = "tls")]
            Io::TlsInTls(tls) => client.finish(start, target, *tls, info, cookies).await,
        }
    }
}
