//! Both halves of a bidirectional stream in one handle.

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use super::{RecvStream, SendStream};
use crate::proto::StreamId;

/// A bidirectional stream: [`Read`] and [`Write`], and two halves to use on their own, in a thread each.
///
/// Dropping it resets the sending half unless it was [finished](SendStream::finish), and stops the receiving
/// half unless it was read to its end, both with code 0.
#[derive(Debug)]
pub struct WebSocketStream {
    send: SendStream,
    recv: RecvStream,
}

impl WebSocketStream {
    /// The stream, to be used by threads from here on; see
    /// [`WebSocketConnection::from_async`](super::WebSocketConnection::from_async).
    pub fn from_async(stream: crate::connection::WebSocketStream) -> Self {
        let (send, recv) = stream.into_split();
        Self { send: SendStream::from_async(send), recv: RecvStream::from_async(recv) }
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

    /// Both halves, borrowed: to read and write at once, in scoped threads.
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
    #[allow(clippy::result_large_err, reason = "the halves go back; large with some features only")]
    pub fn join(send: SendStream, recv: RecvStream) -> Result<Self, JoinError> {
        match recv.as_async().is_other_half_of(send.as_async()) {
            true => Ok(Self { send, recv }),
            false => Err(JoinError { send, recv }),
        }
    }

    /// [`RecvStream::set_read_timeout`].
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for zero, as with std's sockets.
    pub fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.recv.set_read_timeout(timeout)
    }

    /// [`SendStream::set_write_timeout`].
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for zero, as with std's sockets.
    pub fn set_write_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.send.set_write_timeout(timeout)
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

/// As that of [`RecvStream`].
impl Read for WebSocketStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.recv.read(buf)
    }
}

/// As that of [`SendStream`].
impl Write for WebSocketStream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.send.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send.flush()
    }
}
