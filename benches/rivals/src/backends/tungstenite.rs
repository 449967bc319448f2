//! tokio-tungstenite alone, with a WebSocket for each stream. An empty message ends a direction. A
//! WebSocket Close cannot end a single direction, because the other end can send nothing after a
//! Close.

use anyhow::{Result, bail};
use bytes::{Buf, Bytes};
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::{
    WebSocketStream, accept_async, client_async,
    tungstenite::{Error, Message},
};

use super::{
    Connection, Rival, Stream,
    net::{self, Dialer, Socket},
};
use crate::peer;

pub struct Tungstenite(Dialer);

#[derive(Clone)]
pub struct Address(Dialer);

impl Tungstenite {
    pub async fn start(tls: bool) -> Result<Self> {
        let (listener, dialer) = net::listen(tls, true).await?;
        tokio::spawn(async move {
            while let Ok(tcp) = listener.accept().await {
                let listener = listener.clone();
                tokio::spawn(async move {
                    let socket = listener.secure(tcp).await?;
                    peer::serve(WsStream::new(accept_async(socket).await?)).await;
                    anyhow::Ok(())
                });
            }
        });
        Ok(Self(dialer))
    }
}

impl Rival for Tungstenite {
    const MUX: bool = false;
    type Connection = Address;

    async fn connect(&self) -> Result<Address> {
        Ok(Address(self.0.clone()))
    }
}

impl Connection for Address {
    type Stream = WsStream;

    async fn open(&self) -> Result<WsStream> {
        let (websocket, _) = client_async(self.0.url(), self.0.dial().await?).await?;
        Ok(WsStream::new(websocket))
    }
}

pub struct WsStream {
    websocket: WebSocketStream<Socket>,
    /// The rest of a partly read message.
    rest: Bytes,
    ended: bool,
}

impl WsStream {
    fn new(websocket: WebSocketStream<Socket>) -> Self {
        Self { websocket, rest: Bytes::new(), ended: false }
    }

    /// Returns the next message, or `None` at the end.
    async fn message(&mut self) -> Result<Option<Bytes>> {
        if self.ended {
            return Ok(None);
        }
        match self.websocket.next().await {
            Some(Ok(Message::Binary(message))) if message.is_empty() => {
                self.ended = true;
                Ok(None)
            }
            Some(Ok(Message::Binary(message))) => Ok(Some(message)),
            Some(Ok(other)) => bail!("a message that nobody sends: {other:?}"),
            Some(Err(error)) => Err(error.into()),
            None => Err(Error::ConnectionClosed.into()),
        }
    }
}

impl Stream for WsStream {
    async fn write(&mut self, data: &[u8]) -> Result<()> {
        self.write_chunk(Bytes::copy_from_slice(data)).await
    }

    /// Queues the chunk. The socket writes when enough bytes are queued.
    async fn write_chunk(&mut self, chunk: Bytes) -> Result<()> {
        Ok(self.websocket.feed(Message::Binary(chunk)).await?)
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(self.websocket.flush().await?)
    }

    async fn finish(&mut self) -> Result<()> {
        Ok(self.websocket.send(Message::Binary(Bytes::new())).await?)
    }

    async fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        if self.rest.is_empty() {
            match self.message().await? {
                None => return Ok(0),
                Some(message) => self.rest = message,
            }
        }
        let len = buf.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut buf[..len]);
        Ok(len)
    }

    async fn discard(&mut self) -> Result<u64> {
        let mut count = std::mem::take(&mut self.rest).len() as u64;
        while let Some(message) = self.message().await? {
            count += message.len() as u64;
        }
        Ok(count)
    }
}
