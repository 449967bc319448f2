//! Implements four traits of the crate `futures` for the streams of a connection: `AsyncRead` and
//! `AsyncWrite`, and `Stream` and `Sink` with `Bytes` as their item.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::{AsyncRead, AsyncWrite, Sink, Stream};
use tokio::io::ReadBuf;
use wsmux_proto::{ReadError, WriteError};

use crate::connection::{RecvStream, SendStream, WebSocketStream};

fn poll_read(
    stream: Pin<&mut impl tokio::io::AsyncRead>,
    cx: &mut Context<'_>,
    buf: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut buf = ReadBuf::new(buf);
    ready!(stream.poll_read(cx, &mut buf))?;
    Poll::Ready(Ok(buf.filled().len()))
}

macro_rules! futures_write {
    ($stream:ty) => {
        impl AsyncWrite for $stream {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                data: &[u8],
            ) -> Poll<io::Result<usize>> {
                tokio::io::AsyncWrite::poll_write(self, cx, data)
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                tokio::io::AsyncWrite::poll_flush(self, cx)
            }

            fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                tokio::io::AsyncWrite::poll_shutdown(self, cx)
            }
        }
    };
}

macro_rules! futures_read {
    ($stream:ty) => {
        impl AsyncRead for $stream {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                poll_read(self, cx, buf)
            }
        }
    };
}

futures_write!(SendStream);
futures_write!(WebSocketStream);
futures_read!(RecvStream);
futures_read!(WebSocketStream);

/// Returns received bytes without copying them, until the end of the stream.
impl Stream for RecvStream {
    type Item = Result<Bytes, ReadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_read_chunk(cx, usize::MAX).map(Result::transpose)
    }
}

/// Sends chunks without copying them. Closing the sink finishes the stream. If the peer has stopped
/// the stream, closing does nothing and succeeds, as closing the [`AsyncWrite`] does.
impl Sink<Bytes> for SendStream {
    type Error = WriteError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        self.get_mut().poll_room(cx)
    }

    /// Accepts the whole chunk. This method must be called only after `poll_ready` was ready.
    fn start_send(self: Pin<&mut Self>, chunk: Bytes) -> Result<(), WriteError> {
        self.get_mut().push_chunk(chunk)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        Poll::Ready(self.get_mut().shut_down())
    }
}
