//! Both halves of a bidirectional stream in one handle.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wsmux_proto::StreamId;

use super::{RecvStream, SendStream, shared::ConnectionRef};

/// A bidirectional stream. It implements tokio's [`AsyncRead`] and [`AsyncWrite`], and gives access
/// to its two halves.
///
/// Shutting down the stream as an [`AsyncWrite`] finishes the sending half, or does nothing if the
/// peer has stopped that half. Dropping the stream resets the sending half with code 0 unless it
/// was finished, and stops the receiving half with code 0 unless it was read to its end.
#[derive(Debug)]
pub struct WebSocketStream {
    send: SendStream,
    recv: RecvStream,
}

impl WebSocketStream {
    pub(crate) fn new(id: StreamId, connection: &ConnectionRef) -> Self {
        Self {
            send: SendStream::new(id, connection.clone()),
            recv: RecvStream::new(id, connection.clone()),
        }
    }

    /// Returns the stream's id.
    pub fn id(&self) -> StreamId {
        self.send.id()
    }

    /// Returns the sending half.
    pub fn send(&mut self) -> &mut SendStream {
        &mut self.send
    }

    /// Returns the receiving half.
    pub fn recv(&mut self) -> &mut RecvStream {
        &mut self.recv
    }

    /// Borrows both halves, so that one task can read and write at the same time.
    pub fn split(&mut self) -> (&mut SendStream, &mut RecvStream) {
        (&mut self.send, &mut self.recv)
    }

    /// Splits the stream into its halves. [`join`](Self::join) is the inverse.
    pub fn into_split(self) -> (SendStream, RecvStream) {
        (self.send, self.recv)
    }

    /// Joins the two halves of a stream.
    ///
    /// # Errors
    /// [`JoinError`] if they are halves of different streams; the error contains both halves.
    pub fn join(send: SendStream, recv: RecvStream) -> Result<Self, JoinError> {
        match recv.is_other_half_of(&send) {
            true => Ok(Self { send, recv }),
            false => Err(JoinError { send, recv }),
        }
    }
}

/// The halves belong to different streams. This error returns both halves unchanged.
#[derive(Debug, thiserror::Error)]
#[error("halves of different streams")]
pub struct JoinError {
    /// The sending half.
    pub send: SendStream,
    /// The receiving half.
    pub recv: RecvStream,
}

impl AsyncRead for WebSocketStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().recv).poll_read(cx, buf)
    }
}

impl AsyncWrite for WebSocketStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.get_mut().send), cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().send).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().send).poll_shutdown(cx)
    }
}
