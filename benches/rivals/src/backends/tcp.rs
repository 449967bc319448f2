//! TCP alone, with a connection for each stream.

use anyhow::Result;
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::either::Either;

use super::{
    Connection, Rival, Stream,
    net::{self, Dialer},
};
use crate::peer;

/// The size of a read, which is a few times the size of the writer's chunks.
const READ: usize = 256 * 1024;

pub struct Tcp(Dialer);

#[derive(Clone)]
pub struct Address(Dialer);

impl Tcp {
    pub async fn start() -> Result<Self> {
        let (listener, dialer) = net::listen(false, true).await?;
        tokio::spawn(async move {
            while let Ok(tcp) = listener.accept().await {
                tokio::spawn(peer::serve(tcp));
            }
        });
        Ok(Self(dialer))
    }
}

impl Rival for Tcp {
    const MUX: bool = false;
    type Connection = Address;

    async fn connect(&self) -> Result<Address> {
        Ok(Address(self.0.clone()))
    }
}

impl Connection for Address {
    type Stream = TcpStream;

    async fn open(&self) -> Result<TcpStream> {
        match self.0.dial().await? {
            Either::Left(tcp) => Ok(tcp),
            Either::Right(_) => anyhow::bail!("TLS"),
        }
    }
}

impl Stream for TcpStream {
    async fn write(&mut self, data: &[u8]) -> Result<()> {
        Ok(self.write_all(data).await?)
    }

    async fn write_chunk(&mut self, chunk: Bytes) -> Result<()> {
        Ok(self.write_all(&chunk).await?)
    }

    async fn finish(&mut self) -> Result<()> {
        Ok(self.shutdown().await?)
    }

    async fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        Ok(AsyncReadExt::read(self, buf).await?)
    }

    async fn discard(&mut self) -> Result<u64> {
        let mut buffer = vec![0; READ];
        let mut count = 0;
        loop {
            match AsyncReadExt::read(self, &mut buffer).await? {
                0 => return Ok(count),
                len => count += len as u64,
            }
        }
    }
}
