//! The crate `yamux` over tokio-tungstenite, whose messages it uses as a byte stream.

use std::{
    io,
    net::SocketAddr,
    task::{Poll, ready},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::{
    AsyncReadExt, AsyncWriteExt, SinkExt, StreamExt, TryStreamExt, future::poll_fn,
};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::{
    WebSocketStream, accept_async, client_async,
    tungstenite::{Error, Message},
};
use tokio_util::{
    compat::TokioAsyncReadCompatExt,
    io::{CopyToBytes, SinkWriter, StreamReader},
};
use yamux::{Config, Mode};

use super::{
    Connection, Rival, Stream,
    net::{self, Dialer, Socket},
};
use crate::{
    behaviours::{Raw, Shown},
    peer,
};

pub struct Yamux {
    dialer: Dialer,
    config: Config,
}

impl Yamux {
    pub async fn start(tuned: bool, streams: Option<u64>) -> Result<Self> {
        let mut config = Config::default();
        if tuned {
            // Frames are as large as the chunks of the writers. The connection's receive window,
            // which limits the windows of all streams together, has no limit.
            config.set_max_connection_receive_window(None);
            config.set_split_send_size(64 * 1024);
        }
        if let Some(streams) = streams {
            // The crate permits a larger number of streams only with a larger receive window of the
            // connection. So the receive window gets no limit.
            config.set_max_connection_receive_window(None);
            config.set_max_num_streams(streams as usize);
        }
        let (listener, dialer) = net::listen(false, true).await?;
        let server = config.clone();
        tokio::spawn(async move {
            while let Ok(tcp) = listener.accept().await {
                let (listener, config) = (listener.clone(), server.clone());
                tokio::spawn(async move {
                    let websocket = accept_async(listener.secure(tcp).await?).await?;
                    let (_open, opens) = mpsc::channel(1);
                    drive(websocket, config, Mode::Server, opens).await;
                    anyhow::Ok(())
                });
            }
        });
        Ok(Self { dialer, config })
    }
}

type Opens = mpsc::Receiver<oneshot::Sender<yamux::Stream>>;

/// Runs a connection. Returns when the connection ends, or when the sender of `opens` is dropped.
/// The connection serves the streams that the peer opens, and opens the streams that are requested
/// through `opens`.
async fn drive(websocket: WebSocketStream<Socket>, config: Config, mode: Mode, mut opens: Opens) {
    let (sink, stream) = websocket.split();
    let messages = stream.map_err(io::Error::other).try_filter_map(|message| async {
        match message {
            Message::Binary(bytes) => Ok(Some(bytes)),
            other => Err(io::Error::other(format!("a message that nobody sends: {other:?}"))),
        }
    });
    let sink = sink
        .with(|bytes: Bytes| async { Ok::<_, Error>(Message::Binary(bytes)) })
        .sink_map_err(io::Error::other);
    let reader = StreamReader::new(Box::pin(messages));
    let writer = SinkWriter::new(CopyToBytes::new(Box::pin(sink)));
    let bytes = tokio::io::join(reader, writer).compat();
    let mut connection = yamux::Connection::new(bytes, config, mode);
    let mut asked: Option<oneshot::Sender<yamux::Stream>> = None;
    poll_fn(|cx| {
        loop {
            if asked.is_none()
                && let Poll::Ready(open) = opens.poll_recv(cx)
            {
                if open.is_none() {
                    // No handle is left that could open a stream.
                    return connection.poll_close(cx).map(drop);
                }
                asked = open;
            }
            if asked.is_some()
                && let Poll::Ready(Ok(stream)) = connection.poll_new_outbound(cx)
            {
                if let Some(open) = asked.take() {
                    let _ = open.send(stream);
                }
                continue;
            }
            // This call also moves the bytes of all streams.
            match ready!(connection.poll_next_inbound(cx)) {
                Some(Ok(stream)) => drop(tokio::spawn(peer::serve(stream))),
                Some(Err(_)) | None => return Poll::Ready(()),
            }
        }
    })
    .await;
}

impl Rival for Yamux {
    type Connection = Opener;

    async fn connect(&self) -> Result<Opener> {
        let (websocket, _) = client_async(self.dialer.url(), self.dialer.dial().await?).await?;
        let (open, opens) = mpsc::channel(64);
        tokio::spawn(drive(websocket, self.config.clone(), Mode::Client, opens));
        Ok(Opener(open))
    }
}

#[derive(Clone)]
pub struct Opener(mpsc::Sender<oneshot::Sender<yamux::Stream>>);

impl Shown for Yamux {
    fn address(&self) -> SocketAddr {
        self.dialer.address()
    }

    fn set_address(&mut self, address: SocketAddr) {
        self.dialer.set_address(address);
    }

    fn raw(&self) -> Raw {
        Raw::Yamux
    }

    /// The connection makes progress only while the application waits for the next stream.
    fn may_leave_streams(&self) -> bool {
        false
    }
}

impl Connection for Opener {
    type Stream = yamux::Stream;

    async fn open(&self) -> Result<yamux::Stream> {
        let (answer, stream) = oneshot::channel();
        self.0.send(answer).await?;
        stream.await.context("the connection has ended")
    }
}

impl Stream for yamux::Stream {
    async fn write(&mut self, data: &[u8]) -> Result<()> {
        Ok(self.write_all(data).await?)
    }

    async fn write_chunk(&mut self, chunk: Bytes) -> Result<()> {
        Ok(self.write_all(&chunk).await?)
    }

    async fn finish(&mut self) -> Result<()> {
        Ok(self.close().await?)
    }

    async fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        Ok(AsyncReadExt::read(self, buf).await?)
    }

    async fn discard(&mut self) -> Result<u64> {
        let mut count = 0;
        while let Some(packet) = self.try_next().await? {
            count += packet.as_ref().len() as u64;
        }
        Ok(count)
    }
}
