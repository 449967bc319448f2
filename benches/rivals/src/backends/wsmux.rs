//! This crate, in its default configuration.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use bytes::Bytes;
use wsmux::{Config, WebSocketClient, WebSocketConnection, WebSocketServer, WebSocketStream, Wire};

use super::{Connection, Rival, Stream, net::Identity};
use crate::{
    behaviours::{Raw, Shown, server as shown},
    path, peer,
};

pub struct Wsmux {
    client: WebSocketClient,
    wire: Wire,
    tls: bool,
    address: SocketAddr,
    url: String,
}

impl Wsmux {
    pub async fn start(wire: Wire, tls: bool, streams: Option<u64>) -> Result<Self> {
        Self::start_with(Config::default(), wire, tls, streams).await
    }

    /// Starts with resumption on at both ends.
    pub async fn start_resumable(streams: Option<u64>) -> Result<Self> {
        let mut config = Config::default();
        config.resume_timeout(Some(Duration::from_secs(60)));
        Self::start_with(config, Wire::QMux, false, streams).await
    }

    async fn start_with(
        mut config: Config,
        wire: Wire,
        tls: bool,
        streams: Option<u64>,
    ) -> Result<Self> {
        if let Some(streams) = streams {
            config.max_concurrent_bidi_streams(streams).max_local_streams(streams);
        }
        let mut server = WebSocketServer::builder().config(config.clone()).wires([wire]);
        let mut client = WebSocketClient::builder().config(config).wire(wire);
        if tls {
            let Identity { certificate, key } = Identity::new()?;
            client = client.trust_self_signed(certificate.clone());
            server = server.certificate([certificate], key);
        }
        let server = server.bind((path::server(), 0)).await?;
        let address = server.local_addr()?;
        tokio::spawn(serve(server));
        let url = url(tls, address);
        Ok(Self { client: client.build()?, wire, tls, address, url })
    }

    /// Makes only a client, for a server that listens at this address.
    pub fn client(address: SocketAddr) -> Result<Self> {
        let client = WebSocketClient::builder().build()?;
        let (wire, tls) = (Wire::QMux, false);
        Ok(Self { client, wire, tls, address, url: url(tls, address) })
    }
}

/// Serves all clients of a server, until the runtime ends.
pub async fn serve(server: WebSocketServer) {
    while let Some(incoming) = server.accept().await {
        tokio::spawn(async move {
            match incoming.await {
                Ok(connection) => {
                    while let Ok(stream) = connection.accept_bi().await {
                        tokio::spawn(peer::serve(stream));
                        shown::accepting().await;
                    }
                }
                Err(error) => eprintln!("handshake: {error}"),
            }
        });
    }
}

fn url(tls: bool, address: SocketAddr) -> String {
    let scheme = if tls { "wss" } else { "ws" };
    format!("{scheme}://{address}/")
}

impl Rival for Wsmux {
    type Connection = WebSocketConnection;

    async fn connect(&self) -> Result<WebSocketConnection> {
        Ok(self.client.connect(&self.url).await?)
    }
}

impl Shown for Wsmux {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn set_address(&mut self, address: SocketAddr) {
        self.address = address;
        self.url = url(self.tls, address);
    }

    fn raw(&self) -> Raw {
        match self.wire {
            Wire::JsWs => Raw::JsWs,
            _ => Raw::Qmux,
        }
    }
}

impl Connection for WebSocketConnection {
    type Stream = WebSocketStream;

    async fn open(&self) -> Result<WebSocketStream> {
        Ok(self.open_bi().await?)
    }

    fn close(self) {
        WebSocketConnection::close(&self, 0_u32.into(), b"");
    }

    const DRAINS: bool = true;

    async fn drain(self) {
        WebSocketConnection::drain(&self);
        self.closed().await;
    }
}

impl Stream for WebSocketStream {
    async fn write(&mut self, data: &[u8]) -> Result<()> {
        Ok(self.send().write_all(data).await?)
    }

    async fn write_chunk(&mut self, chunk: Bytes) -> Result<()> {
        Ok(self.send().write_chunk(chunk).await?)
    }

    async fn finish(&mut self) -> Result<()> {
        Ok(self.send().finish()?)
    }

    async fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        Ok(self.recv().read(buf).await?.unwrap_or(0))
    }

    async fn discard(&mut self) -> Result<u64> {
        let mut count = 0;
        while let Some(chunk) = self.recv().read_chunk(usize::MAX).await? {
            count += chunk.len() as u64;
        }
        Ok(count)
    }
}
