//! The crates `zmux` and `zmux-websocket`.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio_rustls::TlsConnector;
use zmux::{Config, Listener, ListenerConfig, Session, VarInt};
use zmux_websocket::Options;

use super::{Connection, Rival, Stream, net};
use crate::{
    behaviours::{Raw, Shown, server},
    peer,
};

pub struct Zmux {
    address: SocketAddr,
    url: String,
    tls: Option<TlsConnector>,
    config: Config,
}

impl Zmux {
    pub async fn start(tls: bool, streams: Option<u64>) -> Result<Self> {
        let mut config = Config::default();
        if let Some(streams) = streams {
            config.max_incoming_streams = streams;
        }
        let mut limits = ListenerConfig::default();
        // The limit on pending sessions from one address is raised to the limit on all pending
        // sessions, because all clients have the same address.
        limits.max_pending_per_source = limits.max_pending;
        let listener = Listener::new(config.clone(), limits);
        let tcp = net::bind()?;
        let (acceptor, connector) = net::tls(tls)?;
        let address = tcp.local_addr()?;
        let options = Options::default();
        match acceptor {
            None => tokio::spawn(zmux_websocket::serve(listener.clone(), tcp, options)),
            Some(tls) => {
                tokio::spawn(zmux_websocket::serve_tls(listener.clone(), tcp, tls, options))
            }
        };
        tokio::spawn(async move {
            while let Some(session) = listener.accept().await {
                tokio::spawn(async move {
                    while let Ok((send, recv)) = session.accept_bi().await {
                        tokio::spawn(peer::serve(ZmuxStream { send, recv }));
                        server::accepting().await;
                    }
                });
            }
        });
        Ok(Self { address, url: url(tls, address), tls: connector, config })
    }
}

fn url(tls: bool, address: SocketAddr) -> String {
    let scheme = if tls { "wss" } else { "ws" };
    format!("{scheme}://{address}/")
}

impl Rival for Zmux {
    type Connection = Session;

    async fn connect(&self) -> Result<Session> {
        let (url, options, config) = (&*self.url, Options::default(), self.config.clone());
        let session = match &self.tls {
            None => zmux_websocket::connect(url, &options, config).await,
            Some(tls) => zmux_websocket::connect_tls(url, tls, &options, config).await,
        };
        session.context("the session")
    }
}

impl Shown for Zmux {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn set_address(&mut self, address: SocketAddr) {
        self.address = address;
        self.url = url(self.tls.is_some(), address);
    }

    fn raw(&self) -> Raw {
        Raw::Qmux
    }
}

impl Connection for Session {
    type Stream = ZmuxStream;

    async fn open(&self) -> Result<ZmuxStream> {
        let (send, recv) = self.open_bi().await?;
        Ok(ZmuxStream { send, recv })
    }

    fn close(self) {
        Session::close(&self, VarInt::from(0_u32), b"");
    }

    const DRAINS: bool = true;

    async fn drain(self) {
        // The result says why the session ended, but no caller needs the reason.
        let _ = self.shutdown(VarInt::from(0_u32), b"").await;
    }
}

pub struct ZmuxStream {
    send: zmux::SendStream,
    recv: zmux::RecvStream,
}

impl Stream for ZmuxStream {
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
