//! The sending half of a stream.

use std::{
    io::{self, Write},
    time::Duration,
};

use bytes::Bytes;
use wsmux_proto::{ClosedStream, StreamId, VarInt, WriteError};

use super::{
    WaitError,
    wait::{checked_limit, try_wait},
};
use crate::error::StoppedError;

/// The sending half of a stream. It implements [`Write`].
///
/// Each write waits for room in the send buffer, takes as many bytes as fit, and returns. The
/// background thread sends these bytes; no flush is needed.
///
/// Dropping the handle before [`finish`](Self::finish) resets the stream with code 0. The peer then
/// gets an error, and does not mistake the stream for a complete one.
#[derive(Debug)]
pub struct SendStream {
    inner: crate::connection::SendStream,
    timeout: Option<Duration>,
}

impl SendStream {
    /// Wraps an async stream for use by threads; see
    /// [`WebSocketConnection::from_async`](super::WebSocketConnection::from_async).
    pub fn from_async(stream: crate::connection::SendStream) -> Self {
        Self { inner: stream, timeout: None }
    }

    /// Converts into the async stream, for use by tasks.
    pub fn into_async(self) -> crate::connection::SendStream {
        self.inner
    }

    pub(super) fn as_async(&self) -> &crate::connection::SendStream {
        &self.inner
    }

    /// Returns the stream's id.
    pub fn id(&self) -> StreamId {
        self.inner.id()
    }

    /// Sets how long a write, or [`stopped`](Self::stopped), may wait. With `None`, which is the
    /// initial value, both wait for ever. A write that waits longer fails with
    /// [`TimedOut`](io::ErrorKind::TimedOut); it has taken nothing and can be repeated. If a
    /// `write_all` fails, it may have taken some of the bytes, and it is unknown how many.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for zero, as with the standard library's
    /// sockets.
    pub fn set_write_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.timeout = checked_limit(timeout)?;
        Ok(())
    }

    /// Returns how long a write may wait.
    pub fn write_timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Waits until there is room in the send buffer, and then takes the whole chunk without a copy.
    /// Afterwards the buffer may exceed its limit, but by less than the length of the chunk.
    ///
    /// # Errors
    /// [`WaitError`] with a [`WriteError`]; no part of the chunk has been taken.
    pub fn write_chunk(&mut self, chunk: Bytes) -> Result<(), WaitError<WriteError>> {
        try_wait(self.timeout, self.inner.write_chunk(chunk))
    }

    /// Ends the stream. The end is sent after the written bytes, even if the handle is dropped
    /// after this call.
    ///
    /// # Errors
    /// [`WriteError`] if the stream had already ended; the error says how.
    pub fn finish(&mut self) -> Result<(), WriteError> {
        self.inner.finish()
    }

    /// Resets the stream: unsent bytes are discarded, and the peer receives the code (RESET_STREAM,
    /// RFC 9000 §19.4).
    ///
    /// # Errors
    /// [`ClosedStream`] if the stream has ended.
    pub fn reset(&mut self, code: VarInt) -> Result<(), ClosedStream> {
        self.inner.reset(code)
    }

    /// Resets the stream after its first `reliable_size` bytes, which are still sent and delivered
    /// (RESET_STREAM_AT).
    ///
    /// # Errors
    /// [`ResetAtError`](crate::ResetAtError) if the stream has ended, or the peer does not support
    /// such a reset.
    pub fn reset_at(
        &mut self,
        code: VarInt,
        reliable_size: u64,
    ) -> Result<(), wsmux_proto::ResetAtError> {
        self.inner.reset_at(code, reliable_size)
    }

    /// Waits until the peer has stopped the stream or the whole stream has been handed to the
    /// socket. If the peer has stopped the stream, this returns the code. If the stream was
    /// finished, this returns `None` once all its bytes and its end have been handed to the socket.
    /// At that time, the peer has not necessarily received or read them.
    ///
    /// # Errors
    /// [`WaitError`] with a [`StoppedError`] if neither event can happen any longer.
    pub fn stopped(&self) -> Result<Option<VarInt>, WaitError<StoppedError>> {
        try_wait(self.timeout, self.inner.stopped())
    }

    /// Makes the stream visible to the peer before anything is written, by sending an empty STREAM
    /// frame. On the js-ws wire this does nothing, because on that wire the peer sees a stream as
    /// soon as the stream is opened.
    pub fn announce(&mut self) {
        self.inner.announce();
    }

    /// Sets the stream's priority, which is initially 0. As long as a stream of a higher priority
    /// has data that it may send, streams of lower priority send nothing; streams of equal priority
    /// take turns. The priority may be changed while data is waiting.
    ///
    /// # Errors
    /// [`ClosedStream`] if the stream has ended.
    pub fn set_priority(&self, priority: i32) -> Result<(), ClosedStream> {
        self.inner.set_priority(priority)
    }

    /// Returns the stream's priority.
    ///
    /// # Errors
    /// [`ClosedStream`] if the stream has ended.
    pub fn priority(&self) -> Result<i32, ClosedStream> {
        self.inner.priority()
    }
}

/// The errors are converted as [`WaitError`] describes, and contain a [`WriteError`] or a
/// [`ConnectionError`](crate::ConnectionError).
impl Write for SendStream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        Ok(try_wait(self.timeout, self.inner.write(data))?)
    }

    /// Returns at once, because written bytes are sent anyway as soon as the credit and the socket
    /// allow it.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
