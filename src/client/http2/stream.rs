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

/// HTTP/2's credit is given back as the bytes are read, and the driver reads as they come: so no stream holds
/// more of the connection's window than is on its way through this machine.
#[derive(Debug)]
pub(super) struct Http2Stream {
    send: SendStream<Bytes>,
    recv: RecvStream,
    /// What has come in a frame and was not read yet.
    unread: Bytes,
    /// The last field: the place is free when the stream is gone.
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
                // The server has said all it had to say, and wants no more of us.
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
            // Even what is empty keeps the block that h2 has read it into.
            self.unread = Bytes::new();
        }
        // It fails for a stream that has ended, which needs no credit.
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
        // Credit that is reserved is kept from the others, so no more is than there is to send.
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

    /// The connection's task sends what it has as soon as it can.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// RFC 8441 §5: END_STREAM is what a TCP FIN is.
    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.send.send_data(Bytes::new(), true).map_err(io_error))
    }
}
