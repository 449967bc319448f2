//! The crate `qmux` over tokio-tungstenite.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use bytes::Bytes;
use qmux::{
    Session,
    ws::tokio_tungstenite::{client_async, tungstenite::client::IntoClientRequest},
};
use web_transport_trait::{RecvStream as _, SendStream as _, Session as _};
use wsmux::http::HeaderValue;

use super::{
    Connection, Rival, Stream,
    net::{self, Dialer},
};
use crate::{
    behaviours::{Raw, Shown, server},
    peer,
};

const MIB: u64 = 1024 * 1024;
const PROTOCOL: &str = "qmux-02";

pub struct Qmux {
    dialer: Dialer,
    config: qmux::Config,
}

impl Qmux {
    /// Starts a server. `tuned` also turns off Nagle's algorithm, which the crate's own client
    /// leaves on.
    pub async fn start(tuned: bool, tls: bool, streams: Option<u64>) -> Result<Self> {
        let mut config = qmux::Config::default();
        if tuned {
            config.max_stream_data_bidi_local = MIB;
            config.max_stream_data_bidi_remote = MIB;
            // With this much connection credit, only the streams' windows limit what is sent.
            config.max_data = config.max_streams_bidi * MIB;
            config.max_record_size = 64 * 1024;
        }
        if let Some(streams) = streams {
            config.max_streams_bidi = streams;
        }
        let (listener, dialer) = net::listen(tls, tuned).await?;
        let server = qmux::ws::Server::new().with_session_config(config.clone());
        tokio::spawn(async move {
            while let Ok(tcp) = listener.accept().await {
                let (listener, server) = (listener.clone(), server.clone());
                tokio::spawn(async move {
                    let session = server.accept(listener.secure(tcp).await?).await?;
                    while let Ok((send, recv)) = session.accept_bi().await {
                        tokio::spawn(peer::serve(QmuxStream { send, recv }));
                        server::accepting().await;
                    }
                    anyhow::Ok(())
                });
            }
        });
        Ok(Self { dialer, config })
    }
}

impl Rival for Qmux {
    type Connection = Session;

    /// Connects as the crate's own client does, but with a socket whose options we can set.
    async fn connect(&self) -> Result<Session> {
        let mut request = self.dialer.url().into_client_request()?;
        let offered = HeaderValue::from_static(PROTOCOL);
        request.headers_mut().insert("sec-websocket-protocol", offered);
        let (websocket, _) = client_async(request, self.dialer.dial().await?)
            .await
            .context("the upgrade to a WebSocket")?;
        Ok(qmux::ws::Upgraded::new(websocket)
            .with_alpn(PROTOCOL)
            .with_session_config(self.config.clone())
            .connect())
    }
}

impl Shown for Qmux {
    fn address(&self) -> SocketAddr {
        self.dialer.address()
    }

    fn set_address(&mut self, address: SocketAddr) {
        self.dialer.set_address(address);
    }

    fn raw(&self) -> Raw {
        Raw::Qmux
    }
}

impl Connection for Session {
    type Stream = QmuxStream;

    async fn open(&self) -> Result<QmuxStream> {
        let (send, recv) = self.open_bi().await?;
        Ok(QmuxStream { send, recv })
    }

    fn close(self) {
        web_transport_trait::Session::close(&self, 0, "");
    }
}

pub struct QmuxStream {
    send: qmux::SendStream,
    recv: qmux::RecvStream,
}

impl Stream for QmuxStream {
    async fn write(&mut self, data: &[u8]) -> Result<()> {
        Ok(self.send.write_all(data).await?)
    }

    async fn write_chunk(&mut self, chunk: Bytes) -> Result<()> {
        Ok(self.send.write_chunk(chunk).await?)
    }

    async fn finish(&mut self) -> Result<()> {
        Ok(self.send.finish()?)
    }

    async fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        Ok(self.recv.read(buf).await?.unwrap_or(0))
    }

    async fn discard(&mut self) -> Result<u64> {
        let mut count = 0;
        while let Some(chunk) = self.recv.read_chunk(usize::MAX).await? {
            count += chunk.len() as u64;
        }
        Ok(count)
    }
}
