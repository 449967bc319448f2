//! The two ends of gRPC on a [`WebSocketConnection`].

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_stream::Stream;
use tonic::transport::{Channel, Endpoint, Uri, server::Connected};
use wsmux::{StreamId, WebSocketConnection, WebSocketStream};

/// A stream for tonic's server, with information about its connection.
#[derive(Debug)]
pub struct Accepted {
    stream: WebSocketStream,
    info: StreamInfo,
}

/// Describes the stream that a request arrived on. Each request has a `StreamInfo` in its
/// extensions.
#[derive(Debug, Clone)]
pub struct StreamInfo {
    /// The stream, which all calls of one channel share.
    pub stream: StreamId,
    /// The address of the client, or of the client's proxy.
    pub remote_address: Option<SocketAddr>,
    /// The client's connection; its request headers and certificate identify the client.
    pub connection: WebSocketConnection,
}

/// Returns the streams that the peer opens, for `serve_with_incoming`. The sequence of streams ends
/// with the connection.
pub fn incoming(connection: WebSocketConnection) -> impl Stream<Item = io::Result<Accepted>> {
    async_stream::stream! {
        while let Ok(stream) = connection.accept_bi().await {
            let info = StreamInfo {
                stream: stream.id(),
                remote_address: connection.remote_address(),
                connection: connection.clone(),
            };
            yield Ok(Accepted { stream, info });
        }
    }
}

/// Makes a channel that uses a stream of its own. The first call opens that stream. When the stream
/// ends, its calls fail, and the next call opens another stream, as long as the connection is open.
pub fn channel(connection: WebSocketConnection) -> Channel {
    // All streams lead to the same peer, so this name is only the `:authority` of the calls.
    let endpoint = Endpoint::from_static("http://wsmux");
    endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
        let connection = connection.clone();
        async move { Ok::<_, io::Error>(TokioIo::new(connection.open_bi().await?)) }
    }))
}

impl Connected for Accepted {
    type ConnectInfo = StreamInfo;

    fn connect_info(&self) -> StreamInfo {
        self.info.clone()
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
