//! One HTTP/2 stream as a stream of bytes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::session::{Lease, io_error};

/// An HTTP/2 stream as a stream of bytes. HTTP/2 credit is returned as bytes are read, and the
/// driver of the wsmux connection reads bytes as they arrive. Therefore, even if an application
/// does not read from one wsmux connection, this connection does not use up the HTTP/2 window that
/// all wsmux connections share.
#[derive(Debug)]
pub(super) struct Http2Stream {
    send: SendStream<Bytes>,
    recv: RecvStream,
    /// The bytes of a received frame that have not been read yet.
    unread: Bytes,
    /// This is the last field, so that the stream's slot becomes free after the stream is dropped.
    _lease: Lease,
}

impl Http2Stream {
    pub(super) fn new(send: SendStream<Bytes>, recv: RecvStream, lease: Lease) -> Self {
        Self { send, recv, unread: Bytes::new(), _lease: lease }
    }
}

impl AsyncRead for Http2Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(self.recv.poll_data(cx)) {
                Some(Ok(bytes)) => self.unread = bytes,
                None => return Poll::Ready(Ok(())),
                // The server has sent its whole response and wants no more of our bytes.
                Some(Err(error))
                    if error.is_reset() && error.reason() == Some(Reason::NO_ERROR) =>
                {
                    return Poll::Ready(Ok(()));
                }
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
            }
        }
        let len = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.unread[..len]);
        self.unread.advance(len);
        if self.unread.is_empty() {
            // Even an empty slice keeps alive the block that h2 has read into, so the slice is
            // replaced.
            self.unread = Bytes::new();
        }
        // This call fails if the stream has ended. The failure is ignored, because a stream that
        // has ended needs no credit.
        let _ = self.recv.flow_control().release_capacity(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Http2Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        // Only the credit for these bytes is reserved, because other streams cannot use reserved
        // credit.
        self.send.reserve_capacity(buf.len());
        while self.send.capacity() == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let len = self.send.capacity().min(buf.len());
        let sent = self.send.send_data(Bytes::copy_from_slice(&buf[..len]), false);
        Poll::Ready(sent.map(|()| len).map_err(io_error))
    }

    /// Does nothing, because the connection's task sends the data as soon as it can.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends the stream with END_STREAM, which stands for a TCP FIN (RFC 8441 §5).
    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.send.send_data(Bytes::new(), true).map_err(io_error))
    }
}
