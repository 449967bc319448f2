//! quinn: QUIC over UDP, which is always encrypted.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use anyhow::Result;
use bytes::Bytes;
use quinn::{
    ClientConfig, Endpoint, ServerConfig, TransportConfig, VarInt,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use tokio::sync::OnceCell;

use super::{Connection, Rival, Stream, net::Identity};
use crate::{path, peer};

pub struct Quinn {
    address: SocketAddr,
    config: ClientConfig,
    /// The endpoint of the clients. The first call of `connect` creates it, so that it runs on the
    /// clients' runtime.
    client: OnceCell<Endpoint>,
}

impl Quinn {
    pub async fn start(streams: Option<u64>) -> Result<Self> {
        let (server, client) = Identity::new()?.configs()?;
        let server = QuicServerConfig::try_from(server)?;
        let mut server = ServerConfig::with_crypto(Arc::new(server));
        if let Some(streams) = streams {
            let mut transport = TransportConfig::default();
            transport.max_concurrent_bidi_streams(VarInt::from_u64(streams)?);
            server.transport_config(Arc::new(transport));
        }
        let server = Endpoint::server(server, (path::server(), 0).into())?;
        let address = server.local_addr()?;
        tokio::spawn(async move {
            while let Some(incoming) = server.accept().await {
                tokio::spawn(async move {
                    let connection = incoming.await?;
                    while let Ok((send, recv)) = connection.accept_bi().await {
                        tokio::spawn(peer::serve(QuicStream { send, recv }));
                    }
                    anyhow::Ok(())
                });
            }
        });
        let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(client)?));
        Ok(Self { address, config, client: OnceCell::new() })
    }
}

impl Rival for Quinn {
    type Connection = quinn::Connection;

    async fn connect(&self) -> Result<quinn::Connection> {
        let any = (Ipv4Addr::UNSPECIFIED, 0).into();
        let client = self.client.get_or_try_init(async || Endpoint::client(any)).await?;
        Ok(client.connect_with(self.config.clone(), self.address, "localhost")?.await?)
    }
}

impl Connection for quinn::Connection {
    type Stream = QuicStream;

    async fn open(&self) -> Result<QuicStream> {
        let (send, recv) = self.open_bi().await?;
        Ok(QuicStream { send, recv })
    }

    fn close(self) {
        quinn::Connection::close(&self, VarInt::from_u32(0), b"");
    }
}

pub struct QuicStream {
    send: quinn::SendStream,
    recv: quinn::RecvStream,
}

impl Stream for QuicStream {
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
        while let Some(chunk) = self.recv.read_chunk(usize::MAX, true).await? {
            count += chunk.bytes.len() as u64;
        }
        Ok(count)
    }
}
