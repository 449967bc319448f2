//! The sending half of a stream.

use std::{
    io::{self, Write},
    time::Duration,
};

use bytes::Bytes;

use super::{
    WaitError,
    wait::{checked_limit, try_wait},
};
use crate::{
    error::StoppedError,
    proto::{ClosedStream, StreamId, VarInt, WriteError},
};

/// The sending half of a stream, a [`Write`].
///
/// Each write waits for room in the send buffer, takes as many bytes as there is room for, and returns; the
/// background sends them. Nothing has to be flushed.
///
/// Dropping it before [`finish`](Self::finish) resets the stream with code 0: the peer sees an error, never
/// an end that looks complete.
#[derive(Debug)]
pub struct SendStream {
    inner: crate::connection::SendStream,
    timeout: Option<Duration>,
}

impl SendStream {
    /// The stream, to be used by threads from here on; see
    /// [`WebSocketConnection::from_async`](super::WebSocketConnection::from_async).
    pub fn from_async(stream: crate::connection::SendStream) -> Self {
        Self { inner: stream, timeout: None }
    }

    /// The stream, to be used by tasks from here on.
    pub fn into_async(self) -> crate::connection::SendStream {
        self.inner
    }

    pub(super) fn as_async(&self) -> &crate::connection::SendStream {
        &self.inner
    }

    /// The stream's number.
    pub fn id(&self) -> StreamId {
        self.inner.id()
    }

    /// How long a write, or [`stopped`](Self::stopped), may wait; `None`, as at the start, for ever. Past that a
    /// write fails with [`TimedOut`](io::ErrorKind::TimedOut) and has taken nothing: it can be tried again. Of a
    /// `write_all` that fails some bytes may have been taken, and it is not known how many.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for zero, as with std's sockets.
    pub fn set_write_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.timeout = checked_limit(timeout)?;
        Ok(())
    }

    /// How long a write may wait.
    pub fn write_timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Waits for room in the send buffer, then takes the whole chunk without a copy. The buffer may so hold
    /// more than its limit, by less than this chunk.
    ///
    /// # Errors
    /// [`WaitError`] with a [`WriteError`], with nothing taken.
    pub fn write_chunk(&mut self, chunk: Bytes) -> Result<(), WaitError<WriteError>> {
        try_wait(self.timeout, self.inner.write_chunk(chunk))
    }

    /// Nothing follows what was written. The end is sent behind it, also when the handle is dropped after
    /// this.
    ///
    /// # Errors
    /// [`WriteError`] when the stream had ended before, and how.
    pub fn finish(&mut self) -> Result<(), WriteError> {
        self.inner.finish()
    }

    /// Gives the stream up: what has not been sent is dropped, and the peer is told the code
    /// (RESET_STREAM, RFC 9000 §19.4).
    ///
    /// # Errors
    /// [`ClosedStream`] when the stream has ended.
    pub fn reset(&mut self, code: VarInt) -> Result<(), ClosedStream> {
        self.inner.reset(code)
    }

    /// Gives the stream up behind its first `reliable_size` bytes, which are still sent and delivered
    /// (RESET_STREAM_AT).
    ///
    /// # Errors
    /// [`ResetAtError`](crate::ResetAtError) when the stream has ended, or the peer does not take this.
    pub fn reset_at(
        &mut self,
        code: VarInt,
        reliable_size: u64,
    ) -> Result<(), crate::proto::ResetAtError> {
        self.inner.reset_at(code, reliable_size)
    }

    /// Waits until the peer has stopped the stream, and gives its code; or until the end of a finished stream
    /// has been handed to the socket, with every byte before it, and gives `None`. What the socket has taken
    /// is not yet with the peer, less still read.
    ///
    /// # Errors
    /// [`WaitError`] with a [`StoppedError`] when neither can happen any more.
    pub fn stopped(&self) -> Result<Option<VarInt>, WaitError<StoppedError>> {
        try_wait(self.timeout, self.inner.stopped())
    }

    /// Shows the stream to the peer although nothing has been written: an empty STREAM frame. On the js-ws
    /// wire, where the peer sees a stream at once, nothing.
    pub fn announce(&mut self) {
        self.inner.announce();
    }

    /// Streams of a higher priority send first, strictly; equal ones take turns. At the start 0. It can change
    /// while data waits.
    ///
    /// # Errors
    /// [`ClosedStream`] when the stream has ended.
    pub fn set_priority(&self, priority: i32) -> Result<(), ClosedStream> {
        self.inner.set_priority(priority)
    }

    /// The stream's priority.
    ///
    /// # Errors
    /// [`ClosedStream`] when the stream has ended.
    pub fn priority(&self) -> Result<i32, ClosedStream> {
        self.inner.priority()
    }
}

/// The errors' kinds are those of [`WaitError`], and the error within is a [`WriteError`] or a
/// [`ConnectionError`](crate::ConnectionError).
impl Write for SendStream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        Ok(try_wait(self.timeout, self.inner.write(data))?)
    }

    /// Done at once: what was written leaves as soon as credit and socket allow.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
