//! The crate `penguin-mux` over the version of tokio-tungstenite that it uses.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Result, anyhow};
use bytes::Bytes;
use penguin_mux::{Multiplexor, MuxStream, config::Options};
use penguin_tungstenite::{accept_async, client_async};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

use super::{
    Connection, Rival, Stream,
    net::{self, Dialer},
};
use crate::{
    behaviours::{Raw, Shown, server},
    peer,
};

pub struct Penguin {
    dialer: Dialer,
    options: Options,
}

impl Penguin {
    pub async fn start(tuned: bool) -> Result<Self> {
        let mut options = Options::new();
        if tuned {
            // The crate counts its window in frames. 16 frames of 64 KiB are 1 MiB.
            options = options.rwnd(16).default_rwnd_threshold(8);
        }
        let (listener, dialer) = net::listen(false, true).await?;
        tokio::spawn(async move {
            while let Ok(tcp) = listener.accept().await {
                let listener = listener.clone();
                tokio::spawn(async move {
                    let websocket = accept_async(listener.secure(tcp).await?).await?;
                    let mux = Multiplexor::new(websocket, Some(options), None);
                    while let Ok(stream) = mux.accept_stream_channel().await {
                        tokio::spawn(peer::serve(stream));
                        server::accepting().await;
                    }
                    anyhow::Ok(())
                });
            }
        });
        Ok(Self { dialer, options })
    }
}

impl Rival for Penguin {
    type Connection = Arc<Multiplexor>;

    async fn connect(&self) -> Result<Arc<Multiplexor>> {
        let (websocket, _) = client_async(self.dialer.url(), self.dialer.dial().await?).await?;
        Ok(Arc::new(Multiplexor::new(websocket, Some(self.options), None)))
    }
}

impl Shown for Penguin {
    fn address(&self) -> SocketAddr {
        self.dialer.address()
    }

    fn set_address(&mut self, address: SocketAddr) {
        self.dialer.set_address(address);
    }

    fn raw(&self) -> Raw {
        Raw::Penguin
    }
}

impl Connection for Arc<Multiplexor> {
    type Stream = MuxStream;

    async fn open(&self) -> Result<MuxStream> {
        // The crate is made to forward connections to hosts, so it asks for a host. The server here
        // ignores the host.
        let opened = self.new_stream_channel(b"", 0).await;
        // The crate's error cannot be shared between threads, so only its text is kept.
        opened.map_err(|error| anyhow!("{error}"))
    }
}

impl Stream for MuxStream {
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
        let mut count = 0;
        loop {
            let len = self.fill_buf().await?.len();
            if len == 0 {
                return Ok(count);
            }
            self.consume(len);
            count += len as u64;
        }
    }
}
