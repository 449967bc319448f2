//! Dialling: a name, a TCP connection, TLS, the upgrade, and a connection over it.

mod builder;
mod dial;
mod error;

#[cfg(feature = "tls")]
use std::io;
use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout},
};
use tokio_tungstenite::tungstenite::http::{HeaderMap, Request, Response, StatusCode, header};

pub use self::{builder::WebSocketClientBuilder, error::ConnectError};
use crate::{
    Config, ConnectionInfo, WebSocketConnection,
    handshake::{
        client::{self as handshake, Target},
        head::{HeadError, read_head},
    },
    proto::{Side, Wire},
    socket::FramedSocket,
    trace,
};

/// Of a refusal's body, the bytes that are kept: enough for a sentence, whatever a proxy's page holds.
const MAX_EXCERPT: usize = 1024;

/// How long a refusal's body is waited for; its status is known already.
const EXCERPT_TIMEOUT: Duration = Duration::from_secs(1);

/// Responses of kind 1xx that may come before the one that counts.
const MAX_INTERIM_RESPONSES: usize = 8;

/// Opens connections to servers. Cheap to clone.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = wsmux::WebSocketClient::builder().protocol("chat").build()?;
/// let connection = client.connect("wss://example.com/chat").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct WebSocketClient(Arc<Settings>);

#[derive(Debug)]
struct Settings {
    wire: Wire,
    offered: Vec<String>,
    headers: HeaderMap,
    config: Config,
    connect_timeout: Duration,
    #[cfg(feature = "tls")]
    tls: ClientTls,
}

#[cfg(feature = "tls")]
#[derive(Debug)]
struct ClientTls {
    trust: crate::tls::Trust,
    identity: Option<Arc<crate::tls::Identity>>,
    /// Made when it is first needed, for the platform's roots have to be read.
    config: tokio::sync::OnceCell<Arc<rustls::ClientConfig>>,
}

impl WebSocketClient {
    /// What to set before a client is made.
    pub fn builder() -> WebSocketClientBuilder {
        WebSocketClientBuilder::new()
    }

    /// Connects to a `ws://` or `wss://` URL: resolves its name, tries the addresses one after the other,
    /// upgrades, and waits for the server's transport parameters. Redirects are not followed.
    ///
    /// Name and TCP have the [connect timeout](WebSocketClientBuilder::connect_timeout), of which each address
    /// gets an equal share of what is left; TLS and all that follows has the
    /// [handshake timeout](Config::handshake_timeout).
    ///
    /// # Errors
    /// [`ConnectError`].
    ///
    /// # Cancel safety
    /// When the future is dropped, the attempt is given up and its socket closed.
    pub async fn connect(&self, url: &str) -> Result<WebSocketConnection, ConnectError> {
        let target = self.target(url)?;
        let failed = |error: &_| trace::connect_failed(error, &target.host, target.port);
        self.dial(&target).await.inspect_err(failed)
    }

    async fn dial(&self, target: &Target) -> Result<WebSocketConnection, ConnectError> {
        let stream = dial::dial(&target.host, target.port, self.0.connect_timeout).await?;
        stream.set_nodelay(true).map_err(|error| ConnectError::Connect(error.into()))?;
        let info = ConnectionInfo {
            remote_address: stream.peer_addr().ok(),
            local_address: stream.local_addr().ok(),
            ..ConnectionInfo::default()
        };
        self.open(target, stream, info).await
    }

    /// Connects as [`connect`](Self::connect) does, over a stream of bytes that leads to the server already:
    /// a tunnel, a Unix socket. The URL says whether TLS is spoken, and what the request asks for.
    ///
    /// # Errors
    /// [`ConnectError`].
    ///
    /// # Cancel safety
    /// When the future is dropped, the stream is dropped.
    pub async fn from_io<S>(&self, url: &str, io: S) -> Result<WebSocketConnection, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let target = self.target(url)?;
        let failed = |error: &_| trace::connect_failed(error, &target.host, target.port);
        self.open(&target, io, ConnectionInfo::default()).await.inspect_err(failed)
    }

    fn target(&self, url: &str) -> Result<Target, ConnectError> {
        let target = Target::parse(url)?;
        match target.tls && !cfg!(feature = "tls") {
            true => Err(ConnectError::UnsupportedScheme("wss".into())),
            false => Ok(target),
        }
    }

    async fn open<S>(
        &self,
        target: &Target,
        io: S,
        info: ConnectionInfo,
    ) -> Result<WebSocketConnection, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let start = Instant::now();
        #[cfg(feature = "tls")]
        if target.tls {
            let handshake = self.tls_handshake(target, io);
            let io = self.in_time(start, handshake).await?;
            let peer_certificates = crate::tls::peer_certificates(io.get_ref().1);
            let info = ConnectionInfo { peer_certificates, ..info };
            return self.finish(start, target, io, info).await;
        }
        self.finish(start, target, io, info).await
    }

    /// W-23: all steps share one timeout.
    async fn in_time<T>(
        &self,
        start: Instant,
        step: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        let left = self.0.config.handshake_timeout.saturating_sub(start.elapsed());
        timeout(left, step).await.unwrap_or(Err(ConnectError::HandshakeTimeout))
    }

    #[cfg(feature = "tls")]
    async fn tls_handshake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        target: &Target,
        io: S,
    ) -> Result<tokio_rustls::client::TlsStream<S>, ConnectError> {
        let tls = &self.0.tls;
        let refused = |error: rustls::Error| ConnectError::Tls(Arc::new(io::Error::other(error)));
        let make = || async {
            let (trust, identity) = (tls.trust.clone(), tls.identity.clone());
            // The platform's roots may be hundreds of files.
            tokio::task::spawn_blocking(move || {
                crate::tls::client_config(trust, identity.as_deref()).map_err(refused)
            })
            .await
            .unwrap_or_else(|error| Err(ConnectError::Tls(Arc::new(io::Error::other(error)))))
        };
        let config = tls.config.get_or_try_init(make).await?;
        let name = rustls::pki_types::ServerName::try_from(target.host.clone())
            .map_err(|error| ConnectError::InvalidUrl(error.to_string()))?;
        tokio_rustls::TlsConnector::from(config.clone())
            .connect(name, io)
            .await
            .map_err(|error| ConnectError::Tls(error.into()))
    }

    async fn finish<S>(
        &self,
        start: Instant,
        target: &Target,
        mut io: S,
        mut info: ConnectionInfo,
    ) -> Result<WebSocketConnection, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Settings { wire, offered, headers, config, .. } = &*self.0;
        let request = target.request(offered, headers)?;
        let upgrade = upgrade(&mut io, &request);
        let (response, rest) = self.in_time(start, upgrade).await?;
        let subprotocol = handshake::check(&request, response.headers(), *wire, offered)?;
        info.subprotocol = subprotocol.map(Into::into);
        info.request = Some(request.into());
        info.response_headers = Some(response.into_parts().0.headers.into());

        trace::handshake_completed(Side::Client, *wire, &info);

        let mut config = config.clone();
        config.handshake_timeout = config.handshake_timeout.saturating_sub(start.elapsed());
        let socket = FramedSocket::new(io, &rest, Side::Client, config.max_inbound_message(*wire));
        let connection =
            WebSocketConnection::from_socket(socket, Side::Client, *wire, config, info);
        connection.established().await?;
        Ok(connection)
    }
}

/// Sends the request and reads the response, up to a 101; with it what came behind it.
async fn upgrade(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &Request<()>,
) -> Result<(Response<()>, Vec<u8>), ConnectError> {
    io.write_all(&handshake::request_bytes(request)).await?;
    io.flush().await?;
    let mut buf = Vec::new();
    for _ in 0..MAX_INTERIM_RESPONSES {
        let response =
            read_head(io, &mut buf, handshake::parse).await.map_err(|error| match error {
                HeadError::TooLarge => {
                    ConnectError::InvalidResponse("its head is too large".into())
                }
                HeadError::Invalid(error) => error,
                HeadError::Io(error) => error.into(),
            })?;
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => return Ok((response, buf)),
            status if status.is_informational() => {}
            status => {
                let body = excerpt(io, buf, response.headers()).await;
                return Err(ConnectError::Refused { status, body });
            }
        }
    }
    Err(ConnectError::InvalidResponse("interim responses without end".into()))
}

/// The start of a refusal's body.
async fn excerpt(
    io: &mut (impl AsyncRead + Unpin),
    mut buf: Vec<u8>,
    headers: &HeaderMap,
) -> String {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let length = length.and_then(|length| length.parse().ok()).unwrap_or(usize::MAX);
    let limit = length.min(MAX_EXCERPT);
    let _ = timeout(EXCERPT_TIMEOUT, async {
        while buf.len() < limit
            && let Ok(1..) = io.take((limit - buf.len()) as u64).read_buf(&mut buf).await
        {}
    })
    .await;
    buf.truncate(limit);
    String::from_utf8_lossy(&buf).trim().to_owned()
}
