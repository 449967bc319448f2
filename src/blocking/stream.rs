//! Both halves of a bidirectional stream in one handle.

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use wsmux_proto::StreamId;

use super::{RecvStream, SendStream};

/// A bidirectional stream. It implements [`Read`] and [`Write`], and can be split into two halves
/// for two threads.
///
/// Dropping the stream resets the sending half unless it was [finished](SendStream::finish), and
/// stops the receiving half unless it was read to its end. Both happen with code 0.
#[derive(Debug)]
pub struct WebSocketStream {
    send: SendStream,
    recv: RecvStream,
}

impl WebSocketStream {
    /// Wraps an async stream for use by threads; see
    /// [`WebSocketConnection::from_async`](super::WebSocketConnection::from_async).
    pub fn from_async(stream: crate::connection::WebSocketStream) -> Self {
        let (send, recv) = stream.into_split();
        Self { send: SendStream::from_async(send), recv: RecvStream::from_async(recv) }
    }

    /// Returns the stream's id.
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

    /// Borrows both halves, to read and write at once in scoped threads.
    pub fn split(&mut self) -> (&mut SendStream, &mut RecvStream) {
        (&mut self.send, &mut self.recv)
    }

    /// Splits the stream into its two halves. [`join`](Self::join) puts them together again.
    pub fn into_split(self) -> (SendStream, RecvStream) {
        (self.send, self.recv)
    }

    /// Puts the two halves of a stream together again.
    ///
    /// # Errors
    /// [`JoinError`], which contains both halves, if they belong to different streams.
    #[allow(clippy::result_large_err, reason = "the halves go back; large with some features only")]
    pub fn join(send: SendStream, recv: RecvStream) -> Result<Self, JoinError> {
        match recv.as_async().is_other_half_of(send.as_async()) {
            true => Ok(Self { send, recv }),
            false => Err(JoinError { send, recv }),
        }
    }

    /// See [`RecvStream::set_read_timeout`].
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for zero, as with the standard library's
    /// sockets.
    pub fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.recv.set_read_timeout(timeout)
    }

    /// See [`SendStream::set_write_timeout`].
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for zero, as with the standard library's
    /// sockets.
    pub fn set_write_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.send.set_write_timeout(timeout)
    }
}

/// The two halves belong to different streams. Both are returned unchanged.
#[derive(Debug, thiserror::Error)]
#[error("halves of different streams")]
pub struct JoinError {
    /// The sending half.
    pub send: SendStream,
    /// The receiving half.
    pub recv: RecvStream,
}

/// Reads as [`RecvStream`] does.
impl Read for WebSocketStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.recv.read(buf)
    }
}

/// Writes as [`SendStream`] does.
impl Write for WebSocketStream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.send.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send.flush()
    }
}
