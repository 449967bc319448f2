//! Both halves of a bidirectional stream in one handle.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{RecvStream, SendStream, shared::ConnectionRef};
use crate::proto::StreamId;

/// A bidirectional stream: tokio's [`AsyncRead`] and [`AsyncWrite`], and two halves to use on their own.
///
/// Shutting the writer down finishes the sending half, and does nothing to one that the peer has stopped. Dropping
/// the stream resets the sending half unless it was finished, and stops the receiving half unless it was read to
/// its end, both with code 0.
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

    /// The stream's number.
    pub fn id(&self) -> StreamId {
        self.send.id()
    }

    /// The sending half.
    pub fn send(&mut self) -> &mut SendStream {
        &mut self.send
    }

    /// The receiving half.
    pub fn recv(&mut self) -> &mut RecvStream {
        &mut self.recv
    }

    /// Both halves, borrowed: to read and write at once in one task.
    pub fn split(&mut self) -> (&mut SendStream, &mut RecvStream) {
        (&mut self.send, &mut self.recv)
    }

    /// Both halves, to go their own ways. [`join`](Self::join) takes them back.
    pub fn into_split(self) -> (SendStream, RecvStream) {
        (self.send, self.recv)
    }

    /// The stream whose two halves these are.
    ///
    /// # Errors
    /// [`JoinError`], with both, when they are halves of different streams.
    pub fn join(send: SendStream, recv: RecvStream) -> Result<Self, JoinError> {
        match recv.is_other_half_of(&send) {
            true => Ok(Self { send, recv }),
            false => Err(JoinError { send, recv }),
        }
    }
}

/// The two are halves of different streams, and come back unchanged.
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
